"""Points and images moved between spaces; every transform says where it leads from and to.

All coordinates are RAS+ millimetres. A rigid or affine transform is a 4 x 4 array that takes POINTS from one space to
another; a :class:`PointField` does the same for a deformation. To bring an image of space A onto a grid of space B one
needs the transform of points from B to A.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.imaging.grids import Grid
from mbseg_bids.imaging.volume import Volume

_CHUNK = 16
"""Slices of the result computed at a time: bounds memory."""
_MAX_SAMPLES = 5
"""Largest number of samples averaged along one axis of a voxel."""


@dataclass(frozen=True, eq=False)
class PointField:
    """A deformation: a displacement at each point of a grid.

    Attributes
    ----------
    displacement
        float32, shape (i, j, k, 3): what to add to the position of a grid point, RAS+ mm.
    affine
        Shape (4, 4): indices of the grid to RAS+ mm of the space the points come from.
    """

    displacement: npt.NDArray[np.float32]
    affine: npt.NDArray[np.float64]

    def __call__(self, points: npt.NDArray) -> npt.NDArray[np.float64]:
        """Move points of shape (3, ...); beyond the grid the displacement at its border is used."""
        to_index = np.linalg.inv(self.affine)
        flat = points.reshape(3, -1)
        index = to_index[:3, :3] @ flat + to_index[:3, 3:]
        moved = np.empty_like(flat, dtype=np.float64)
        for axis in range(3):
            shift = ndimage.map_coordinates(self.displacement[..., axis], index, order=1, mode="nearest")
            moved[axis] = flat[axis] + shift
        return moved.reshape(points.shape)


Transform = npt.NDArray[np.floating] | PointField
"""A 4 x 4 array or a deformation, taking points of one space to another."""


def move_points(points: npt.NDArray, transforms: Sequence[Transform]) -> npt.NDArray[np.float64]:
    """Take points of shape (3, ...) through transforms, the first one first."""
    for transform in transforms:
        if isinstance(transform, PointField):
            points = transform(points)
        else:
            flat = transform[:3, :3] @ points.reshape(3, -1) + transform[:3, 3:]
            points = flat.reshape(points.shape)
    return points


def resample(
    moving: Volume, grid: Grid, transforms: Sequence[Transform] = (), *, order: int = 1, fill: float = 0.0
) -> Volume:
    """Bring an image onto a grid in one interpolation.

    Parameters
    ----------
    moving
        The image; 3-D.
    grid
        Where the result lies.
    transforms
        They take points of the space of ``grid``, one after the other, to the space of ``moving``.
    order
        1: linear, and the mean over the voxel of the result where that is larger than a voxel of ``moving``, so that
        nothing aliases and slices of equal thickness hold equal tissue. 0: nearest voxel, for labels.
    fill
        Value beyond the field of view of ``moving``.

    Returns
    -------
    Volume
        float32 for order 1, the type of ``moving`` for order 0.
    """
    samples = [1, 1, 1] if order == 0 else _samples_per_voxel(moving, grid)
    source = moving.data.astype(np.float32, copy=False) if order else moving.data
    result = np.empty(grid.shape, source.dtype)
    for start in range(0, grid.shape[2], _CHUNK):
        stop = min(start + _CHUNK, grid.shape[2])
        result[:, :, start:stop] = _resample_slab(
            source, moving.affine, grid, (start, stop), transforms, samples, order, fill
        )
    return Volume(result, np.array(grid.affine))


def field_of_view(moving: Volume, grid: Grid, transforms: Sequence[Transform] = ()) -> npt.NDArray[np.bool_]:
    """Return the voxels of ``grid`` whose centre lies inside the field of view of ``moving``."""
    inside = Volume(np.ones(moving.shape, np.uint8), moving.affine)
    return resample(inside, grid, transforms, order=0).data > 0


def compose_field(grid: Grid, transforms: Sequence[Transform]) -> PointField:
    """Write a chain of transforms as one deformation sampled on ``grid``."""
    points = grid_points(grid.shape, grid.affine)
    return PointField((move_points(points, transforms) - points).transpose(1, 2, 3, 0).astype(np.float32), grid.affine)


def bounding_grid(volume: Volume, spacing: float, margin: float = 0.0) -> Grid:
    """Return an axis-aligned (RAS+) grid of equal spacing in mm over the field of view of a volume, plus a margin."""
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in volume.shape], indexing="ij")).reshape(3, -1)
    world = volume.affine[:3, :3] @ corners + volume.affine[:3, 3:]
    low, high = world.min(axis=1) - margin, world.max(axis=1) + margin
    affine = np.diag([spacing] * 3 + [1.0])
    affine[:3, 3] = low
    i, j, k = (int(n) for n in np.ceil((high - low) / spacing) + 1)
    return Grid((i, j, k), affine)


def grid_points(shape: Sequence[int], affine: npt.NDArray) -> npt.NDArray[np.float64]:
    """Return the RAS+ mm positions of all voxel centres of a grid, shape (3, i, j, k)."""
    index = np.indices(shape, dtype=np.float64).reshape(3, -1)
    return (affine[:3, :3] @ index + affine[:3, 3:]).reshape(3, *shape)


def _samples_per_voxel(moving: Volume, grid: Grid) -> list[int]:
    """How many samples to average along each axis of a voxel of ``grid``, so that none of ``moving`` is passed over."""
    directions = np.asarray(grid.affine)[:3, :3]
    moving_directions = moving.affine[:3, :3] / np.asarray(moving.spacing)
    counts = []
    for axis in range(3):
        along = directions[:, axis] / grid.spacing[axis]
        # Spacing of ``moving`` met along this axis (rotations between scans of a session are small).
        step = 1 / np.linalg.norm((moving_directions.T @ along) / np.asarray(moving.spacing))
        counts.append(int(np.clip(np.floor(grid.spacing[axis] / step + 0.25), 1, _MAX_SAMPLES)))
    return counts


def _resample_slab(source, moving_affine, grid, span, transforms, samples, order, fill):
    start, stop = span
    offset_affine = np.array(grid.affine)
    offset_affine[:3, 3] += offset_affine[:3, 2] * start
    shape = (grid.shape[0], grid.shape[1], stop - start)
    centres = grid_points(shape, offset_affine)
    to_index = np.linalg.inv(moving_affine)
    total = np.zeros(shape, np.float64) if order else None
    for part in np.ndindex(*samples):
        within = (np.array(part) + 0.5) / samples - 0.5
        points = centres + (offset_affine[:3, :3] @ within).reshape(3, 1, 1, 1) if any(within) else centres
        index = move_points(points, [*transforms, to_index])
        if order == 0:
            return _nearest(source, index, fill)
        total += _linear(source, index, fill)
    return (total / np.prod(samples)).astype(np.float32)


def _linear(source: npt.NDArray, index: npt.NDArray, fill: float) -> npt.NDArray:
    """Interpolate; inside the outer half of the border voxels their own value holds (single slices have only that)."""
    inside = _inside(source.shape, index)
    values = ndimage.map_coordinates(source, index, order=1, mode="nearest", output=np.float32)
    return np.where(inside, values, fill)


def _nearest(source: npt.NDArray, index: npt.NDArray, fill: float) -> npt.NDArray:
    inside = _inside(source.shape, index)
    rounded = [np.clip(np.rint(i), 0, n - 1).astype(np.intp) for i, n in zip(index, source.shape, strict=True)]
    return np.where(inside, source[tuple(rounded)], np.asarray(fill, source.dtype))


def _inside(shape: Sequence[int], index: npt.NDArray) -> npt.NDArray[np.bool_]:
    inside = np.ones(index.shape[1:], bool)
    for position, count in zip(index, shape, strict=True):
        inside &= (position >= -0.5) & (position <= count - 0.5)
    return inside
