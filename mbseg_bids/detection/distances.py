"""Distances in a scan: to the edge of the brain, to a structure."""

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.imaging.intensity import distances_about

FAR_MM = 6.0
"""Farther from a structure than this is far: its outline is a warped atlas's, good to a millimetre or two."""


def distance_to_edge(
    brain: npt.NDArray[np.bool_], labels: npt.NDArray[np.integer], spacing: tuple[float, float, float]
) -> npt.NDArray[np.float64]:
    """Return the distance (mm, in plane) of brain voxels to what is not brain, in the slices that have labels."""
    distance = np.zeros(brain.shape)
    for k in np.flatnonzero((labels > 0).any(axis=(0, 1))):
        distance[:, :, k] = ndimage.distance_transform_edt(np.pad(brain[:, :, k], 1), sampling=spacing[:2])[1:-1, 1:-1]
    return distance


def distance_to_structure(
    structure: npt.NDArray[np.bool_], spacing: tuple[float, float, float], far: float = FAR_MM
) -> npt.NDArray[np.float64]:
    """Return the distance (mm) of every voxel to the nearest one of a structure: 0 within, at most ``far``.

    Parameters
    ----------
    structure
        Shape (I, J, K).
    spacing
        Voxel size in mm along the three axes.
    far
        mm.

    Returns
    -------
    Shape (I, J, K); NaN if the structure is empty.
    """
    if not structure.any():
        return np.full(structure.shape, math.nan)
    distance = np.full(structure.shape, far)
    window, near = distances_about(structure, spacing, far)
    distance[window] = np.minimum(near, far)
    return distance
