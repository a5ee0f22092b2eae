"""Group tables made from the sessions' tables alone."""
