"""Patches: what the network sees of a voxel's surroundings in its slice."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

STANDARD_MAXIMUM = 100.0
"""Upper end of the standardised intensities of a stack; patches are scaled to 0-1 by it."""


def extract_patches(stack: npt.NDArray[np.float32], voxels: npt.NDArray[np.integer], size: int = 28) -> npt.NDArray:
    """Cut the in-plane square around each voxel out of all three contrasts.

    Parameters
    ----------
    stack
        Shape (3, I, J, K): T2*, T2w, T1w on the detection grid, 0-100; axis K runs through the slices.
    voxels
        Shape (N, 3), indices (i, j, k).
    size
        Side in voxels (1 mm each). The voxel itself is at index ``size // 2`` on both axes.

    Returns
    -------
    Shape (N, 3, size, size) float32, scaled to 0-1; zero outside the grid.

    Raises
    ------
    ValueError
        If a voxel lies outside the grid.
    """
    stack, voxels = checked(stack, voxels)
    i, j, inside = squares_in_plane(voxels, stack.shape[1:3], size)
    patches = stack[:, i, j, voxels[:, 2, None, None]].swapaxes(0, 1)
    patches = np.where(inside[:, None], patches, np.float32(0))
    return np.ascontiguousarray(patches * np.float32(1 / STANDARD_MAXIMUM), dtype=np.float32)


def squares_in_plane(
    voxels: npt.NDArray[np.integer], shape: Sequence[int], size: int
) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.integer], npt.NDArray[np.bool_]]:
    """Return indices along both in-plane axes, (N, size, 1) and (N, 1, size), and what of (N, size, size) is inside.

    ``shape`` is that of the plane; indices outside it are replaced by the nearest inside. The voxel is at
    ``size // 2``.
    """
    n_i, n_j = shape
    offsets = np.arange(size) - size // 2
    i, j = (voxels[:, 0, None] + offsets)[:, :, None], (voxels[:, 1, None] + offsets)[:, None, :]
    inside = (i >= 0) & (i < n_i) & (j >= 0) & (j < n_j)
    return np.clip(i, 0, n_i - 1), np.clip(j, 0, n_j - 1), inside


def extract_rotated_patches(
    stack: npt.NDArray[np.float32], voxels: npt.NDArray[np.integer], angles: npt.NDArray[np.floating], size: int = 28
) -> npt.NDArray:
    """Cut patches after turning the full slice about the voxel.

    The slice is turned, not the patch, so that the corners show what was around the patch (paper, "Generating training
    data"). Bilinear; zero outside the grid.

    Parameters
    ----------
    stack, voxels, size
        As in :func:`extract_patches`.
    angles
        Shape (N,), radians. The value at offset (a, b) from the voxel comes from offset
        (a cos + b sin, b cos - a sin) of the slice: a quarter turn equals ``np.rot90`` of an odd patch.

    Returns
    -------
    Shape (N, 3, size, size) float32, scaled to 0-1.
    """
    stack, voxels = checked(stack, voxels)
    offsets = np.arange(size, dtype=np.float64) - size // 2
    a, b = np.meshgrid(offsets, offsets, indexing="ij")
    patches = np.empty((len(voxels), stack.shape[0], size, size), np.float32)
    for n, ((i, j, k), angle) in enumerate(zip(voxels, np.asarray(angles, np.float64), strict=True)):
        cos, sin = np.cos(angle), np.sin(angle)
        at = np.stack([i + a * cos + b * sin, j + b * cos - a * sin])
        for channel in range(stack.shape[0]):
            patches[n, channel] = ndimage.map_coordinates(stack[channel, :, :, k], at, order=1, mode="constant")
    return patches * np.float32(1 / STANDARD_MAXIMUM)


def checked(stack: npt.NDArray, voxels: npt.NDArray) -> tuple[npt.NDArray, npt.NDArray]:
    """Return a stack as float32 and voxels as indices of shape (N, 3); ValueError if they are not, or do not fit."""
    if stack.ndim != 4 or stack.shape[0] != 3:
        raise ValueError(f"a stack has shape (3, I, J, K), this one has {stack.shape}")
    voxels = np.asarray(voxels).reshape(-1, 3)
    if len(voxels) and (voxels.min() < 0 or (voxels >= stack.shape[1:]).any()):
        raise ValueError(f"voxels outside the grid of {stack.shape[1:]}")
    return np.asarray(stack, np.float32), voxels.astype(np.intp)
