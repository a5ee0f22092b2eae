"""The contrasts, named by their BIDS suffix everywhere in this package."""

CONTRASTS = ("T1w", "T2w", "T2starw")
"""In the order in which the anatomy is taken from them, best first."""

CHANNELS = ("T2starw", "T2w", "T1w")
"""In the order of the network's channels, in which they are listed for readers."""

TITLES = {"T2starw": "T2*", "T2w": "T2w", "T1w": "T1w"}
"""As they are called in sentences."""
