"""Individual and group HTML reports."""
