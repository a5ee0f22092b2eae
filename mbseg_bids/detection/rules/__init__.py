"""Rules that a candidate must pass: the intensity ratio of the paper, and what a reader asks of a microbleed."""
