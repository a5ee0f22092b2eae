"""The two stages of the patch network: what each starts from, one run of it, and its score on whole scans."""
