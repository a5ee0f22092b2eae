"""The group page: how counts are distributed, and every session with a link to its report."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mbseg_bids import __version__
from mbseg_bids.clinical.burden import BURDEN_CLASSES
from mbseg_bids.clinical.counts import REGION_NAMES
from mbseg_bids.contrasts import TITLES
from mbseg_bids.group.columns import GROUP_PATTERN_CAVEAT
from mbseg_bids.group.likeness import likeness, site_column, summaries, trusted
from mbseg_bids.group.plots import plots
from mbseg_bids.group.prevalence import REACH_MM, Prevalence, colour_bar, prevalence_pictures
from mbseg_bids.group.rows import BROKEN, COMPLETE, FAILED, MISSING, NOT_STARTED, UNFINISHED, cell
from mbseg_bids.reports.gallery import words
from mbseg_bids.reports.individual import DISCLAIMER, environment, script, section_anchor

SHOWN = (
    ("session_id", "Session"),
    ("status", "Status"),
    ("registration_passed", "Registration passed"),
    ("counts_unreliable", "Counts unreliable"),
    ("n_warnings", "Warnings"),
    ("outlier", "Outlier"),
    ("n_total", "Microbleeds"),
    ("n_rejected", "Rejected"),
    ("volume_total", "Volume, mm³"),
    ("burden_class", "Burden"),
    ("distribution_pattern", "Pattern"),
    *((f"n_{region}", words(region)) for region in REGION_NAMES),
    ("brain_volume", "Brain, ml"),
    ("contrasts", "Contrasts"),
    ("scanner", "Scanner"),
    ("t2star_echo_time", "TE, ms"),
    ("t2star_field_strength", "Field, T"),
    ("t2star_slice_spacing", "Slice spacing, mm"),
    ("anatomy_source", "Anatomy"),
)
"""Columns of the page's table after the participant, with their headings."""


@dataclass(frozen=True)
class Bar:
    """One bar of a chart."""

    label: str
    n: int
    share: float


OUTLIER_WORDS = {
    "more_microbleeds": "many more microbleeds than the others scanned alike",
    "larger_brain": "a larger brain mask than the others scanned alike",
    "smaller_brain": "a smaller brain mask than the others scanned alike",
}

STATUS_WORDS = {
    FAILED: "failed",
    BROKEN: "with a table that cannot be read",
    MISSING: "without a lesion table (still running, or stopped)",
    UNFINISHED: "not marked as finished",
    NOT_STARTED: "not started",
}


@dataclass(frozen=True)
class Look:
    """A session to look at, and why."""

    name: str
    link: str
    why: tuple[str, ...]
    failed: bool


def render_group(
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, Any],
    problems: Sequence[str],
    output_dir: Path,
    on_template: Prevalence,
    model_section: str = "",
) -> str:
    """Return the page. Sessions that failed a check, are not complete or stand out come first in its table."""
    counted = [row for row in rows if row["status"] == COMPLETE]
    good = trusted(rows)
    pictures, largest = prevalence_pictures(on_template)
    site = site_column(columns)
    reports = {path.stem for path in output_dir.glob("sub-*.html")}
    return (
        environment()
        .get_template("group.html.j2")
        .render(
            n_rows=len(rows),
            n_counted=len(counted),
            n_failed=len(counted) - len(good),
            n_lesions=sum(row["n_total"] for row in good),
            n_with=sum(row["n_total"] > 0 for row in good),
            not_complete=_not_complete(rows),
            looks=[_look(row, reports) for row in sorted(rows, key=concern) if reasons(row)],
            burden=bars(Counter(row["burden_class"] for row in good), BURDEN_CLASSES),
            regions=bars(
                {words(name): sum(row[f"n_{name}"] for row in good) for name in REGION_NAMES},
                [words(name) for name in REGION_NAMES],
            ),
            alike=summaries(good, likeness),
            scanners=summaries(good, lambda row: cell(row.get("scanner"))),
            sites=summaries(good, lambda row: cell(row.get(site))) if site else [],
            site=site,
            contrasts=sorted(Counter(_shown(row, "contrasts") for row in good).items()),
            plots=plots(good, columns),
            model_section=model_section,
            map_pictures=pictures,
            map_largest=largest,
            map_reach=REACH_MM,
            colour_bar=colour_bar(),
            on_template=on_template,
            headings=[title for _, title in SHOWN],
            sessions=[_table_row(row, reports) for row in sorted(rows, key=concern)],
            problems=problems,
            n_columns=len(columns),
            pattern_caveat=GROUP_PATTERN_CAVEAT,
            disclaimer=DISCLAIMER,
            version=__version__,
            script=script("sortable.js", "group.js"),
        )
    )


