"""Cheap checks made before any work: they turn the commonest bad input into one clear line and an exit code."""

import gzip
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from mbseg_bids.errors import CannotWriteError, InvalidDatasetError, UnreadableDataError


@dataclass(frozen=True)
class ImageHeader:
    """What the header of an image says, for its three spatial axes in native (i, j, k) order."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    """Voxel size, mm."""

    @property
    def in_plane_area(self) -> float:
        """Area of a voxel in the plane of highest resolution, mm2 (two smallest of the three spacings)."""
        smallest, second, _ = sorted(self.spacing)
        return smallest * second


def read_description(dataset: Path) -> dict[str, Any]:
    """Return the dataset_description.json of a dataset.

    Raises
    ------
    InvalidDatasetError
        If the folder or the file is missing, or the file is not a JSON object.
    """
    if not dataset.is_dir():
        raise InvalidDatasetError(f"{dataset} is not a folder", "give the root of a BIDS dataset")
    path = dataset / "dataset_description.json"
    try:
        description = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise InvalidDatasetError(
            f"{dataset} has no dataset_description.json", "add it, or use --skip-bids-validation"
        ) from error
    except (OSError, ValueError) as error:
        raise InvalidDatasetError(f"cannot read {path}: {error}", "correct the file") from error
    if not isinstance(description, dict):
        raise InvalidDatasetError(f"{path} is not a JSON object", "correct the file")
    return description


def check_distinct(output_dir: Path, bids_dir: Path) -> None:
    """Raise CannotWriteError if the results would be written over the input dataset."""
    if output_dir.resolve() == bids_dir.resolve():
        raise CannotWriteError(
            "the output folder is the input dataset itself", f"give another, such as {bids_dir}/derivatives/mbseg"
        )


def check_writable(folder: Path, what: str) -> None:
    """Make ``folder`` if need be and try to write in it; raise CannotWriteError where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise CannotWriteError(f"cannot write the {what} {folder}: {reason}", "give another folder") from error


def read_header(path: Path) -> ImageHeader:
    """Read the header of a three-dimensional image; trailing axes of length one are allowed.

    Raises
    ------
    UnreadableDataError
        If there is no readable header, or it describes no three-dimensional image in space.
    """
    image = _open(path)
    shape = image.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise UnreadableDataError(
            f"{path.name} has {len(shape)} dimensions {image.shape}, not 3", "give one volume, not a series"
        )
    if min(shape) < 2:
        raise UnreadableDataError(f"{path.name} is a single slice or empty {shape}", "give a volume")
    if image.get_data_dtype().names:
        raise UnreadableDataError(f"{path.name} is a colour image", "give a greyscale volume")
    spacing = tuple(float(size) for size in image.header.get_zooms()[:3])
    affine = image.affine
    if not np.all(np.isfinite(affine)) or not min(spacing) > 0 or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise UnreadableDataError(
            f"{path.name} has an impossible voxel size or orientation (pixdim {spacing})", "correct its header"
        )
    return ImageHeader(shape=tuple(int(n) for n in shape), spacing=spacing)


def check_image(path: Path) -> ImageHeader:
    """Read header and data of an image that is going to be used; return its header.

    Raises
    ------
    UnreadableDataError
        If the file is truncated, or its data are constant or have no finite value.
    """
    header = read_header(path)
    try:
        data = np.asanyarray(_open(path).dataobj)
        _read_to_end(path)
    except Exception as error:  # zlib, EOF, value and OS errors: whatever the damage, it is the file's
        raise UnreadableDataError(f"{path.name} is truncated or damaged: {error}", "restore the file") from error
    finite = data[np.isfinite(data)] if data.dtype.kind == "f" else data
    if finite.size == 0:
        raise UnreadableDataError(f"{path.name} has no finite value", "restore the file")
    if finite.min() == finite.max():
        raise UnreadableDataError(f"{path.name} is constant ({finite.flat[0]})", "restore the file")
    return header


def _read_to_end(path: Path) -> None:
    """Read a compressed file to its checksum, which nibabel leaves out."""
    if path.name.endswith((".gz", ".mgz")):
        with gzip.open(path, "rb") as stream:
            while stream.read(1 << 22):
                pass


def orientation_is_stated(path: Path) -> bool:
    """Tell whether a NIfTI header says where the image lies (qform or sform code above zero)."""
    header = _open(path).header
    try:
        return bool(int(header["qform_code"]) or int(header["sform_code"]))
    except (KeyError, ValueError):  # not NIfTI: other formats always state it
        return True


def _open(path: Path) -> nib.spatialimages.SpatialImage:
    if path.is_symlink() and not path.exists():
        raise UnreadableDataError(
            f"{path.name} is a link to a file that is not here", "fetch it, for instance with datalad get"
        )
    try:
        return nib.load(path)
    except Exception as error:  # nibabel raises many kinds for a damaged header
        raise UnreadableDataError(f"{path.name} cannot be read: {error}", "restore the file") from error
