"""Reviewed lesions in other spaces than that of T2*: on T1w, and on the template."""

from collections.abc import Mapping
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from mbseg_bids.imaging.grids import Grid
from mbseg_bids.imaging.label_mapping import map_labels
from mbseg_bids.imaging.template import TEMPLATES
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.reports.facts import registration_checks
from mbseg_bids.reports.session_files import number
from mbseg_bids.review.decide import AUTOMATIC, Result
from mbseg_bids.review.session import SessionResult
from mbseg_bids.review.write import write_labels, write_sidecar

_POSITION = ("x_template_mm", "y_template_mm", "z_template_mm")


def write_other_spaces(session: SessionResult, result: Result, record: Mapping[str, Any]) -> dict[str, list[str]]:
    """Write masks and labels in the other spaces that the automatic result is in.

    Returns
    -------
    For each space the names of lesions that are not in it.
    """
    missing = {}
    for space in ("T1w", *TEMPLATES):
        dseg = session.files.exact(f"space-{space}_seg-CMB_dseg.nii.gz")
        mask = session.files.exact(f"space-{space}_label-CMB_mask.nii.gz")
        if dseg is None or mask is None:
            continue
        image = nib.load(dseg)
        volume = Volume(np.asanyarray(image.dataobj).astype(np.int32), np.asarray(image.affine, np.float64))
        labels = on_t1w(session, result, volume) if space == "T1w" else on_template(result, volume)
        here = set(np.unique(labels).tolist())
        missing[space] = [row["name"] for row in result.lesion_rows if int(row["index"]) not in here]
        write_labels(dseg, labels)
        write_labels(dseg, (labels > 0) * 1, mask)
        how = _HOW["T1w" if space == "T1w" else "template"]
        lacking = f" Not in this space: {', '.join(missing[space])}." if missing[space] else ""
        for path in (dseg, mask):
            text = f"Cerebral microbleeds, found by the program and corrected by a reader. {how}{lacking}"
            write_sidecar(session.files.output_dir, path.with_name(path.name.replace(".nii.gz", ".json")), text, record)
    return missing


_HOW = {
    "T1w": "The table stands beside the image in space-T2starw.",
    "template": "The table stands beside the image in space-T2starw. Lesions that the reader took from the candidates "
    "are balls of the same volume at their place on the template.",
}


def on_t1w(session: SessionResult, result: Result, automatic: Volume) -> npt.NDArray[np.int32]:
    """Return the reviewed labels on the grid of T1w; without a recorded transform, those of the automatic ones."""
    transforms = {check.moving: check.transform for check in registration_checks(session.summary)}
    if (transform := transforms.get("T1w")) is None:
        return kept_labels(result, automatic.data)
    labels = Volume(result.lesions, session.scan.affine)
    moved = map_labels(labels, Grid(automatic.shape, automatic.affine), [transform]).data
    old = kept_labels(result, automatic.data)  # to the voxel what the program wrote
    stay = [int(row["index"]) for row in result.lesion_rows if row["origin"] == AUTOMATIC]
    return np.where(old > 0, old, np.where(np.isin(moved, stay), 0, moved)).astype(np.int32)


def on_template(result: Result, automatic: Volume) -> npt.NDArray[np.int32]:
    """Return the reviewed labels on the template; a lesion without a place there is left out."""
    labels = kept_labels(result, automatic.data)
    for row, source in _with_places(result):
        centre = [number(source.get(column)) for column in _POSITION]
        radius = (number(row.get("diameter_mm")) or 0.0) / 2
        if None in centre:
            continue
        ball = _ball(automatic, np.array(centre, float), radius) & (labels == 0)
        labels[ball] = int(row["index"])
    return labels


def kept_labels(result: Result, labels: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
    """Return the labels of automatic lesions that the reader left; the others 0."""
    stay = [int(row["index"]) for row in result.lesion_rows if row["origin"] == AUTOMATIC]
    return np.where(np.isin(labels, stay), labels, 0).astype(np.int32)


def _with_places(result: Result) -> list[tuple[Mapping[str, str], Mapping[str, str]]]:
    """Return new lesions, each with the row that knows its place on the template."""
    by_index = {row["index"]: row for row in result.candidate_rows}
    new = [row for row in result.lesion_rows if row["origin"] != AUTOMATIC]
    candidate_of = {row["lesion_index"]: index for index, row in by_index.items() if row["status"] == "kept"}
    return [(row, by_index.get(candidate_of.get(row["index"], ""), row)) for row in new]


def _ball(volume: Volume, centre: npt.NDArray[np.float64], radius: float) -> npt.NDArray[np.bool_]:
    """Return the voxels whose centre lies in a ball, and the one nearest to its centre if inside the image."""
    inverse = np.linalg.inv(volume.affine)
    index = inverse[:3, :3] @ centre + inverse[:3, 3]
    ball = np.zeros(volume.shape, bool)
    reach = [int(radius / mm) + 1 for mm in volume.spacing]
    box = tuple(
        slice(max(0, int(np.rint(v)) - r), max(0, int(np.rint(v)) + r + 1)) for v, r in zip(index, reach, strict=True)
    )
    grid = np.stack(np.meshgrid(*[np.arange(s.start, min(s.stop, n)) for s, n in zip(box, volume.shape, strict=True)],
                                indexing="ij"), -1)  # fmt: skip
    world = grid @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    near = np.linalg.norm(world - centre, axis=-1)
    if near.size:
        ball[box] = near <= max(radius, near.min())
    return ball
