"""Training of what looks at candidates: neighbourhoods, a small network, and the classifier's curves."""
