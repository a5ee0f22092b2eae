"""Scans of a finished output folder, read for planting."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mbseg_bids.errors import (
    InvalidDatasetError,
    MissingImageError,
    NothingSelectedError,
    UnreadableDataError,
    UsageError,
)
from mbseg_bids.imaging.grids import Grid, detection_grid, mask_to_native, to_detection_grid
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.learning.examples.derivatives import ScanFiles
from mbseg_bids.learning.examples.labelled import read_case
from mbseg_bids.planting.detect import Head
from mbseg_bids.planting.places import dark_structures, survey
from mbseg_bids.planting.plant import Acquisition, Site
from mbseg_bids.reports.facts import mapping
from mbseg_bids.reports.session_files import SessionFiles, find_sessions, number
from mbseg_bids.settings import DetectionSettings

ECHO_TIME, FIELD_STRENGTH = 25.0, 3.0
"""ms, T: what is assumed where neither the scan nor the user says."""
ENDINGS = {
    "t2star": "space-T2starw_desc-preproc_T2starw.nii.gz",
    "brain": "space-T2starw_desc-brain_mask.nii.gz",
    "regions": "space-T2starw_seg-regions_dseg.nii.gz",
    "candidates": "space-T2starw_seg-CMBcandidates_dseg.nii.gz",
    "lesions": "space-T2starw_seg-CMB_dseg.nii.gz",
}


@dataclass(frozen=True, eq=False)
class Scan:
    """One session, ready to be planted.

    Attributes
    ----------
    name
        ``sub-X`` or ``sub-X_ses-Y``.
    site, head
        For planting and for detection.
    others
        T2w and T1w, shape (2, I, J, K) on ``grid``, the detection grid; zeros for one that is missing.
    reported
        Labels of the lesions that the run reported, native grid.
    slice_thickness
        mm between slices.
    """

    name: str
    site: Site
    head: Head
    grid: Grid
    others: npt.NDArray[np.float32]
    reported: npt.NDArray[np.int32]
    slice_thickness: float
    warnings: tuple[str, ...]


def finished_sessions(
    output_dir: Path, participants: Collection[str] = (), sessions: Collection[str] = ()
) -> list[SessionFiles]:
    """Return the finished sessions of an output folder, those of these labels (without prefix) where any are given.

    Raises
    ------
    InvalidDatasetError
        If it is no output folder.
    NothingSelectedError
        If no session is left.
    """
    if not (output_dir / "dataset_description.json").is_file() or not (output_dir / "logs").is_dir():
        raise InvalidDatasetError(
            f"{output_dir} is no output folder of mbseg-bids", "give the folder that mbseg-bids wrote its results to"
        )
    wanted = {label.removeprefix("sub-") for label in participants}, {label.removeprefix("ses-") for label in sessions}
    found = [
        SessionFiles(output_dir, key)
        for key in find_sessions(output_dir)
        if (not wanted[0] or key.participant in wanted[0]) and (not wanted[1] or key.session in wanted[1])
    ]
    found = [files for files in found if files.finished]
    if not found:
        raise NothingSelectedError(
            f"no finished session of these labels in {output_dir}", "run mbseg-bids first, or check the labels"
        )
    return found


def acquisition_of(
    summary: Mapping[str, Any], echo_time: float | None = None, field_strength: float | None = None
) -> Acquisition:
    """Return echo time (ms) and field (T) as given, else as the run read them from the sidecar, else assumed."""
    facts = mapping(mapping(summary.get("inputs")).get("T2starw"))
    metadata = mapping(facts.get("metadata"))
    assumed = []
    if echo_time is None:
        # The mean of several echoes has no one echo time; the sidecar that was read is that of the first.
        seconds = None if facts.get("paths") else number(metadata.get("EchoTime"))
        echo_time = round(seconds * 1000, 6) if seconds and seconds > 0 else ECHO_TIME
        if not seconds or seconds <= 0:
            assumed.append(f"an echo time of {ECHO_TIME:g} ms")
    if field_strength is None:
        tesla = number(metadata.get("MagneticFieldStrength"))
        field_strength = tesla if tesla and tesla > 0 else FIELD_STRENGTH
        if not tesla or tesla <= 0:
            assumed.append(f"a field of {FIELD_STRENGTH:g} T")
    return Acquisition(echo_time, field_strength, tuple(assumed))


def detection_settings(summary: Mapping[str, Any], **changes: Any) -> DetectionSettings:
    """Return the settings that a session was computed with, and ``changes`` that are not None.

    Settings that this version does not know, of a run of another version, are left out.

    Raises
    ------
    UsageError
        If the weights were a file of the user: its folder is not written to the logs.
    """
    stored = mapping(mapping(summary.get("settings")).get("detection"))
    known = {field.name for field in fields(DetectionSettings)}
    values = {name: value for name, value in stored.items() if name in known}
    values |= {name: value for name, value in changes.items() if value is not None}
    weights = str(values.get("weights", ""))
    if weights.startswith("<"):
        raise UsageError(f"the run used weights of your own, {weights.rpartition('/')[2]}", "name them with --weights")
    return DetectionSettings(**values)


def read_scan(files: SessionFiles) -> Scan:
    """Read a session.

    Raises
    ------
    MissingImageError, UnreadableDataError
        If an image that the run wrote is gone or damaged.
    """
    key = files.key
    paths = {name: _path(files, ending) for name, ending in ENDINGS.items()}
    t2w, t1w = (files.exact(f"space-T2starw_desc-preproc_{name}.nii.gz") for name in ("T2w", "T1w"))
    case = read_case(
        ScanFiles(key.participant, key.session, paths["t2star"], paths["brain"], paths["regions"], t2w, t1w, label=None)
    )
    native = {name: _volume(files, path, labels=name != "t2star") for name, path in paths.items()}
    t2star = native["t2star"]
    grid = detection_grid(t2star.shape, t2star.affine)
    regions = to_detection_grid(native["regions"], grid, order=0).data.astype(np.int32)
    head = Head(case.brain, case.tissue, regions, case.spacing, grid.affine, t2star.shape, t2star.affine)
    dark_there = dark_structures(case.stack[0], case.brain, case.tissue, case.spacing)
    dark = mask_to_native(Volume(dark_there.astype(np.uint8), grid.affine), t2star.shape, t2star.affine).data > 0
    brain, of_tissue = native["brain"].data > 0, native["regions"].data > 0
    candidates, lesions = native["candidates"].data, native["lesions"].data
    ground = survey(native["regions"].data, brain, dark, candidates, lesions, t2star.spacing)
    site = Site(t2star, brain, of_tissue & brain, dark | (candidates > 0) | (lesions > 0), ground)
    return Scan(key.prefix, site, head, grid, case.stack[1:], lesions, round(case.spacing[2], 2), case.warnings)


def _path(files: SessionFiles, ending: str) -> Path:
    path = files.exact(ending)
    if path is None:
        raise MissingImageError(f"{files.key.prefix} has no {ending} in {files.folder}", "run mbseg-bids on it again")
    return path


def _volume(files: SessionFiles, path: Path, *, labels: bool) -> Volume:
    volume = files.read_volume(path, "image", labels=labels)
    if volume is None:
        raise UnreadableDataError(files.problems[-1], "run mbseg-bids on it again")
    return volume
