"""What ``participants.tsv`` and ``sessions.tsv`` of the input say of each session."""

import csv
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mbseg_bids.reports.session_files import SessionKey, one_line


@dataclass
class InputTables:
    """Columns of the input dataset's tables.

    Attributes
    ----------
    columns
        Column name in the group table to its BIDS description, in the order of the files.
    cells
        (participant, session) labels to column to text; a session of "" holds for every session of the participant.
    problems
        Sentences about rows that were left out and files that could not be read.
    """

    columns: dict[str, dict[str, Any]] = field(default_factory=dict)
    cells: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def row(self, key: SessionKey) -> dict[str, str]:
        """Return the columns of a session."""
        return self.cells.get((key.participant, ""), {}) | (
            self.cells.get((key.participant, f"ses-{key.session}"), {}) if key.session else {}
        )


def read_input_tables(bids_dir: Path, taken: set[str]) -> InputTables:
    """Read ``participants.tsv`` and every ``sub-X/sub-X_sessions.tsv``; none of them need exist.

    A column whose name is in ``taken`` or was met in the other table gets the prefix ``participants_`` or
    ``sessions_``.
    """
    tables = InputTables()
    _read(tables, bids_dir / "participants.tsv", "participants", taken, participant=None)
    taken = taken | set(tables.columns)
    for path in sorted(bids_dir.glob("sub-*/sub-*_sessions.tsv")):
        _read(tables, path, "sessions", taken, participant=path.parent.name.removeprefix("sub-"))
    return tables


def input_sessions(bids_dir: Path) -> set[SessionKey]:
    """Return the sessions of the input dataset: the folders that have an ``anat`` folder."""
    found = set()
    for anat in [*bids_dir.glob("sub-*/anat"), *bids_dir.glob("sub-*/ses-*/anat")]:
        parts = anat.relative_to(bids_dir).parts
        found.add(SessionKey(parts[0][4:], parts[1][4:] if len(parts) == 3 else ""))
    return found


def _read(tables: InputTables, path: Path, kind: str, taken: set[str], participant: str | None) -> None:
    if not path.is_file():
        return
    try:
        rows = list(csv.reader(io.StringIO(_decode(path, tables)), delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, csv.Error) as error:
        tables.problems.append(f"{path.name} cannot be read: {one_line(error)}.")
        return
    key_column = "participant_id" if participant is None else "session_id"
    header = [name.strip() for name in rows[0]] if rows else []
    if key_column not in header:
        tables.problems.append(f"{path.name} has no column {key_column}: it is not joined.")
        return
    names = {n: f"{kind}_{n}" if n in taken else n for n in header if n not in (key_column, "")}
    descriptions = _descriptions(path.with_suffix(".json"), path.parent.parent / f"{kind}.json")
    for name, column in names.items():
        described = descriptions.get(name)
        described = described if isinstance(described, dict) and described.get("Description") else {}
        tables.columns.setdefault(column, {"Description": f"Column {name} of the input's {kind}.tsv."} | described)
    for texts in rows[1:]:
        cells = [text.strip() for text in texts]
        if any(cells):
            _add_row(tables, path, dict(zip(header, cells, strict=False)), names, participant)


def _add_row(
    tables: InputTables, path: Path, cells: dict[str, str], names: dict[str, str], participant: str | None
) -> None:
    if participant is None:
        key = (cells.get("participant_id", "").removeprefix("sub-"), "")
    else:
        key = (participant, "ses-" + cells.get("session_id", "").removeprefix("ses-"))
    if key in tables.cells:
        name = f"sub-{key[0]}" + (f" {key[1]}" if key[1] else "")
        tables.problems.append(f"{path.name} lists {name} twice: the first row counts.")
        return
    tables.cells[key] = {column: cells.get(name, "") for name, column in names.items()}


def _decode(path: Path, tables: InputTables) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        pass
    tables.problems.append(f"{path.name} is not UTF-8: it was read as Latin-1.")
    return content.decode("latin-1")


def _descriptions(*paths: Path) -> dict[str, Any]:
    for path in paths:
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict):
            return content
    return {}
