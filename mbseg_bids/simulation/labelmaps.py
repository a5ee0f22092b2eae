"""Where label maps come from: a folder, or the atlas of this package."""

from importlib.resources import files
from pathlib import Path

import nibabel as nib
import numpy as np

from mbseg_bids.errors import MissingImageError, UnreadableDataError
from mbseg_bids.imaging.volume import Volume


def read_labelmap(path: Path) -> Volume:
    """Read a label map as integers.

    Raises
    ------
    UnreadableDataError
        Not a readable image, not of three dimensions, or without any brain label.
    """
    try:
        image = nib.load(path)
        data = np.rint(np.asanyarray(image.dataobj)).astype(np.int32)
    except Exception as error:
        raise UnreadableDataError(f"cannot read {path}: {error}", "give NIfTI label maps") from error
    if data.ndim != 3:
        raise UnreadableDataError(f"{path} has {data.ndim} dimensions", "give a label map of three")
    if not np.isin(data, (2, 41)).any():
        raise UnreadableDataError(
            f"{path} has no cerebral white matter (2, 41)", "give a label map with FreeSurfer numbers"
        )
    return Volume(data, image.affine)


def read_labelmaps(folder: Path, *, limit: int | None = None) -> list[Volume]:
    """Read the label maps of a folder by name, at most `limit`.

    Raises
    ------
    MissingImageError
        The folder holds no NIfTI file.
    """
    paths = sorted([*folder.glob("*.nii"), *folder.glob("*.nii.gz")])[:limit]
    if not paths:
        raise MissingImageError(f"no NIfTI label maps in {folder}", "give a folder of *.nii.gz")
    return [read_labelmap(path) for path in paths]


def bundled_head() -> tuple[Volume, tuple[Volume, Volume]]:
    """The package's atlas of FreeSurfer numbers, and nilearn's ICBM152 grey and white matter probabilities to sharpen its cortex.

    Raises
    ------
    MissingImageError
        The installation lacks the atlas.
    """
    from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template

    folder = Path(str(files("mbseg_bids.data") / "atlas"))
    paths = sorted(folder.glob("*dseg.nii.gz"))
    if not paths:
        raise MissingImageError("this installation has no atlas to make heads from", "give --labelmaps DIR")
    maps = [load_mni152_gm_template(resolution=1), load_mni152_wm_template(resolution=1)]
    grey, white = (Volume(np.asarray(image.dataobj, dtype=np.float32), image.affine) for image in maps)
    return read_labelmap(paths[0]), (grey, white)
