"""Volumes brought to canonical axes and onto one grid, for pictures only."""

import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.imaging.volume import Volume


def to_canonical(volume: Volume) -> Volume:
    """Permute and flip the axes to the ones closest to Right, Anterior, Superior. No interpolation."""
    orientation = nib.orientations.io_orientation(volume.affine)
    data = nib.orientations.apply_orientation(volume.data, orientation)
    undo = nib.orientations.inv_ornt_aff(orientation, volume.shape)
    return Volume(data, volume.affine @ undo)


def canonical_voxel(voxel: npt.ArrayLike, volume: Volume, canonical: Volume) -> npt.NDArray[np.float64]:
    """Return the index in ``canonical`` of an index in ``volume``, both (3,)."""
    world = volume.affine @ np.append(np.asarray(voxel, float), 1.0)
    return (np.linalg.inv(canonical.affine) @ world)[:3]


def sample_on(volume: Volume, reference: Volume, *, order: int) -> npt.NDArray:
    """Return ``volume`` at the voxels of ``reference`` through their affines (already registered images).

    Labels (``order`` 0) keep their integer type; intensities become float32. Zero outside the volume.
    """
    if volume.shape == reference.shape and np.allclose(volume.affine, reference.affine, atol=1e-4):
        return volume.data
    to_volume = np.linalg.inv(volume.affine) @ reference.affine
    data = volume.data if order == 0 else volume.data.astype(np.float32)
    return ndimage.affine_transform(
        data, to_volume[:3, :3], to_volume[:3, 3], output_shape=reference.shape, order=order, prefilter=False
    )


def slice_axis(spacing: tuple[float, float, float]) -> int:
    """Return the canonical axis through the slices: the largest spacing; ties within 5 % go to Superior."""
    return next(axis for axis in (2, 1, 0) if spacing[axis] >= max(spacing) / 1.05)


def strong_edges(
    volume: npt.NDArray,
    spacing: tuple[float, float, float],
    axis: int,
    region: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Find the edges of an image, plane by plane.

    Edges are the zero crossings of the Laplacian of a Gaussian (1.2 mm) where the gradient is strong, compared with
    its values in the region (the brain).

    Returns
    -------
    sign, strong
        Two boolean arrays of the volume's shape: an edge runs between two neighbours of unlike ``sign`` where one of
        them is ``strong``.
    """
    sigma = [0.0 if a == axis else 1.2 / spacing[a] for a in range(3)]
    image = volume.astype(np.float32)
    laplacian = np.zeros_like(image)
    slope = np.zeros_like(image)
    for a in range(3):
        if a == axis:
            continue
        first, second = ([o if b == a else 0 for b in range(3)] for o in (1, 2))
        laplacian += ndimage.gaussian_filter(image, sigma, order=second) / spacing[a] ** 2
        slope += (ndimage.gaussian_filter(image, sigma, order=first) / spacing[a]) ** 2
    inside = slope[region] if region.any() else slope.ravel()
    # the share of the strongest edges keeps noise in flat tissue from being drawn
    limit = max(np.percentile(inside, 75), 0.1 * np.percentile(inside, 99))
    return laplacian > 0, slope >= limit
