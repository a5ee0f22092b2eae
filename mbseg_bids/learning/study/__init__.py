"""The study of hyper-parameters: what is varied, the runs, the figures."""
