"""One row of the group table from the files of one session."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbseg_bids.clinical.burden import at_least_five, more_than_ten
from mbseg_bids.clinical.counts import LesionCounts, count_lesions
from mbseg_bids.group.quality import quality_cells
from mbseg_bids.reports.facts import (
    RegistrationCheck,
    all_warnings,
    anatomy_source,
    contrast,
    contrasts_used,
    mapping,
    registration_checks,
)
from mbseg_bids.reports.quality import why_none
from mbseg_bids.reports.rating import read_rating
from mbseg_bids.reports.session_files import (
    CANDIDATE_COLUMNS,
    LESION_COLUMNS,
    SessionFiles,
    SessionKey,
    number,
    one_line,
    read_tsv,
)

COMPLETE, UNFINISHED, FAILED, MISSING, BROKEN, NOT_STARTED = (
    "complete",
    "unfinished",
    "failed",
    "missing_table",
    "broken_table",
    "not_started",
)
"""Values of the column ``status``."""

TABLE, CANDIDATES_TABLE = "space-T2starw_seg-CMB_dseg.tsv", "space-T2starw_seg-CMBcandidates_dseg.tsv"


@dataclass(frozen=True)
class SessionResult:
    """What the group level takes from one session.

    Attributes
    ----------
    row
        Column of the group table to value; absent where unknown.
    lesions
        Rows of its lesion table, column to text; none unless the table could be read.
    problems
        Sentences about what is wrong, each beginning with the session's name.
    """

    row: dict[str, Any]
    lesions: list[dict[str, str]]
    problems: list[str]


def read_session(output_dir: Path, key: SessionKey) -> SessionResult:
    """Read what a session left; nothing missing or broken stops it."""
    files = SessionFiles(output_dir, key)
    status, lesions, candidates, counts, problems = _read_counts(files)
    if status == FAILED:
        row = name_cells(key) | {"status": status}
        return SessionResult(row, [], [f"{key.prefix}: {sentence}" for sentence in (*problems, *files.problems)])
    summary = files.summary()
    row = name_cells(key) | {"status": status} | (_count_cells(counts) if counts else {})
    if counts and (rating := read_rating(files)):
        row["distribution_pattern"] = rating.pattern
    row |= _candidate_cells(candidates) | quality_cells(summary)
    row["why_none"] = why_none(summary) if counts and not counts.total else None
    row |= _fact_cells(summary) | _scan_cells(summary, files)
    problems += [f"{check.title} registration failed its check." for check in failed_checks(summary)]
    return SessionResult(row, lesions, [f"{key.prefix}: {sentence}" for sentence in (*problems, *files.problems)])


def name_cells(key: SessionKey) -> dict[str, str | None]:
    """Return the first two cells of a session's row."""
    return {"participant_id": f"sub-{key.participant}", "session_id": f"ses-{key.session}" if key.session else None}


def failed_checks(summary: Mapping[str, Any]) -> list[RegistrationCheck]:
    """Return the registration checks that failed."""
    return [check for check in registration_checks(summary) if check.passed is False]


_Rows = list[dict[str, str]]


def _read_counts(files: SessionFiles) -> tuple[str, _Rows, _Rows | None, LesionCounts | None, list[str]]:
    """Return status, rows of both tables, counts, and sentences about what is wrong."""
    path = files.find(TABLE)
    if path is None:
        if failure := files.failure():
            step = f"at step {failure['step']}" if failure.get("step") else "before the first step"
            return (
                FAILED,
                [],
                None,
                None,
                [f"failed {step}: {str(failure.get('error') or 'reason not recorded').rstrip('.')}."],
            )
        running = " Its run is at work, or was stopped." if files.at_work else ""
        return MISSING, [], None, None, [f"there is no lesion table.{running}"]
    try:
        lesions = read_tsv(path, LESION_COLUMNS)
        candidates = files.table(CANDIDATES_TABLE, CANDIDATE_COLUMNS, "table of candidates")
        counts = count_lesions(lesions, candidates or [])
    except (OSError, ValueError) as error:
        return BROKEN, [], None, None, [f"the lesion table cannot be read: {one_line(error)}."]
    if not files.finished:
        return (
            UNFINISHED,
            lesions,
            candidates,
            counts,
            ["not marked as finished: still running, or failed. Its counts may be old."],
        )
    return COMPLETE, lesions, candidates, counts, []


