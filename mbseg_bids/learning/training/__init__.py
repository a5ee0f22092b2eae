"""The training loop and what it needs: batches, gradients, checkpoints, a log, several processes."""
