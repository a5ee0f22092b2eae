"""Measurements of speed and behaviour, and worlds to measure accuracy in; run from the root of the repository."""
