"""Training: sampling, rotation, the two stages, the trainer."""
