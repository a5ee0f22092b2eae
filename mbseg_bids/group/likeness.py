"""Which sessions were scanned alike, how their counts lie, and which of them stand out. Pure: rows in, values out."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from mbseg_bids.group.rows import COMPLETE, cell

SCAN_PARAMETERS = (
    ("t2star_sequence", ""),
    ("t2star_field_strength", "T"),
    ("t2star_echo_time", "ms echo time"),
    ("t2star_voxel_size_in_plane", "mm in plane"),
    ("t2star_slice_spacing", "mm slices"),
)
"""What makes counts comparable or not, with the unit that follows the value."""

SITE_COLUMNS = ("site", "site_id", "center", "centre", "institution", "scanner_id")
"""Columns of participants.tsv or sessions.tsv that tell sites apart, by their usual names."""

MINIMUM_ALIKE = 8
"""Sessions that must be alike before one of them can be called an outlier."""
LIMIT = 3.5
"""Robust standard deviations; Iglewicz and Hoaglin 1993."""
_ROBUST = 1.4826  # makes the median absolute deviation of a normal distribution its standard deviation
_LEAST_LOG_COUNT = 0.35
"""Least standard deviation of ln(count + 1): most sessions have none, and their median absolute deviation is zero."""
_LEAST_BRAIN = 0.02
"""Least standard deviation of the brain volume, as a part of its median."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class CountSummary:
    """How the counts of like sessions lie."""

    label: str
    n: int
    n_with: int
    """Sessions with at least one microbleed."""
    median: float
    mean: float
    variance: float | None
    """Of the sample; nothing for one session."""
    largest: int


def trusted(rows: Iterable[Row]) -> list[Row]:
    """Return the complete sessions without a failed registration check."""
    return [row for row in rows if row["status"] == COMPLETE and row.get("registration_passed") is not False]


def scan_description(row: Row) -> str:
    """Return what is known of a session's T2* acquisition, in a few words."""
    shown = dict(row)
    if isinstance(echo := row.get("t2star_echo_time"), int | float):
        shown["t2star_echo_time"] = 1000.0 * echo
    known = [f"{cell(shown[name])} {unit}".strip() for name, unit in SCAN_PARAMETERS if row.get(name) is not None]
    return ", ".join(known) or "acquisition not recorded"


def likeness(row: Row) -> str:
    """Return what sessions must share for their counts to be compared: acquisition and contrasts."""
    contrasts = cell(row.get("contrasts")).replace("T2starw", "T2*").replace(",", ", ")
    on = "contrasts not recorded" if contrasts == "n/a" else f"on {contrasts}"
    return f"{scan_description(row)}; {on}"


def summaries(rows: Sequence[Row], label: Callable[[Row], str]) -> list[CountSummary]:
    """Return the counts of each group of sessions, the largest group first."""
    found = []
    for name, members in grouped(rows, label).items():
        counts = [int(row["n_total"]) for row in members]
        mean = fmean(counts)
        variance = sum((n - mean) ** 2 for n in counts) / (len(counts) - 1) if len(counts) > 1 else None
        n_with = sum(n > 0 for n in counts)
        found.append(CountSummary(name, len(counts), n_with, median(counts), mean, variance, max(counts)))
    return sorted(found, key=lambda s: (-s.n, s.label))


def grouped(rows: Iterable[Row], label: Callable[[Row], str]) -> dict[str, list[Row]]:
    """Return the rows by their label."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(label(row), []).append(row)
    return groups


def site_column(columns: Iterable[str]) -> str | None:
    """Return the column that tells sites apart, if the input's tables have one."""
    plain = {name.lower().removeprefix("participants_").removeprefix("sessions_"): name for name in columns}
    return next((plain[name] for name in SITE_COLUMNS if name in plain), None)


def find_outliers(rows: Sequence[Row]) -> dict[int, list[str]]:
    """Return what stands out, by index of the row, among the trusted sessions that were scanned alike."""
    index = {id(row): n for n, row in enumerate(rows)}
    found: dict[int, list[str]] = {}

    def note(members: Sequence[Row], values: Sequence[float], least: float, high: str, low: str = "") -> None:
        middle = median(values)
        spread = max(_ROBUST * median(abs(v - middle) for v in values), least)
        for row, value in zip(members, values, strict=True):
            name = high if value > middle + LIMIT * spread else low if value < middle - LIMIT * spread else ""
            if name:
                found.setdefault(index[id(row)], []).append(name)

    for members in grouped(trusted(rows), likeness).values():
        if len(members) >= MINIMUM_ALIKE:
            note(members, [math.log1p(row["n_total"]) for row in members], _LEAST_LOG_COUNT, "more_microbleeds")
        known = [row for row in members if row.get("brain_volume")]
        if len(known) >= MINIMUM_ALIKE:
            volumes = [float(row["brain_volume"]) for row in known]
            note(known, volumes, _LEAST_BRAIN * median(volumes), "larger_brain", "smaller_brain")
    return found
