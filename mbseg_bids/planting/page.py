"""The page: what a reader wants to know of the planted microbleeds, in the style of the reports."""

import base64
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mbseg_bids import __version__
from mbseg_bids.evaluation.tables import NOTHING
from mbseg_bids.planting.detect import AS_RUN
from mbseg_bids.planting.figure import NOTE
from mbseg_bids.planting.session import SessionResult
from mbseg_bids.planting.tables import ALL, STEPS, columns
from mbseg_bids.reports.individual import DISCLAIMER, environment, section_anchor

GROUPS = {
    "size_class": "Size class",
    "region": "Region",
    "slice_thickness": "Distance of slices, mm",
    "near_vessel": "Beside a vessel",
}


@dataclass(frozen=True)
class Row:
    """A line of a table: what it is of, planted, found, part found with its interval, not planted a scan."""

    name: str
    planted: int
    found: int
    sensitivity: str
    others: str
    link: str = ""
    steps: str = ""


def render_page(
    results: Sequence[SessionResult],
    tables: Mapping[str, pd.DataFrame],
    picture: bytes,
    *,
    settings: Mapping[str, Any],
    problems: Sequence[str],
    reports: Collection[str],
    way_back: str,
) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    results, tables
        Of every session; the tables by name, as written.
    picture
        The figure, PNG.
    settings
        What was planted and how it was looked for: name to value.
    problems
        Sentences on sessions that failed.
    reports
        Participants (``sub-X``) whose report there is, at ``way_back`` from this page.
    """
    summary = tables["planted_summary"]
    pooled = summary[summary["participant_id"] == ALL]
    total = pooled[(pooled["group"] == ALL) & (pooled["steps"] == AS_RUN)].iloc[0]
    as_run = pooled[pooled["steps"] == AS_RUN]
    lost = Counter(step for step in tables["planted"]["lost_at"] if step != NOTHING)
    told = columns("planted")["lost_at"]["Levels"]
    return (
        environment()
        .get_template("planted.html.j2")
        .render(
            n_sessions=len(results),
            total=_row("all", total),
            note=NOTE,
            picture=base64.b64encode(picture).decode("ascii"),
            steps=[_row(STEPS[row["steps"]], row) for _, row in pooled[pooled["group"] == ALL].iterrows()],
            groups=[
                (title, [_row(_words(str(row["value"])), row) for _, row in _of(as_run, group).iterrows()])
                for group, title in GROUPS.items()
                if not _of(as_run, group).empty
            ],
            diameters=[_row(_span(row), row) for _, row in _diameters(tables["planted_curve"]).iterrows()],
            lost=[(_words(step), n, told.get(step, "")) for step, n in lost.most_common()],
            scans=_scans(summary, reports, way_back),
            made=[_made(result) for result in results],
            wanted=sum(result.n_wanted for result in results),
            settings=list(settings.items()),
            problems=list(problems),
            disclaimer=DISCLAIMER,
            version=__version__,
        )
    )


def _row(name: str, row: Mapping[str, Any], link: str = "", steps: str = "") -> Row:
    others = row.get("not_planted_per_scan", float("nan"))
    return Row(
        name, int(row["n_planted"]), int(row["n_found"]), _percent(row), "" if pd.isna(others) else f"{others:.1f}",
        link, steps,
    )  # fmt: skip


def _percent(row: Mapping[str, Any]) -> str:
    """Return the part found with its interval, in percent."""
    if pd.isna(row["sensitivity"]):
        return NOTHING
    ends = "" if pd.isna(row["sensitivity_low"]) else f"{100 * row['sensitivity_low']:.0f}–"
    ends += f"{100 * row['sensitivity_high']:.0f}" if ends else ""
    return f"{100 * row['sensitivity']:.0f} %" + (f" ({ends})" if ends else "")


def _of(rows: pd.DataFrame, group: str) -> pd.DataFrame:
    own = rows[rows["group"] == group]
    return own[(own["n_planted"] > 0) | (own["n_not_planted"] > 0)]


def _diameters(curve: pd.DataFrame) -> pd.DataFrame:
    return curve[curve["region"] == ALL]


def _span(row: Mapping[str, Any]) -> str:
    start, end = row["diameter_from"], row["diameter_to"]
    if not start:
        return f"below {end:g}"
    return f"{start:g} and more" if end >= 100 else f"{start:g} to {end:g}"


def _scans(summary: pd.DataFrame, reports: Collection[str], way_back: str) -> list[Row]:
    rows = summary[(summary["group"] == ALL) & (summary["participant_id"] != ALL)]
    found = []
    for _, row in rows.iterrows():
        participant, session = row["participant_id"], row["session_id"]
        name = participant if session == NOTHING else f"{participant}_{session}"
        link = f"{way_back}{participant}.html#{section_anchor(name)}" if participant in reports else ""
        found.append(_row(name, row, link, STEPS[row["steps"]]))
    return found


def _made(result: SessionResult) -> tuple[str, str]:
    """Return the name of a session and one sentence on how it was planted."""
    scan = result.acquisition
    text = f"echo time {scan.echo_time:g} ms, {scan.field_strength:g} T, slices {result.slice_thickness:g} mm apart"
    if scan.assumed:
        text += f"; the scan does not say so: {' and '.join(scan.assumed)} assumed"
    text += f"; {len(result.planted)} planted of {result.n_wanted} wanted"
    text += f"; of {result.n_reported} lesions that the run reported, {result.n_again} found again before planting"
    return result.name, "; ".join([text, *result.warnings])


def _words(name: str) -> str:
    return name.replace("_gm", " GM").replace("_wm", " WM").replace("_", " ")
