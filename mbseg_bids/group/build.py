"""The group level: ``phenotype/microbleeds.{tsv,json}`` and ``group.html`` from the sessions' files alone."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbseg_bids.group.columns import group_columns
from mbseg_bids.group.joined import InputTables, input_sessions, read_input_tables
from mbseg_bids.group.page import render_group
from mbseg_bids.group.rows import COMPLETE, NOT_STARTED, cell, session_row
from mbseg_bids.reports.individual import write_atomically
from mbseg_bids.reports.session_files import find_sessions


@dataclass(frozen=True)
class GroupResult:
    """What the group level wrote and what it found wrong.

    Attributes
    ----------
    table, sidecar, page
        Files written.
    n_sessions, n_complete
        Rows of the table; rows with counts.
    problems
        One sentence each, beginning with the session's or the file's name.
    """

    table: Path
    sidecar: Path
    page: Path
    n_sessions: int
    n_complete: int
    problems: tuple[str, ...]


def build_group(output_dir: Path, bids_dir: Path | None = None) -> GroupResult:
    """Gather every session into one table and one page.

    May be run at any time, also while sessions are still running: a session without a readable lesion table has a
    row with its status and ``n/a`` for counts, and is named in the problems. The same files give the same bytes.

    Parameters
    ----------
    output_dir
        Derivatives directory of the run.
    bids_dir
        Input dataset. If given, ``participants.tsv`` and ``sessions.tsv`` are joined, and its sessions that the
        output directory knows nothing of get a row. A ``participants.tsv`` in the output directory serves otherwise.
    """
    output_dir = Path(output_dir)
    described = group_columns()
    source = Path(bids_dir) if bids_dir is not None else output_dir
    joined = read_input_tables(source, set(described))
    rows, problems = _rows(output_dir, Path(bids_dir) if bids_dir is not None else None, joined)
    columns = described | joined.columns
    lines = ["\t".join(columns), *("\t".join(cell(row.get(name)) for name in columns) for row in rows)]
    table = write_atomically(output_dir / "phenotype" / "microbleeds.tsv", "\n".join(lines) + "\n")
    sidecar = write_atomically(table.with_suffix(".json"), _sidecar(columns))
    problems = [*joined.problems, *problems]
    page = write_atomically(output_dir / "group.html", render_group(rows, columns, problems, output_dir))
    n_complete = sum(row["status"] == COMPLETE for row in rows)
    return GroupResult(table, sidecar, page, len(rows), n_complete, tuple(problems))


def _rows(output_dir: Path, bids_dir: Path | None, joined: InputTables) -> tuple[list[dict[str, Any]], list[str]]:
    rows, problems = [], []
    known = set(find_sessions(output_dir))
    expected = input_sessions(bids_dir) if bids_dir is not None else set()
    for key in sorted(known | expected, key=lambda k: k.sort_key):
        if key in known:
            row, found = session_row(output_dir, key)
        else:
            row = {"participant_id": f"sub-{key.participant}", "status": NOT_STARTED}
            row["session_id"] = f"ses-{key.session}" if key.session else None
            found = [f"{key.prefix}: the output directory holds nothing of it."]
        rows.append(joined.row(key) | row)
        problems += found
    return rows, problems


def _sidecar(columns: Mapping[str, Mapping[str, Any]]) -> str:
    measure: dict[str, Any] = {
        "MeasurementToolMetadata": {
            "Description": "Cerebral microbleeds per session, counted by mbseg_bids from the lesion tables"
        }
    }
    return json.dumps(measure | dict(columns), indent=2, ensure_ascii=False) + "\n"
