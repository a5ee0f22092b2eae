"""Neighbourhoods: what is about a candidate in all three directions, as channels of one square.

The network of the first pass sees a single slice. A vein cut across is told from a microbleed by the slices beside it,
so here the slices themselves are the channels: T2* at nine heights, T2w and T1w at three.
"""

import numpy as np
import numpy.typing as npt

from mbseg_bids.detection.network.patches import STANDARD_MAXIMUM, checked, squares_in_plane

T2STAR_HEIGHTS_MM = (-8.0, -6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0, 8.0)
"""Heights across slices, relative to the voxel, at which T2* is taken: farther than a large microbleed blooms."""
OTHER_HEIGHTS_MM = (-3.0, 0.0, 3.0)
"""The same for T2w and for T1w."""

HEIGHTS_MM = (T2STAR_HEIGHTS_MM, OTHER_HEIGHTS_MM, OTHER_HEIGHTS_MM)
"""By channel of a stack."""

N_CHANNELS = sum(map(len, HEIGHTS_MM))
"""Channels of a neighbourhood: T2* from the lowest height to the highest, then T2w, then T1w."""


def slices_apart(spacing: tuple[float, float, float]) -> float:
    """Return the distance of slices in in-plane voxels, as the networks take it: mm, but for coarse scans.

    ``spacing`` is that of the detection grid, mm.
    """
    return spacing[2] / spacing[0]


def extract_neighbourhoods(
    stack: npt.NDArray[np.float32], voxels: npt.NDArray[np.integer], slice_spacing: float, size: int = 24
) -> npt.NDArray[np.float32]:
    """Cut the neighbourhood of each voxel out of a stack.

    Between slices the value is interpolated linearly, so that every scan has the same heights.

    Parameters
    ----------
    stack, voxels, size
        As in :func:`mbseg_bids.detection.network.patches.extract_patches`.
    slice_spacing
        Distance of slices, of :func:`slices_apart`.

    Returns
    -------
    Shape (N, N_CHANNELS, size, size) float32, scaled to 0-1; zero outside the grid.
    """
    stack, voxels = checked(stack, voxels)
    i, j, inside = squares_in_plane(voxels, stack.shape[1:3], size)
    squares = np.empty((len(voxels), N_CHANNELS, size, size), np.float32)
    channels = [(image, height) for image, heights in zip(stack, HEIGHTS_MM, strict=True) for height in heights]
    for channel, (image, height) in enumerate(channels):
        below, share = divmod(height / slice_spacing, 1)
        lower = _slices(image, i, j, voxels[:, 2] + int(below))
        upper = _slices(image, i, j, voxels[:, 2] + int(below) + 1) if share else lower
        squares[:, channel] = lower + np.float32(share) * (upper - lower)
    squares *= inside[:, None]
    return squares / np.float32(STANDARD_MAXIMUM)


def _slices(image: npt.NDArray, i: npt.NDArray, j: npt.NDArray, k: npt.NDArray) -> npt.NDArray[np.float32]:
    """Return squares of the slices ``k``; zero where there is no such slice."""
    n_slices = image.shape[2]
    squares = image[i, j, np.clip(k, 0, n_slices - 1)[:, None, None]]
    squares[(k < 0) | (k >= n_slices)] = 0
    return squares
