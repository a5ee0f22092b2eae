"""``index.html``: all participants with a small picture of each session, the worst first."""

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbseg_bids import __version__
from mbseg_bids.bids.files import write_text
from mbseg_bids.bids.outputs import thumbnail_path
from mbseg_bids.group.page import STATUS_WORDS, concern, link_to, name_of, reasons
from mbseg_bids.group.rows import COMPLETE, FAILED
from mbseg_bids.reports.individual import DISCLAIMER, environment
from mbseg_bids.wording import counted

LARGEST_THUMBNAIL = 200_000
"""Bytes; a larger file is none of ours."""


@dataclass(frozen=True)
class Entry:
    """One session of the list."""

    name: str
    link: str
    level: str
    said: tuple[str, ...]
    count: int | None
    picture: str
    """Data URI; empty where there is none."""


def write_index(output_dir: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write ``index.html`` from the rows of the group table; return its path."""
    reports = {path.stem for path in output_dir.glob("sub-*.html")}
    entries = [_entry(row, reports, output_dir) for row in sorted(rows, key=_badness)]
    page = environment().get_template("index.html.j2").render(
        entries=entries, disclaimer=DISCLAIMER, version=__version__
    )  # fmt: skip
    return write_text(output_dir / "index.html", page)


def _badness(row: Mapping[str, Any]) -> tuple[int, int]:
    """Order: failed checks, not complete, unreliable or outliers, those with most warnings, the others; stable."""
    return concern(row), -int(row.get("n_warnings") or 0)


def _entry(row: Mapping[str, Any], reports: Collection[str], output_dir: Path) -> Entry:
    said = list(reasons(row))
    if row["status"] != COMPLETE:
        said.insert(0, STATUS_WORDS[row["status"]])
    warnings = int(row.get("n_warnings") or 0)
    if warnings:
        said.append(counted(warnings, "warning"))
    failed = row.get("registration_passed") is False or row["status"] == FAILED
    return Entry(
        name=name_of(row),
        link=link_to(row, reports),
        level="failed" if failed else "attention" if said else "passed",
        said=tuple(said),
        count=row.get("n_total"),
        picture=_picture(thumbnail_path(output_dir, name_of(row))),
    )


def _picture(path: Path) -> str:
    """Return a JPEG file as a data URI; nothing where it is missing or no JPEG of modest size."""
    try:
        if path.stat().st_size > LARGEST_THUMBNAIL:
            return ""
        content = path.read_bytes()
    except OSError:
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(content).decode("ascii") if content[:2] == b"\xff\xd8" else ""
