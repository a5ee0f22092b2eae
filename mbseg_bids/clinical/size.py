"""Size of a microbleed: equal-sphere diameter, size classes, clinical limits."""

import math

MINIMUM_DIAMETER = 2.0
"""mm. Smallest microbleed of Wardlaw 2013 (STRIVE). Smaller lesions stay in the table, flagged."""
MAXIMUM_DIAMETER = 10.0
"""mm. Cordonnier 2007; Wardlaw 2013. What is larger is a macrohaemorrhage, never counted as a microbleed."""
SIZE_CLASSES = ("small", "medium", "large")
"""Dadar et al. 2022: 1-4, 5-15 and more than 15 voxels of 1 mm3."""


def equal_sphere_diameter(volume: float) -> float:
    """Return the diameter in mm of the sphere that has this volume in mm3."""
    return (6 * volume / math.pi) ** (1 / 3)


def size_class(volume: float) -> str:
    """Return the size class of a volume in mm3.

    The paper counts voxels of 1 mm3 (1-4, 5-15, more than 15); volumes in between belong to the nearer count:
    small below 4.5 mm3, medium below 15.5 mm3, large from there on.
    """
    return SIZE_CLASSES[(volume >= 4.5) + (volume >= 15.5)]
