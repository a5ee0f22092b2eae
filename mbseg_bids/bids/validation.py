"""Cheap checks made before any work: they turn the commonest bad input into one clear line and an exit code."""

import errno
import gzip
import json
import math
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.openers import ImageOpener
from nibabel.spatialimages import SpatialImage

from mbseg_bids.errors import CannotWriteError, InvalidDatasetError, MbsegError, UnreadableDataError

SMALLEST_VOXEL = 0.05
LARGEST_VOXEL = 20.0
"""Voxel sizes beyond these, mm, come from a header in other units, or one that is broken."""

_LARGEST_COMPRESSION = 1100
"""Deflate makes nothing smaller than by 1032."""

_LARGEST_SURPLUS = 64 * 2**20
"""Bytes after the image that are read to find the checksum: header extensions and padding are smaller."""

_POINTERS = (
    (b"/annex/objects/", "git-annex", "fetch it, for instance with datalad get"),
    (b"version https://git-lfs", "Git LFS", "fetch it, for instance with git lfs pull"),
)


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
    except (OSError, ValueError, RecursionError) as error:
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


def check_outside(folder: Path, bids_dir: Path, what: str) -> None:
    """Raise CannotWriteError if a folder to write in lies among the images of the input dataset.

    Below ``derivatives``, ``sourcedata``, ``code`` or a hidden folder it is out of their way.
    """
    ours, theirs = folder.resolve(), bids_dir.resolve()
    if not ours.is_relative_to(theirs) or ours == theirs:
        return
    first = ours.relative_to(theirs).parts[0]
    if first not in ("derivatives", "sourcedata", "code") and not first.startswith("."):
        raise CannotWriteError(
            f"the {what} {folder} lies inside the input dataset",
            f"give another, such as one below {bids_dir}/derivatives",
        )


def read_header(path: Path) -> ImageHeader:
    """Read the header of a three-dimensional image; trailing axes of length one are allowed.

    Raises
    ------
    UnreadableDataError
        If there is no readable header, or it describes no three-dimensional image in space.
    """
    image = open_image(path)
    shape = image.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise UnreadableDataError(
            f"{path.name} has {len(shape)} dimensions {image.shape}, not 3", "give one volume, not a series"
        )
    if min(shape) < 2:
        raise UnreadableDataError(f"{path.name} is a single slice or empty {shape}", "give a volume")
    kind = image.get_data_dtype()
    if kind.names:
        raise UnreadableDataError(f"{path.name} is a colour image", "give a greyscale volume")
    if kind.kind == "c":
        raise UnreadableDataError(f"{path.name} holds complex numbers", "give the magnitude")
    stated = tuple(float(size) for size in image.header.get_zooms()[:3])
    affine = image.affine
    _require_voxel_size(path, image)
    if not np.all(np.isfinite(affine)) or not min(stated) > 0 or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise UnreadableDataError(
            f"{path.name} has an impossible voxel size or orientation (pixdim {stated})", "correct its header"
        )
    x, y, z = (float(size) for size in voxel_sizes(affine))
    spacing = (x, y, z)  # what everything is computed with
    if min(spacing) < SMALLEST_VOXEL or max(spacing) > LARGEST_VOXEL:
        sizes = " x ".join(f"{size:.3g}" for size in spacing)
        raise UnreadableDataError(
            f"{path.name} has voxels of {sizes} mm, which is no scan of a head",
            "correct its header, which must be in mm",
        )
    i, j, k = (int(n) for n in shape)
    return ImageHeader(shape=(i, j, k), spacing=spacing)


def _require_voxel_size(path: Path, image: SpatialImage) -> None:
    """Refuse a NIfTI file whose voxel size is zero and needed; nibabel would take 1 mm for it without a word."""
    if not isinstance(image.header, nib.Nifti1Header) or int(image.header["sform_code"]):
        return
    with ImageOpener(path) as stream:
        stated = type(image.header).from_fileobj(stream, check=False)["pixdim"][1:4]
    if not np.all(stated):
        sizes = tuple(float(size) for size in stated)
        raise UnreadableDataError(f"{path.name} has an impossible voxel size (pixdim {sizes})", "correct its header")


def check_image(path: Path) -> ImageHeader:
    """Read header and data of an image that is going to be used; return its header.

    Raises
    ------
    UnreadableDataError
        If the file is truncated, or its data are constant or have no finite value.
    """
    return read_image(path)[0]


