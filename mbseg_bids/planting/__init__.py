"""Simulated microbleeds planted in a user's own scans: which sizes are found on their scanner, and what else."""
