"""Smooth random fields and small rigid motions."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage


def smooth_field(
    shape: Sequence[int], scale: float | Sequence[float], rng: np.random.Generator, *, sigma: float = 1.0
) -> npt.NDArray[np.float32]:
    """Smooth Gaussian random field with nodes every `scale` voxels (one number, or one an axis), linear between them.

    `sigma` is the standard deviation of the nodes; interpolation lowers that of the whole field to about 0.6 of it.
    """
    scales = np.broadcast_to(np.asarray(scale, dtype=np.float64), 3)
    coarse_shape = [int(np.ceil(n / step)) + 3 for n, step in zip(shape, scales, strict=True)]
    coarse = rng.standard_normal(coarse_shape).astype(np.float32)
    coarse = ndimage.gaussian_filter(coarse, 0.7)
    coarse *= sigma / max(float(coarse.std()), 1e-6)
    for axis, (n, m, step) in enumerate(zip(shape, coarse_shape, scales, strict=True)):
        # Linear interpolation along one axis at a time, as a product with a band matrix.
        position = np.arange(n) / step + 0.5
        weights = np.maximum(0, 1 - np.abs(position[:, None] - np.arange(m))).astype(np.float32)
        coarse = np.moveaxis(np.tensordot(weights, coarse, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(coarse)


def rotation(angles: Iterable[float]) -> npt.NDArray[np.float64]:
    """Rotation matrix from angles (radians) about x, then y, then z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(list(angles)), np.sin(list(angles))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def small_move(
    rng: np.random.Generator, translation: float, angle: float, centre: npt.NDArray
) -> npt.NDArray[np.float64]:
    """Rigid motion (4 x 4) about a point: standard deviations in mm along, and radians about, each axis."""
    move = np.eye(4)
    move[:3, :3] = rotation(rng.normal(0, angle, 3))
    move[:3, 3] = centre - move[:3, :3] @ centre + rng.normal(0, translation, 3)
    return move
