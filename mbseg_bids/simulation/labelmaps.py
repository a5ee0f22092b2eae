"""Label maps to make heads from: a folder of them, or the atlas of this package; completed where they lack detail."""

from importlib.resources import files
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from scipy import ndimage

from mbseg_bids.errors import MissingImageError, UnreadableDataError
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation.rendering import sample


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


TEMPLATE_SCALE = 0.93
"""The ICBM152 template is larger than people: about 1.9 l inside the skull, which this brings to about 1.5 l."""


def bundled_head() -> tuple[Volume, tuple[Volume, Volume]]:
    """The package's atlas of FreeSurfer numbers, and nilearn's ICBM152 tissue probabilities to sharpen its cortex.

    Returns the label map, and the probabilities of (grey, white) matter.

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
    return _resized(read_labelmap(paths[0])), (_resized(grey), _resized(white))


def _resized(volume: Volume) -> Volume:
    return Volume(volume.data, np.diag([TEMPLATE_SCALE, TEMPLATE_SCALE, TEMPLATE_SCALE, 1.0]) @ volume.affine)


def refine_cortex(labelmap: Volume, grey: Volume, white: Volume) -> Volume:
    """Redraw cortex, cerebral white matter and outer CSF by tissue probabilities; the other labels stay."""
    labels = labelmap.data.copy()
    where = np.argwhere(np.isin(labels, (2, 3, 41, 42, 24)) | ((labels >= 1000) & (labels < 5100)))
    points = (where @ labelmap.affine[:3, :3].T + labelmap.affine[:3, 3]).astype(np.float32)
    points = torch.from_numpy(points)
    p_grey, p_white = (sample(image, points).numpy() for image in (grey, white))
    left = np.isin(labels, (2, 3)) | (
        (labels >= 1000) & (labels % 2000 < 1000) & (labels < 5100) & (labels // 1000 % 2 == 1)
    )
    is_left = ndimage.gaussian_filter(left.astype(np.float32), 4.0) >= ndimage.gaussian_filter(
        np.isin(labels, (41, 42)).astype(np.float32), 4.0
    )
    side = is_left[tuple(where.T)]
    new = np.where(p_white > p_grey, np.where(side, 2, 41), np.where(side, 3, 42))
    new[p_grey + p_white < 0.65] = 24  # in an average over people, half-closed sulci are grey
    labels[tuple(where.T)] = new
    return Volume(labels, labelmap.affine)


def add_head(labelmap: Volume) -> Volume:
    """Put a label map of the brain alone into a head: 2 mm of CSF, bone with marrow, soft tissue, skin."""
    spacing = float(np.mean(labelmap.spacing))
    pad = int(np.ceil(22 / spacing))
    labels = np.pad(labelmap.data, pad)
    affine = labelmap.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ np.full(3, float(pad))
    brain = ndimage.gaussian_filter((labels > 0).astype(np.float32), 3.0 / spacing) > 0.4
    labels[(labels == 0) & brain] = 24
    to_brain = ndimage.distance_transform_edt(~brain, sampling=labelmap.spacing)
    # The head spans the clefts between the lobes and below the brain, so its outline is that of a much smoothed brain.
    outline = (ndimage.gaussian_filter(brain.astype(np.float32), 14 / spacing) > 0.15) | (to_brain < 12)
    depth = ndimage.distance_transform_edt(outline, sampling=labelmap.spacing)
    outside = (labels == 0) & outline
    labels[outside] = 507
    for limit, label in ((8, 515), (6, 516), (4, 515), (2, 24)):
        labels[outside & (to_brain <= limit)] = label
    labels[outside & (depth < 2.5) & (to_brain > 8)] = 511
    return Volume(labels, affine)
