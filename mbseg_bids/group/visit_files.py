"""What one session left that is needed to compare it with another."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbseg_bids.clinical.visits import SeenLesion
from mbseg_bids.group.rows import read_session
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.reports.session_files import CANDIDATE_COLUMNS, LESION_COLUMNS, SessionFiles, SessionKey

POSITION = ("x_mm", "y_mm", "z_mm")


@dataclass(frozen=True)
class Visit:
    """What is compared of one session; positions in scanner coordinates of its T2*."""

    key: SessionKey
    lesions: tuple[SeenLesion, ...]
    candidates: Mapping[str, tuple[float, ...]]
    """Rejected candidates by name."""
    t2star: Volume
    brain: Volume
    probability: Volume
    labels: Volume
    acquisition: Mapping[str, Any]


def read_visit(output_dir: Path, key: SessionKey) -> tuple[Visit | None, str]:
    """Read what a session left, or say why it cannot be compared."""
    files = SessionFiles(output_dir, key)
    if not files.finished:
        return None, "it is not finished"
    lesions = files.table("space-T2starw_seg-CMB_dseg.tsv", (*LESION_COLUMNS, "name", *POSITION), "lesion table")
    candidates = files.table(
        "space-T2starw_seg-CMBcandidates_dseg.tsv", (*CANDIDATE_COLUMNS, "name", "status"), "table of candidates"
    )
    images = {
        "t2star": files.volume("space-T2starw_desc-preproc_T2starw.nii.gz", "T2* image"),
        "brain": files.volume("space-T2starw_desc-brain_mask.nii.gz", "brain mask", labels=True),
        "probability": files.volume("space-T2starw_label-CMB_probseg.nii.gz", "probability map"),
        "labels": files.volume("space-T2starw_seg-CMB_dseg.nii.gz", "lesion labels", labels=True),
    }
    found = {name: volume for name, volume in images.items() if volume is not None}
    if lesions is None or candidates is None or len(found) < len(images):
        return None, " ".join(files.problems)
    if not (found["brain"].data > 0).any():
        return None, "its brain mask is empty"
    try:
        seen = tuple(SeenLesion(r["name"], _position(r), float(r["volume_mm3"])) for r in lesions)  # type: ignore[arg-type]
        rejected = {r["name"]: _position(r) for r in candidates if r["status"] == "rejected"}
    except (ValueError, KeyError) as error:
        return None, f"its tables cannot be used ({error})"
    return Visit(key, seen, rejected, **found, acquisition=read_session(output_dir, key).row), ""


def _position(row: Mapping[str, str]) -> tuple[float, ...]:
    return tuple(float(row[name]) for name in POSITION)
