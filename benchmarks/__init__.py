"""Measurements of speed, and worlds to measure accuracy in."""
