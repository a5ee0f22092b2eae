"""How the shipped weights are made; ``scripts/make_weights.py`` is the entry."""
