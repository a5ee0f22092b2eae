"""Visits of each participant compared, from the files of a finished output folder alone."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mbseg_bids.bids.files import write_json, write_text
from mbseg_bids.clinical.visits import (
    Change,
    Look,
    SeenLesion,
    acquisition_changes,
    aria_h_class,
    compare_visits,
    count_changes,
    look_at,
)
from mbseg_bids.group.rows import cell
from mbseg_bids.group.visit_files import POSITION, Visit, read_visit
from mbseg_bids.imaging.midpoint import Midpoint, register_midpoint
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.reports.figures import intensity_window
from mbseg_bids.reports.session_files import SessionKey, find_sessions
from mbseg_bids.reports.visits import ChangeCard, PairSection, crop_at, render_visits

PREVIOUS, FIRST = "previous", "first"
AGAINST = (PREVIOUS, FIRST)
"""Which earlier visit each one is compared with."""
_TITLE = "Microbleeds over visits, compared by mbseg_bids from the files of the sessions"
Register = Callable[[Volume, Volume, npt.NDArray, npt.NDArray], Midpoint]


@dataclass(frozen=True)
class Comparison:
    """Two visits, and what changed; no changes where their registration cannot be trusted."""

    before: Visit
    after: Visit
    midpoint: Midpoint
    acquisition: tuple[str, ...]
    changes: tuple[Change, ...] | None


@dataclass(frozen=True)
class VisitsResult:
    """Files written, and sentences about what could not be compared."""

    changes: Path
    visits: Path
    pages: tuple[Path, ...]
    n_compared: int
    problems: tuple[str, ...] = field(default_factory=tuple)


def build_visits(
    output_dir: Path,
    participants: Collection[str] = (),
    *,
    against: str = PREVIOUS,
    anti_amyloid: Collection[str] = (),
    register: Register = register_midpoint,
) -> VisitsResult:
    """Compare the visits of each participant with several finished sessions; write two tables and a page for each.

    Parameters
    ----------
    output_dir
        Derivatives directory of the run.
    participants
        Labels without ``sub-``; all where empty.
    against
        ``previous`` or ``first``: which earlier visit each one is compared with. Order is that of the labels.
    anti_amyloid
        Labels of people under anti-amyloid therapy: for them alone new microbleeds have an ARIA-H class.
    register
        What brings two scans together.
    """
    by_participant: dict[str, list[SessionKey]] = {}
    for key in find_sessions(output_dir):
        if key.session and (not participants or key.participant in participants):
            by_participant.setdefault(key.participant, []).append(key)
    lines: dict[str, list[dict[str, Any]]] = {"changes": [], "visits": []}
    pages, all_problems = [], []
    for participant, keys in by_participant.items():
        if len(keys) < 2:
            continue
        comparisons, problems = compare_participant(output_dir, keys, against=against, register=register)
        treated = participant in anti_amyloid
        for comparison in comparisons:
            lines["changes"] += change_rows(comparison)
            lines["visits"].append(visit_row(comparison, treated=treated))
        page = render_visits(participant, [_section(c, treated=treated) for c in comparisons], problems)
        pages.append(write_text(output_dir / f"sub-{participant}_visits.html", page))
        all_problems += problems
    tables = {name: _write_table(output_dir, name, rows) for name, rows in lines.items()}
    return VisitsResult(tables["changes"], tables["visits"], tuple(pages), len(lines["visits"]), tuple(all_problems))


def compare_participant(
    output_dir: Path, keys: Sequence[SessionKey], *, against: str = PREVIOUS, register: Register = register_midpoint
) -> tuple[list[Comparison], list[str]]:
    """Compare the sessions of one participant, in their order; sessions that cannot be used are named and left out."""
    visits, problems = [], []
    for key in keys:
        visit, why = read_visit(output_dir, key)
        if visit is None:
            problems.append(f"{key.prefix} is left out: {why}")
        else:
            visits.append(visit)
    pairs = [(visits[0 if against == FIRST else number - 1], visits[number]) for number in range(1, len(visits))]
    return [compare(before, after, register) for before, after in pairs], problems


def compare(before: Visit, after: Visit, register: Register = register_midpoint) -> Comparison:
    """Register two visits and say what became of each microbleed."""
    midpoint = register(before.t2star, after.t2star, before.brain.data > 0, after.brain.data > 0)
    changed = tuple(acquisition_changes(before.acquisition, after.acquisition))
    if not midpoint.passed:
        return Comparison(before, after, midpoint, changed, None)
    to_after = np.linalg.inv(midpoint.second) @ midpoint.first
    changes = compare_visits(
        [_moved(lesion, midpoint.first) for lesion in before.lesions],
        [_moved(lesion, midpoint.second) for lesion in after.lesions],
        {lesion.name: _look(lesion, np.linalg.inv(to_after), before) for lesion in after.lesions},
        {lesion.name: _look(lesion, to_after, after) for lesion in before.lesions},
    )
    return Comparison(before, after, midpoint, changed, tuple(changes))


def change_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return one row a microbleed, by the columns ``changes`` of ``data/visit_columns.json``."""
    rows = []
    for change in comparison.changes or ():
        visit, name = _shown_by(comparison, change)
        place = next(lesion.position for lesion in visit.lesions if lesion.name == name)
        look = change.look
        rows.append(
            _sessions(comparison)
            | {"status": change.status, "why_uncertain": (look.doubt or None) if look else None}
            | {"lesion_before": change.before.name if change.before else None}
            | {"lesion_after": change.after.name if change.after else None}
            | {"distance_mm": change.distance}
            | {"volume_before_mm3": change.before.volume if change.before else None}
            | {"volume_after_mm3": change.after.volume if change.after else None}
            | {"volume_ratio": change.volume_ratio}
            | {"candidate": (look.candidate or None) if look else None}
            | {"network_probability": look.probability if look else None}
            | dict(zip(POSITION, place, strict=True))
        )
    return rows


