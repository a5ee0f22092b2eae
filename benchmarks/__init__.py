"""Measurements of speed, memory and behaviour, run from the root of the repository."""
