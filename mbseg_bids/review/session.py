"""What a session left that a review needs: read whole, or not at all."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from mbseg_bids.errors import MissingImageError, TemporaryError, UnreadableDataError
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.reports.facts import mapping
from mbseg_bids.reports.session_files import SessionFiles, SessionKey, number, read_tsv
from mbseg_bids.review.decide import Result, Scan
from mbseg_bids.settings import DetectionSettings

SPACE = "space-T2starw"
_IMAGES = {
    "lesions": "seg-CMB_dseg.nii.gz",
    "candidates": "seg-CMBcandidates_dseg.nii.gz",
    "t2star": "desc-preproc_T2starw.nii.gz",
    "brain": "desc-brain_mask.nii.gz",
    "regions": "seg-regions_dseg.nii.gz",
    "probability": "label-CMB_probseg.nii.gz",
}
_REMEDY = "run the participant level again"


@dataclass(frozen=True, eq=False)
class SessionResult:
    """An automatic result with the images it lies on."""

    files: SessionFiles
    hash: str
    automatic: Result
    scan: Scan
    thresholds: tuple[float, float]
    """Ratio thresholds elsewhere and in deep grey matter."""
    summary: Mapping[str, Any]

    def path(self, ending: str) -> Path:
        """Return the path of a file on the T2* grid: ``seg-CMB_dseg.tsv``."""
        return self.files.folder / f"{self.files.key.prefix}_{SPACE}_{ending}"


def read_session_result(output_dir: Path, key: SessionKey) -> SessionResult:
    """Read the automatic result of a session.

    Raises
    ------
    TemporaryError
        If the session is not finished.
    MissingImageError, UnreadableDataError
        If a file is missing or cannot be read.
    """
    files = SessionFiles(output_dir, key)
    if not files.finished:
        raise TemporaryError(f"{key.prefix} is not finished in {output_dir}", _REMEDY)
    volumes = {name: _volume(files, ending) for name, ending in _IMAGES.items()}
    shapes = {volume.shape for volume in volumes.values()}
    if len(shapes) > 1:
        raise UnreadableDataError(f"the images of {key.prefix} have several grids", _REMEDY)
    affine = volumes["lesions"].affine
    places = files.exact(f"{SPACE}_seg-MARS_dseg.nii.gz")
    scan = Scan(
        t2star=volumes["t2star"].data.astype(np.float32),
        brain=volumes["brain"].data > 0,
        regions=np.rint(volumes["regions"].data).astype(np.int32),
        probability=volumes["probability"].data,
        places=_volume(files, "seg-MARS_dseg.nii.gz").data.astype(np.int32) if places else None,
        affine=affine,
    )
    lesion_columns, lesion_rows = _table(files, "seg-CMB_dseg.tsv", ("index", "name", "region"))
    candidate_columns, candidate_rows = _table(
        files, "seg-CMBcandidates_dseg.tsv", ("index", "name", "status", "lesion_index")
    )
    automatic = Result(
        lesions=np.rint(volumes["lesions"].data).astype(np.int32),
        candidates=np.rint(volumes["candidates"].data).astype(np.int32),
        lesion_rows=lesion_rows,
        candidate_rows=candidate_rows,
        lesion_columns=lesion_columns,
        candidate_columns=candidate_columns,
    )
    summary = files.summary()
    return SessionResult(files, files.result_hash(), automatic, scan, _thresholds(summary), summary)


def _volume(files: SessionFiles, ending: str) -> Volume:
    path = files.exact(f"{SPACE}_{ending}")
    if path is None:
        raise MissingImageError(f"{files.key.prefix} has no {SPACE}_{ending}", _REMEDY)
    try:
        image = nib.load(path)
        return Volume(np.asanyarray(image.dataobj), np.asarray(image.affine, np.float64))
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise UnreadableDataError(f"cannot read {path.name}: {error}", _REMEDY) from error


def _table(files: SessionFiles, ending: str, needed: tuple[str, ...]) -> tuple[tuple[str, ...], list[dict[str, str]]]:
    """Return the columns and the rows of a table."""
    path = files.exact(f"{SPACE}_{ending}")
    if path is None:
        raise MissingImageError(f"{files.key.prefix} has no {SPACE}_{ending}", _REMEDY)
    try:
        rows = read_tsv(path, needed)
        return tuple(path.read_text(encoding="utf-8-sig").splitlines()[0].split("\t")), rows
    except (OSError, ValueError) as error:
        raise UnreadableDataError(f"cannot read {path.name}: {error}", _REMEDY) from error


def _thresholds(summary: Mapping[str, Any]) -> tuple[float, float]:
    """Return the ratio thresholds of the run; the defaults where it did not record them."""
    used, default = mapping(mapping(summary.get("settings")).get("detection")), DetectionSettings()
    return (
        number(used.get("ratio_threshold")) or default.ratio_threshold,
        number(used.get("ratio_threshold_deep_gm")) or default.ratio_threshold_deep_gm,
    )