def visit_row(comparison: Comparison, *, treated: bool) -> dict[str, Any]:
    """Return the row of a pair of visits, by the columns ``visits`` of ``data/visit_columns.json``."""
    row = _sessions(comparison)
    row |= {"n_before": len(comparison.before.lesions), "n_after": len(comparison.after.lesions)}
    if comparison.changes is not None:
        counts = count_changes(comparison.changes)
        row |= {f"n_{status}": number for status, number in counts.items()}
        row |= {"aria_h_class": aria_h_class(counts["new"])} if treated else {}
    row |= {"registration_passed": comparison.midpoint.passed, "disagreement_mm": comparison.midpoint.disagreement}
    return row | {"acquisition_changed": "; ".join(comparison.acquisition) or None}


def _section(comparison: Comparison, *, treated: bool) -> PairSection:
    before, after = comparison.before, comparison.after
    warnings = [
        f"The scans differ: {text}. New and vanished lesions may be the scan's doing."
        for text in comparison.acquisition
    ]
    if comparison.changes is None:
        reasons = "; ".join(comparison.midpoint.check.reasons) or "its two directions disagree"
        warnings.insert(
            0, f"The registration of the two T2* scans failed its check ({reasons}), so nothing is compared."
        )
    counts = None if comparison.changes is None else count_changes(comparison.changes)
    return PairSection(
        anchor=f"{before.key.prefix}-{after.key.prefix}",
        before=before.key.prefix,
        after=after.key.prefix,
        counts=counts,
        aria=aria_h_class(counts["new"]) if counts and treated else "",
        warnings=tuple(warnings),
        cards=_cards(comparison),
    )


def _cards(comparison: Comparison) -> tuple[ChangeCard, ...]:
    drawn = [
        (visit, way, intensity_window(visit.t2star.data, visit.brain.data > 0))
        for visit, way in (
            (comparison.before, comparison.midpoint.first),
            (comparison.after, comparison.midpoint.second),
        )
    ]
    cards = []
    for change in comparison.changes or ():
        seen = [lesion for lesion in (change.before, change.after) if lesion]
        names = ", ".join(dict.fromkeys(lesion.name for lesion in seen))
        centre = np.mean([lesion.position for lesion in seen], axis=0)
        pictures = tuple(
            (visit.key.prefix, crop_at(visit.t2star, visit.labels, way, centre, window, f"{names}: {visit.key.prefix}"))
            for visit, way, window in drawn
        )
        cards.append(ChangeCard(_title(change), change.status.replace("_", " "), _facts(change), pictures))
    return tuple(cards)


def _title(change: Change) -> str:
    before, after = (lesion.name if lesion else "none" for lesion in (change.before, change.after))
    return f"{before}, then {after}"


def _facts(change: Change) -> tuple[tuple[str, str], ...]:
    facts = [("Volume", " then ".join(f"{x.volume:.1f} mm³" for x in (change.before, change.after) if x))]
    if change.volume_ratio is not None:
        facts += [("Ratio", f"{change.volume_ratio:.2f}"), ("Distance", f"{change.distance:.1f} mm")]
    if change.look:
        facts.append(("Other visit", _look_words(change.look)))
    return tuple(facts)


def _look_words(look: Look) -> str:
    if not look.covered:
        return "its brain mask does not reach here"
    candidate = f"rejected candidate {look.candidate}, " if look.candidate else "no candidate, "
    return f"{candidate}network at most {look.probability:.2f}"


def _sessions(comparison: Comparison) -> dict[str, Any]:
    before, after = comparison.before.key, comparison.after.key
    return {
        "participant_id": f"sub-{before.participant}",
        "session_before": f"ses-{before.session}",
        "session_after": f"ses-{after.session}",
    }


def _shown_by(comparison: Comparison, change: Change) -> tuple[Visit, str]:
    if change.after:
        return comparison.after, change.after.name
    assert change.before is not None
    return comparison.before, change.before.name


def _moved(lesion: SeenLesion, way: npt.NDArray[np.floating]) -> SeenLesion:
    x, y, z = (float(v) for v in way[:3, :3] @ np.array(lesion.position) + way[:3, 3])
    return SeenLesion(lesion.name, (x, y, z), lesion.volume)


def _look(lesion: SeenLesion, way: npt.NDArray[np.floating], other: Visit) -> Look:
    """Look up the place of a lesion at the other visit; ``way`` takes points there."""
    point = np.array(_moved(lesion, way).position)
    return look_at(point, other.candidates, other.probability, other.brain)


def _write_table(output_dir: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
    columns = json.loads(package_files("mbseg_bids.data").joinpath("visit_columns.json").read_text(encoding="utf-8"))[
        name
    ]
    lines = ["\t".join(columns), *("\t".join(cell(row.get(column)) for column in columns) for row in rows)]
    path = output_dir / "phenotype" / ("microbleeds_visits.tsv" if name == "visits" else "microbleeds_changes.tsv")
    write_json(path.with_suffix(".json"), {"MeasurementToolMetadata": {"Description": _TITLE}, **columns})
    return write_text(path, "".join(f"{line}\n" for line in lines))
