"""The longest diameter of a mask."""

import math

import numpy as np
import numpy.typing as npt

CHUNK = 500
"""Voxels whose distances to all others are held at once."""


def longest_distance(mask: npt.NDArray[np.bool_], steps: npt.NDArray[np.float64], slice_axis: int) -> float:
    """Return the length (mm) of the longest straight line in a mask: it has this length at least.

    The largest distance between the centres of two of its voxels; across slices, one slice less. So the mask of a ball
    is no longer than the ball: neither where its voxels have their centre in the ball, nor where, in thick slices,
    every slice that the ball touches is in the mask. Counted in full, a ball of 6 mm that touches three slices of 5 mm
    would be longer than 10 mm.

    Parameters
    ----------
    mask
        Shape (i, j, k), not empty.
    steps
        Shape (3, 3): the columns are the steps (mm) along the three array axes.
    slice_axis
        Array axis across slices.
    """
    in_plane = [axis for axis in range(3) if axis != slice_axis]
    # A distance is greatest between ends: no voxel that has others of the mask on both sides of it in its row.
    ends = np.argwhere(mask & ~_between(mask, in_plane[0]) & ~_between(mask, in_plane[1])).astype(np.float64)
    longest = 0.0
    for start in range(0, len(ends), CHUNK):
        apart = ends[start : start + CHUNK, None] - ends
        across = apart[..., slice_axis]
        apart[..., slice_axis] = np.sign(across) * np.maximum(np.abs(across) - 1, 0)
        longest = max(longest, float(((apart @ steps.T) ** 2).sum(axis=-1).max()))
    return math.sqrt(longest)


def _between(mask: npt.NDArray[np.bool_], axis: int) -> npt.NDArray[np.bool_]:
    """Return the voxels that have voxels of the mask on both sides along an axis."""
    before = np.logical_or.accumulate(mask, axis=axis)
    after = np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis=axis), axis)
    inner, behind, ahead = ([slice(None)] * 3 for _ in range(3))
    inner[axis], behind[axis], ahead[axis] = slice(1, -1), slice(None, -2), slice(2, None)
    between = np.zeros(mask.shape, bool)
    between[tuple(inner)] = before[tuple(behind)] & after[tuple(ahead)]
    return between
