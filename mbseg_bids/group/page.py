"""The group page: how counts are distributed, and every session with a link to its report."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbseg_bids import __version__
from mbseg_bids.clinical.burden import BURDEN_CLASSES
from mbseg_bids.clinical.counts import REGION_NAMES
from mbseg_bids.clinical.pattern import PATTERN_CAVEAT
from mbseg_bids.group.rows import COMPLETE, cell
from mbseg_bids.reports.gallery import words
from mbseg_bids.reports.individual import DISCLAIMER, environment

SHOWN = (
    ("session_id", "Session"),
    ("status", "Status"),
    ("registration_passed", "Registration passed"),
    ("n_warnings", "Warnings"),
    ("n_total", "Microbleeds"),
    ("volume_total", "Volume, mm³"),
    ("burden_class", "Burden"),
    ("distribution_pattern", "Pattern"),
    *((f"n_{region}", words(region)) for region in REGION_NAMES),
    ("contrasts", "Contrasts"),
    ("t2star_echo_time", "TE, s"),
    ("t2star_field_strength", "Field, T"),
    ("t2star_slice_spacing", "Slice spacing, mm"),
    ("anatomy_source", "Anatomy"),
)
"""Columns of the page's table after the participant, with their headings."""

SCAN_PARAMETERS = (
    ("t2star_sequence", ""),
    ("t2star_field_strength", "T"),
    ("t2star_echo_time", "s echo time"),
    ("t2star_voxel_size_in_plane", "mm in plane"),
    ("t2star_slice_spacing", "mm slices"),
)
"""What makes counts comparable or not, with the unit that follows the value."""


@dataclass(frozen=True)
class Bar:
    """One bar of a chart."""

    label: str
    n: int
    share: float


def render_group(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Any], problems: Sequence[str], output_dir: Path
) -> str:
    """Return the page. Sessions that failed a check or are not complete come first in its table."""
    counted = [row for row in rows if row["status"] == COMPLETE]
    trusted = [row for row in counted if row.get("registration_passed") is not False]
    scans = Counter(scan_description(row) for row in trusted)
    return (
        environment()
        .get_template("group.html.j2")
        .render(
            n_rows=len(rows),
            n_counted=len(counted),
            n_failed=len(counted) - len(trusted),
            n_lesions=sum(row["n_total"] for row in trusted),
            n_with=sum(row["n_total"] > 0 for row in trusted),
            burden=bars(Counter(row["burden_class"] for row in trusted), BURDEN_CLASSES),
            regions=bars(
                {words(name): sum(row[f"n_{name}"] for row in trusted) for name in REGION_NAMES},
                [words(name) for name in REGION_NAMES],
            ),
            scans=sorted(scans.items(), key=lambda item: (-item[1], item[0])),
            contrasts=sorted(Counter(cell(row.get("contrasts")) for row in trusted).items()),
            headings=[title for _, title in SHOWN],
            sessions=[_table_row(row, output_dir) for row in sorted(rows, key=_concern)],
            problems=problems,
            n_columns=len(columns),
            pattern_caveat=PATTERN_CAVEAT,
            disclaimer=DISCLAIMER,
            version=__version__,
        )
    )


def scan_description(row: Mapping[str, Any]) -> str:
    """Return what is known of a session's T2* acquisition, in a few words."""
    known = [f"{cell(row[name])} {unit}".strip() for name, unit in SCAN_PARAMETERS if row.get(name) is not None]
    return ", ".join(known) or "acquisition not recorded"


def bars(numbers: Mapping[str, int], order: Sequence[str]) -> list[Bar]:
    """Return one bar a name in the given order, with its share of the largest."""
    largest = max((numbers.get(name, 0) for name in order), default=0) or 1
    return [Bar(name, numbers.get(name, 0), numbers.get(name, 0) / largest) for name in order]


def _concern(row: Mapping[str, Any]) -> int:
    """Order of the page's table: failed checks, then incomplete ones, then the others; a stable sort keeps the rest."""
    if row.get("registration_passed") is False:
        return 0
    return 1 if row["status"] != COMPLETE else 2


def _table_row(row: Mapping[str, Any], output_dir: Path) -> dict[str, Any]:
    name = row["participant_id"]
    return {
        "participant": name,
        "report": f"{name}.html" if (output_dir / f"{name}.html").is_file() else "",
        "cells": [(cell(row.get(column)), type(row.get(column)) in (int, float)) for column, _ in SHOWN],
        "level": ("failed", "attention", "")[_concern(row)],
    }
