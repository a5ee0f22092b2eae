"""A background of noise as bright as the head, as in the uniform image of an MP2RAGE, and how it is taken away.

The uniform image is a quotient of two images: where both have no signal, it takes any value of its range with equal
chance (Marques et al. 2010; O'Brien et al. 2014).
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.imaging.volume import Volume

RANGE = (0.5, 99.5)
"""Percentiles taken for the ends of the range."""
SPREAD = 0.85
"""Part of the range that the noise of a corner must fill."""
CORNERS = 4
"""Corners of eight that must hold such noise: others may hold the neck, or have been cut off with the face."""
SMOOTHING = 5
"""Side, voxels, of the neighbourhood in which neighbouring voxels are compared."""
_SMALLEST_CORNER = 60
_SMALLEST_PART = 0.05


def has_noise_background(values: npt.NDArray) -> bool:
    """Tell whether the corners of an image, air in any other, hold noise as wide as all its values.

    Parameters
    ----------
    values
        Shape (i, j, k).
    """
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, RANGE) if finite.size else (0.0, 0.0)
    if not high > low:
        return False
    size = [max(1, n // 10) for n in values.shape]
    noisy = 0
    for ends in np.ndindex(2, 2, 2):
        corner = values[
            tuple(slice(None, s) if first else slice(-s, None) for s, first in zip(size, ends, strict=True))
        ]
        corner = corner[np.isfinite(corner)]
        if corner.size >= _SMALLEST_CORNER:
            noisy += bool(np.percentile(corner, 95) - np.percentile(corner, 5) > SPREAD * (high - low))
    return noisy >= CORNERS


def without_noise_background(image: Volume) -> Volume:
    """Return an image with its background at zero and no value below; float32.

    Noise differs from voxel to voxel along every axis, tissue at most across its borders: what differs less than half
    as much as noise of the whole range, along the axis where it differs least, is head.

    Parameters
    ----------
    image
        One that :func:`has_noise_background` is true of.
    """
    values = np.asarray(image.data, np.float32)
    low, high = (float(value) for value in np.percentile(values, RANGE))
    lifted = np.clip(values - low, 0, None)
    differences = []
    for axis in range(3):
        step = np.abs(np.diff(lifted, axis=axis, append=np.take(lifted, [-1], axis=axis)))
        differences.append(ndimage.uniform_filter(step, SMOOTHING, mode="nearest"))
    of_noise = (high - low) / 3  # mean distance of two draws from a uniform distribution
    head = np.minimum.reduce(differences) < of_noise / 2
    parts, count = ndimage.label(head)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0
    head = (sizes >= _SMALLEST_PART * sizes.max(initial=1))[parts] & (parts > 0)
    head = ndimage.binary_fill_holes(ndimage.binary_closing(head, iterations=1) | head)
    return image.with_data(np.where(head, lifted, 0).astype(np.float32))
