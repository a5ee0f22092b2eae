"""What to read from a BIDS dataset and what to write into its derivatives."""
