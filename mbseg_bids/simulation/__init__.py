"""Simulated scans by MR physics: anatomy, relaxation, susceptibility, lesions, mimics, acquisition."""
