"""Lesion labels in other spaces, for reports and cohort maps; counts and volumes are always those of the T2* grid."""

from collections.abc import Sequence

import numpy as np

from mbseg_bids.imaging.grids import Grid
from mbseg_bids.imaging.transforms import PointField, Transform, resample
from mbseg_bids.imaging.volume import Volume

_INVERSION_STEPS = 30


def map_labels(labels: Volume, grid: Grid, transforms: Sequence[Transform]) -> Volume:
    """Bring labels onto a grid by the nearest voxel; a label that would be lost becomes the voxel nearest to it.

    Parameters
    ----------
    labels
        Integers, 0 = background.
    grid
        Where they shall go.
    transforms
        They take points of the space of ``grid`` to the space of ``labels``.

    Returns
    -------
    Volume
        int32. A lesion outside the field of view of ``grid`` is put on its border.
    """
    integers = labels.with_data(np.asarray(labels.data).astype(np.int32))
    moved = resample(integers, grid, transforms, order=0)
    lost = np.setdiff1d(np.unique(integers.data), moved.data)
    for label in lost[lost > 0].tolist():
        _put(moved.data, label, _index_of(integers.centre_of(integers.data == label), grid, transforms))
    return moved


def _index_of(point: np.ndarray, grid: Grid, transforms: Sequence[Transform]) -> np.ndarray:
    """Return the index on ``grid`` (not rounded) of the point that the transforms take to ``point``."""
    matrices = [np.linalg.inv(t) for t in transforms if not isinstance(t, PointField)]
    source = point.astype(np.float64)
    for matrix in reversed(matrices):
        source = matrix[:3, :3] @ source + matrix[:3, 3]
    # Only a deformation is left; it is inverted by fixed-point iteration, starting from its value on the spot.
    fields = [t for t in transforms if isinstance(t, PointField)]
    position = source.copy()
    for _ in range(_INVERSION_STEPS if fields else 0):
        there = position
        for field in fields:
            there = field(there[:, None])[:, 0]
        position = position + 0.7 * (source - there)
    to_index = np.linalg.inv(grid.affine)
    return to_index[:3, :3] @ position + to_index[:3, 3]


def _put(target: np.ndarray, label: int, index: np.ndarray) -> None:
    """Write a label into the nearest voxel that is free, else into one that its owner can spare."""
    start = np.clip(np.rint(index), 0, np.array(target.shape) - 1).astype(int)
    for reach in (1, 3, 8):
        low, high = np.maximum(start - reach, 0), np.minimum(start + reach + 1, target.shape)
        near = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), -1).reshape(-1, 3)
        near = near[np.argsort(np.linalg.norm(near - index, axis=1), kind="stable")]
        for voxel in near:
            owner = target[tuple(voxel)]
            if owner == 0 or np.count_nonzero(target == owner) > 1:
                target[tuple(voxel)] = label
                return