def _not_complete(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Return (what is the matter, names of the sessions) of those that are not complete."""
    found: dict[str, list[str]] = {status: [] for status in STATUS_WORDS}
    for row in rows:
        if row["status"] != COMPLETE:
            found[row["status"]].append(name_of(row))
    return [(STATUS_WORDS[status], names) for status, names in found.items() if names]


def name_of(row: Mapping[str, Any]) -> str:
    """Return the name of a row's session: ``sub-X`` or ``sub-X_ses-Y``."""
    return "_".join(str(row[key]) for key in ("participant_id", "session_id") if row.get(key))


def reasons(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return why a session with results is to be looked at first."""
    reasons = ["a registration check failed"] if row.get("registration_passed") is False else []
    if row.get("counts_unreliable") is True:
        reasons.append(f"counts unreliable because {row.get('unreliable_because') or 'a measure lies outside'}")
    reasons += [OUTLIER_WORDS.get(name, name) for name in str(row.get("outlier") or "").split(",") if name]
    return tuple(reasons)


def _look(row: Mapping[str, Any], reports: Collection[str]) -> Look:
    return Look(name_of(row), link_to(row, reports), reasons(row), row.get("registration_passed") is False)


def link_to(row: Mapping[str, Any], reports: Collection[str]) -> str:
    """Return the address of a session within its report; nothing where its participant has none."""
    name = row["participant_id"] + ("_reviewed" if row.get("result") == "reviewed" else "")
    return f"{quote(name)}.html#{section_anchor(name_of(row))}" if name in reports else ""


def bars(numbers: Mapping[str, int], order: Sequence[str]) -> list[Bar]:
    """Return one bar a name in the given order, with its share of the largest."""
    largest = max((numbers.get(name, 0) for name in order), default=0) or 1
    return [Bar(name, numbers.get(name, 0), numbers.get(name, 0) / largest) for name in order]


def concern(row: Mapping[str, Any]) -> int:
    """Order of the page's table: failed checks, incomplete ones, unreliable ones and outliers, the others.

    A stable sort keeps the rest.
    """
    if row.get("registration_passed") is False:
        return 0
    if row["status"] != COMPLETE:
        return 1
    return 2 if row.get("outlier") or row.get("counts_unreliable") is True else 3


def _table_row(row: Mapping[str, Any], reports: Collection[str]) -> dict[str, Any]:
    return {
        "participant": row["participant_id"],
        "report": link_to(row, reports),
        "cells": [(_shown(row, column), type(row.get(column)) in (int, float)) for column, _ in SHOWN],
        "level": ("failed", "attention", "outlier", "")[concern(row)],
    }


def _shown(row: Mapping[str, Any], column: str) -> str:
    """Return a cell of the page's table for reading: words instead of identifiers, milliseconds instead of seconds."""
    value = row.get(column)
    if column == "t2star_echo_time" and isinstance(value, float | int):
        return f"{1000 * value:.4g}"
    if column == "contrasts" and value:
        return ", ".join(TITLES.get(name, name) for name in str(value).split(","))
    if column in ("registration_passed", "counts_unreliable") and isinstance(value, bool):
        return "yes" if value else "no"
    if column in ("status", "distribution_pattern") and value:
        return words(str(value))
    if column == "outlier" and value:
        return ", ".join(words(name) for name in str(value).split(","))
    return cell(value)
