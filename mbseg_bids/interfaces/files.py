"""Images, transforms and records as files."""

from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nipype.interfaces.base import isdefined

from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.imaging.transforms import PointField
from mbseg_bids.imaging.volume import Volume


def read_volume(path: str | Path) -> Volume:
    """Read a three-dimensional image; trailing axes of length one are dropped.

    Raises
    ------
    UnreadableDataError
        If the file cannot be read, has more than three axes, or its header places it nowhere.
    """
    try:
        image = nib.load(path)
        data = np.asanyarray(image.dataobj)
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise UnreadableDataError(f"cannot read {Path(path).name}: {error}", "give an intact image") from error
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    affine = np.asarray(image.affine, np.float64)
    if data.ndim != 3:
        raise UnreadableDataError(f"{Path(path).name} has {data.ndim} axes", "give a three-dimensional image")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise UnreadableDataError(f"the header of {Path(path).name} gives no voxel size", "correct sform and qform")
    return Volume(data, affine)


def write_volume(path: str | Path, volume: Volume, like: str | Path | None = None) -> str:
    """Write an image; ``like`` gives the header of the same grid, so that the affine is kept to the bit."""
    header = None
    if like is not None:
        header = nib.Nifti1Header.from_header(nib.load(like).header, check=False)
        header.set_data_dtype(volume.data.dtype)
        header.set_data_shape(volume.data.shape)
        header.set_slope_inter(1, 0)
        header["cal_min"] = header["cal_max"] = 0
    image = nib.Nifti1Image(volume.data, volume.affine, header)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return str(path)


def read_matrix(path: str | Path) -> np.ndarray:
    """Read a 4 x 4 matrix from a text file."""
    return np.loadtxt(path)


def write_matrix(path: str | Path, matrix: np.ndarray) -> str:
    """Write a 4 x 4 matrix as text that reads back to the bit."""
    np.savetxt(path, matrix, fmt="%.17g")
    return str(path)


def read_field(path: str | Path) -> PointField:
    """Read a deformation written by :func:`write_field`."""
    image = nib.load(path)
    vectors = np.asarray(image.dataobj, np.float32)[:, :, :, 0, :].copy()
    vectors[..., :2] *= -1
    return PointField(vectors, np.asarray(image.affine, np.float64))


def write_field(path: str | Path, field: PointField) -> str:
    """Write a deformation as ITK and ANTs read it: five axes, LPS vectors, vector intent."""
    vectors = field.displacement.copy()
    vectors[..., :2] *= -1
    image = nib.Nifti1Image(vectors[:, :, :, None, :], field.affine)
    image.header.set_intent("vector")
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return str(path)


def given(value) -> bool:
    """Tell whether an optional input was set."""
    return isdefined(value) and value is not None
