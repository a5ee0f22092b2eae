"""Individual HTML reports, from the files of an output directory alone."""
