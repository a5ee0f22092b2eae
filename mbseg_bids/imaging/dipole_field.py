"""The magnetic field of any distribution of susceptibility: its convolution with that of a dipole.

Marques & Bowtell, Concepts Magn Reson B 2005, 25:65.
"""

import math

import numpy as np
import numpy.typing as npt


def field_of(chi: npt.NDArray[np.floating], affine: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return the change of field along B0 = world z of a susceptibility map, as a part of B0 and in the map's unit.

    By 1/3 - k_z^2 / k^2 in Fourier space, in world axes: voxels and slices may be of any size and slant.

    Parameters
    ----------
    chi
        Shape (i, j, k).
    affine
        Voxel indices to RAS+ mm.
    """
    pads = [math.ceil(10 / size) for size in np.linalg.norm(affine[:3, :3], axis=0)]
    padded = np.pad(np.asarray(chi, dtype=np.float32), [(0, pad) for pad in pads])
    inverse = np.linalg.inv(affine[:3, :3])
    lines = np.meshgrid(
        np.fft.fftfreq(padded.shape[0]).astype(np.float32),
        np.fft.fftfreq(padded.shape[1]).astype(np.float32),
        np.fft.rfftfreq(padded.shape[2]).astype(np.float32),
        indexing="ij",
        sparse=True,
    )
    x, y, z = (sum(lines[axis] * np.float32(inverse[axis, to]) for axis in range(3)) for to in range(3))
    squared: npt.NDArray[np.float32] = np.asarray(x**2 + y**2 + z**2)
    squared[0, 0, 0] = 1
    kernel: npt.NDArray[np.float32] = np.asarray(1 / 3 - z**2 / squared)
    kernel[0, 0, 0] = 0
    whole = np.fft.irfftn(np.fft.rfftn(padded) * kernel, s=padded.shape, axes=(0, 1, 2))
    return whole[tuple(slice(0, n) for n in chi.shape)].astype(np.float32)
