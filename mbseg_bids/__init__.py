"""Segmentation of cerebral microbleeds on T1w / T2w / T2*-weighted MRI, as a BIDS App."""

__version__ = "0.1.0"
