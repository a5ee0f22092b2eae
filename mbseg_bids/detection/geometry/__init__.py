"""Masks and their parts: connected components, where they lie, how long and how far from the edge they are."""