def _count_cells(counts: LesionCounts) -> dict[str, Any]:
    return (
        {"n_total": counts.total}
        | {f"n_{name}": n for name, n in {**counts.by_region, **counts.by_size}.items()}
        | {f"n_{certainty}": n for certainty, n in counts.by_certainty.items()}
        | {"n_below_minimum_size": counts.below_minimum, "n_macrohaemorrhage": counts.macrohaemorrhages}
        | {"volume_total": counts.volume}
        | {f"volume_{region}": volume for region, volume in counts.volume_by_region.items()}
        | {"distribution_pattern": counts.pattern, "burden_class": counts.burden}
        | {"at_least_five": at_least_five(counts.total), "more_than_ten": more_than_ten(counts.total)}
    )


def _candidate_cells(candidates: _Rows | None) -> dict[str, int | None]:
    """Return how many candidates there were and how many were rejected; nothing where that is not known."""
    if candidates is None:
        return {"n_candidates": None, "n_rejected": None}
    return {"n_candidates": len(candidates), "n_rejected": sum(row.get("status") == "rejected" for row in candidates)}


def _fact_cells(summary: Mapping[str, Any]) -> dict[str, Any]:
    outcomes = [check.passed for check in registration_checks(summary)]
    passed = None
    if failed_checks(summary):
        passed = False
    elif outcomes and None not in outcomes:
        passed = True
    detection = mapping(mapping(summary.get("settings")).get("detection"))
    software = mapping(summary.get("software"))
    weights = mapping(summary.get("detection")).get("weights")
    return {
        "registration_passed": passed,
        "n_warnings": len(all_warnings(summary)) if summary else None,
        "contrasts": ",".join(contrasts_used(summary)) or None,
        "anatomy_source": anatomy_source(summary),
        "brain_volume": _brain_volume(summary),
        "weights": mapping(weights).get("name") if isinstance(weights, Mapping) else weights,
        "probability_threshold": number(detection.get("probability_threshold")),
        "ratio_threshold": number(detection.get("ratio_threshold")),
        "ratio_threshold_deep_gm": number(detection.get("ratio_threshold_deep_gm")),
        "second_look_threshold": number(detection.get("second_look_threshold"))
        if detection.get("second_look")
        else None,
        "software_version": software.get("mbseg-bids") or software.get("mbseg_bids"),
    }


def _brain_volume(summary: Mapping[str, Any]) -> float | None:
    """Return the volume of the brain mask in ml: of T1w where there is one, else of T2*."""
    measured = mapping(mapping(summary.get("anatomy")).get("brain_ml"))
    return next((ml for name in ("T1w", "T2starw") if (ml := number(measured.get(name))) is not None), None)


def _scan_cells(summary: Mapping[str, Any], files: SessionFiles) -> dict[str, Any]:
    """Return what is known of the T2* acquisition: from the summary, else from the sidecars of the results."""
    t2star = contrast(summary, "T2starw")
    metadata = mapping(t2star.get("metadata"))
    if not metadata:
        metadata = files.sidecar("desc-preproc_T2starw.json")
    spacing = t2star.get("spacing")
    sides = sorted(number(mm) or 0.0 for mm in spacing) if isinstance(spacing, list) and len(spacing) == 3 else []
    known = bool(sides) and sides[0] > 0
    path = str(t2star.get("path") or "")
    scanner = [str(metadata[k]) for k in ("Manufacturer", "ManufacturersModelName") if metadata.get(k)]
    return {
        "t2star_sequence": path.rsplit("_", 1)[-1].split(".")[0] if "_" in path else None,
        "t2star_echo_time": number(metadata.get("EchoTime")),
        "t2star_field_strength": number(metadata.get("MagneticFieldStrength")),
        "t2star_voxel_size_in_plane": math.sqrt(sides[0] * sides[1]) if known else None,
        "t2star_slice_thickness": number(metadata.get("SliceThickness")),
        "t2star_slice_spacing": sides[2] if known else None,
        "scanner": " ".join(scanner) or None,
    }


def cell(value: Any) -> str:
    """Return a value as the text of a TSV cell: ``n/a`` for nothing, no tabs or line breaks."""
    if value is None or value == "":
        return "n/a"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(str(value).split()) or "n/a"
