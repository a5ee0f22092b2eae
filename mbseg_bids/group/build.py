"""The group level: two tables in ``phenotype/``, ``group.html`` and the prevalence map."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbseg_bids.bids.files import write_text
from mbseg_bids.group.columns import group_columns
from mbseg_bids.group.formula import ModelRequest
from mbseg_bids.group.index import write_index
from mbseg_bids.group.joined import InputTables, input_sessions, read_input_tables
from mbseg_bids.group.lesions import lesion_columns, lesion_lines
from mbseg_bids.group.likeness import find_outliers, trusted
from mbseg_bids.group.model_files import ModelOutcome, model_outcome
from mbseg_bids.group.page import render_group
from mbseg_bids.group.prevalence import gather, write_map
from mbseg_bids.group.rows import COMPLETE, NOT_STARTED, SessionResult, cell, name_cells, read_session
from mbseg_bids.reports.session_files import SessionKey, find_sessions

_SESSIONS = "Cerebral microbleeds per session, counted by mbseg_bids from the lesion tables"
_LESIONS = "Every lesion of every session, one row each, from the lesion tables of mbseg_bids"


@dataclass(frozen=True)
class GroupResult:
    """What the group level wrote and what it found wrong.

    Attributes
    ----------
    table, sidecar, page
        Files written.
    lesions
        Table of all lesions.
    prevalence_map
        Where microbleeds lie on the template; nothing where no session has them there.
    n_sessions, n_complete
        Rows of the table; rows with counts.
    problems
        One sentence each, beginning with the session's or the file's name.
    model
        What became of the model of the counts.
    """

    table: Path
    sidecar: Path
    page: Path
    lesions: Path
    prevalence_map: Path | None
    n_sessions: int
    n_complete: int
    problems: tuple[str, ...]
    model: ModelOutcome


def build_group(
    output_dir: Path, bids_dir: Path | None = None, model: ModelRequest | None = None, *, reviewed: bool = False
) -> GroupResult:
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
    model
        Model of the counts, if one is wanted. One that cannot be fitted stops nothing: the result says why.
    reviewed
        Take the result that a reader has reviewed, of sessions that have one.
    """
    output_dir = Path(output_dir)
    described = group_columns()
    source = Path(bids_dir) if bids_dir is not None else output_dir
    joined = read_input_tables(source, set(described))
    keys, results = _read(output_dir, Path(bids_dir) if bids_dir is not None else None, joined, reviewed)
    rows = [result.row for result in results]
    for index, found in find_outliers(rows).items():
        rows[index]["outlier"] = ",".join(found)
    problems = [*joined.problems, *(problem for result in results for problem in result.problems)]
    problems += _mixed(rows) if reviewed else []
    on_template = gather(output_dir, _with_template(keys, rows), reviewed=reviewed)

    columns = described | joined.columns
    table = _write_table(output_dir, "microbleeds", columns, [_line(row, columns) for row in rows], _SESSIONS)
    of_lesions = lesion_columns(described)
    lines = lesion_lines(results, of_lesions, on_template.places)
    lesions = _write_table(output_dir, "microbleeds_lesions", of_lesions, lines, _LESIONS)
    prevalence = write_map(output_dir, on_template)
    modelled = model_outcome(output_dir, rows, columns, described, model)
    html = render_group(rows, columns, problems, output_dir, on_template, modelled.section)
    page = write_text(output_dir / "group.html", html)
    write_index(output_dir, rows)
    n_complete = sum(row["status"] == COMPLETE for row in rows)
    sidecar = table.with_suffix(".json")
    return GroupResult(table, sidecar, page, lesions, prevalence, len(rows), n_complete, tuple(problems), modelled)


def _mixed(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Say where reviewed and automatic counts stand side by side: the difference may be the reader's."""
    complete = [row for row in rows if row["status"] == COMPLETE]
    n = sum(row.get("result") == "reviewed" for row in complete)
    if n == len(complete):
        return []
    return [f"{n} of {len(complete)} complete sessions are reviewed: their counts and automatic ones do not compare."]


def _read(
    output_dir: Path, bids_dir: Path | None, joined: InputTables, reviewed: bool
) -> tuple[list[SessionKey], list[SessionResult]]:
    """Read every session of the output, and name those that only the input knows of."""
    known = set(find_sessions(output_dir))
    expected = input_sessions(bids_dir) if bids_dir is not None else set()
    met = {key.participant for key in known | expected}
    listed = {SessionKey(participant) for participant, session in joined.cells if not session} - {SessionKey("")}
    keys = sorted(known | expected | {key for key in listed if key.participant not in met}, key=lambda k: k.sort_key)
    results = []
    for key in keys:
        if key in known:
            result = read_session(output_dir, key, reviewed=reviewed)
        else:
            said = "the output directory holds nothing of it."
            if key not in expected:
                said = "listed in participants.tsv, but neither the input nor the output has a session of it."
            result = SessionResult(name_cells(key) | {"status": NOT_STARTED}, [], [f"{key.prefix}: {said}"])
        result.row.update(joined.row(key) | result.row)
        results.append(result)
    return keys, results


def _with_template(keys: list[SessionKey], rows: list[dict[str, Any]]) -> Iterable[tuple[SessionKey, dict[str, Any]]]:
    """Return the sessions whose lesions go into the prevalence map."""
    good = {id(row) for row in trusted(rows)}
    return [(key, row) for key, row in zip(keys, rows, strict=True) if id(row) in good]


def _line(row: Mapping[str, Any], columns: Iterable[str]) -> str:
    return "\t".join(cell(row.get(name)) for name in columns)


def _write_table(
    output_dir: Path, name: str, columns: Mapping[str, Mapping[str, Any]], lines: list[str], about: str
) -> Path:
    """Write a table and its sidecar to ``phenotype/``; return the path of the table."""
    table = output_dir / "phenotype" / f"{name}.tsv"
    write_text(table, "\n".join(["\t".join(columns), *lines]) + "\n")
    described = {"MeasurementToolMetadata": {"Description": about}} | dict(columns)
    write_text(table.with_suffix(".json"), json.dumps(described, indent=2, ensure_ascii=False) + "\n")
    return table
