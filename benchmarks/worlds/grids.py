"""Grids of the simulated head: everything lives in the frame of the T2* slices until it is sampled for an image."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Box:
    """A regular isotropic grid whose middle is the origin of the scan frame.

    Axes 0 and 1 run in the plane of the T2* slices (to the patient's right-left and front-back, tilted), axis 2
    across them.

    Attributes
    ----------
    shape
        Voxels along the three axes.
    spacing
        mm.
    """

    shape: tuple[int, int, int]
    spacing: float

    @classmethod
    def covering(cls, extent: npt.ArrayLike, spacing: float) -> "Box":
        """Return the grid that covers at least ``extent`` mm along the three axes, with even numbers of voxels."""
        n0, n1, n2 = (2 * int(np.ceil(e / spacing / 2)) for e in np.asarray(extent, float))
        return cls((n0, n1, n2), spacing)

    @property
    def middle(self) -> FloatArray:
        """Index of the origin of the scan frame."""
        return (np.array(self.shape) - 1) / 2

    def indices(self, points: npt.ArrayLike) -> FloatArray:
        """Return the (fractional) indices of points (..., 3) given in mm."""
        return np.asarray(points) / self.spacing + self.middle

    def axis(self, which: int) -> FloatArray:
        """Return the mm positions of the voxels along one axis."""
        return (np.arange(self.shape[which]) - self.middle[which]) * self.spacing


def interpolate_axis(volume: FloatArray, positions: FloatArray, axis: int) -> npt.NDArray[np.float32]:
    """Interpolate linearly at (fractional) index ``positions`` along one axis; outside, the border value holds."""
    size = volume.shape[axis]
    inside = np.clip(positions, 0, size - 1)
    low = np.minimum(inside.astype(int), max(size - 2, 0))
    weight = (inside - low).astype(np.float32)
    shape = [1] * volume.ndim
    shape[axis] = -1
    weight = weight.reshape(shape)
    below = np.take(volume, low, axis).astype(np.float32, copy=False)
    above = np.take(volume, np.minimum(low + 1, size - 1), axis).astype(np.float32, copy=False)
    above = above - below
    above *= weight
    above += below
    return above


def resample(volume: FloatArray, source: Box, target: Box) -> npt.NDArray[np.float32]:
    """Interpolate a volume linearly from one box to another of the same frame."""
    for axis in (2, 1, 0):
        positions = target.axis(axis) / source.spacing + source.middle[axis]
        volume = interpolate_axis(volume, positions, axis)
    return volume.astype(np.float32, copy=False)


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, ...], spacing: float, wavelength: float
) -> npt.NDArray[np.float32]:
    """Return smooth random numbers (mean 0, standard deviation 1) that change over about ``wavelength`` mm."""
    knots = [int(np.ceil(4 * n * spacing / wavelength)) + 4 for n in shape]
    field = ndimage.gaussian_filter(rng.standard_normal(knots).astype(np.float32), 1.6, mode="wrap")
    for axis in reversed(range(len(shape))):
        positions = 1.5 + np.arange(shape[axis]) * 4 * spacing / wavelength
        field = interpolate_axis(field, positions, axis)
    field -= field.mean()
    field /= max(float(field.std()), 1e-6)
    return field


def rotation(degrees: npt.ArrayLike) -> FloatArray:
    """Return the matrix of rotations about x, then y, then z."""
    a, b, c = np.radians(np.asarray(degrees, float))
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def distance_to(mask: npt.NDArray[np.bool_], spacing: float) -> npt.NDArray[np.float32]:
    """Return the distance in mm to a mask, computed on every second voxel (an eighth of the time) and interpolated."""
    sparse = ndimage.maximum_filter(mask, 2)[::2, ::2, ::2] if mask.sum() < 20000 else mask[::2, ::2, ::2]
    distance = ndimage.distance_transform_edt(~sparse).astype(np.float32) * np.float32(2 * spacing)
    for axis in (2, 1, 0):
        distance = interpolate_axis(distance, np.arange(mask.shape[axis]) / 2, axis)
    return distance