def read_image(path: Path) -> tuple[ImageHeader, np.ndarray]:
    """Read header and data as :func:`check_image` does, and return both; data of any numeric type, three axes."""
    header = read_header(path)
    image = open_image(path)
    _require_size(path, image)
    try:
        data = np.asanyarray(image.dataobj)
        _read_to_end(path, data.size * image.get_data_dtype().itemsize)
    except MbsegError:
        raise
    except Exception as error:  # zlib, EOF, value, memory and OS errors: whatever the damage, it is the file's
        reason = _without_folder(error, path)
        raise UnreadableDataError(f"{path.name} is truncated or damaged: {reason}", "restore the file") from error
    finite = data[np.isfinite(data)] if data.dtype.kind == "f" else data
    if finite.size == 0:
        raise UnreadableDataError(f"{path.name} has no finite value", "restore the file")
    low, high = finite.min(), finite.max()
    if low == high:
        raise UnreadableDataError(f"{path.name} is constant ({low})", "restore the file")
    if not high > 0:
        raise UnreadableDataError(f"{path.name} has no value above zero", "give the magnitude image")
    return header, data.reshape(header.shape)


def _require_size(path: Path, image: SpatialImage) -> None:
    """Raise UnreadableDataError if the file cannot hold what its header says, before memory is asked for it."""
    claimed = math.prod(image.shape) * image.get_data_dtype().itemsize
    factor = _LARGEST_COMPRESSION if path.name.endswith((".gz", ".mgz")) else 1
    if claimed > path.stat().st_size * factor + 1024:
        raise UnreadableDataError(
            f"{path.name} is truncated or damaged: its header promises {claimed} bytes of data", "restore the file"
        )


def _read_to_end(path: Path, expected: int) -> None:
    """Read a compressed file to its checksum, which nibabel leaves out."""
    if path.name.endswith((".gz", ".mgz")):
        with gzip.open(path, "rb") as stream:
            n_read = 0
            while chunk := stream.read(1 << 22):
                n_read += len(chunk)
                if n_read > expected + _LARGEST_SURPLUS:
                    raise UnreadableDataError(
                        f"{path.name} goes on far beyond the image its header describes", "restore the file"
                    )


def orientation_is_stated(path: Path) -> bool:
    """Tell whether a NIfTI header says where the image lies (qform or sform code above zero)."""
    header = open_image(path).header
    try:
        return bool(int(header["qform_code"]) or int(header["sform_code"]))
    except (KeyError, ValueError):  # not NIfTI: other formats always state it
        return True


def open_image(path: Path) -> SpatialImage:
    """Open an image without reading its data.

    Raises
    ------
    UnreadableDataError
        If it is no file, not here, or no image; the message says which.
    """
    _require_content(path)
    try:
        return nib.load(path)
    except Exception as error:  # nibabel raises many kinds for a damaged header
        raise UnreadableDataError(
            f"{path.name} cannot be read: {_without_folder(error, path)}", "restore the file"
        ) from error


def _require_content(path: Path) -> None:
    """Refuse what would be waited for, and what only stands for a file that is elsewhere."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnreadableDataError(f"{path.name} is a link that leads to itself", "restore the file") from error
        if path.is_symlink():
            raise UnreadableDataError(
                f"{path.name} is a link to a file that is not here", "fetch it, for instance with datalad get"
            ) from error
        reason = error.strerror or error
        raise UnreadableDataError(f"{path.name} cannot be read: {reason}", "restore the file") from error
    if not stat.S_ISREG(mode):
        raise UnreadableDataError(f"{path.name} is no file (a folder, pipe or device)", "restore the file")
    try:
        with path.open("rb") as stream:
            start = stream.read(64)
    except OSError as error:
        raise UnreadableDataError(f"{path.name} cannot be read: {error.strerror}", "give reading rights") from error
    if not start:
        raise UnreadableDataError(f"{path.name} cannot be read: the file is empty", "restore the file")
    for beginning, name, remedy in _POINTERS:
        if start.startswith(beginning):
            raise UnreadableDataError(f"{path.name} is a {name} pointer, its content is not here", remedy)


def _without_folder(error: Exception, path: Path) -> str:
    """Return the text of an error without the folder of the file, which is long and names the machine."""
    return (str(error) or type(error).__name__).replace(str(path.parent) + os.sep, "")
