"""Which rows of the group table go into a model, and why the others do not. Pure: rows in, rows and reasons out."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from mbseg_bids.errors import NothingSelectedError, UnreadableDataError, UsageError
from mbseg_bids.group.formula import ModelRequest
from mbseg_bids.group.rows import COMPLETE, cell

Row = Mapping[str, Any]

NOT_COMPLETE, FAILED_CHECK = "not complete", "a registration check failed"

MISSING_TEXTS = frozenset({"", "n/a", "na", "nan", "null"})
"""Cells, in lower case, that hold no value."""

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,2})?", re.ASCII)
_NAMES = frozenset({"participant_id", "session_id", "status"})
_FROM_COUNTS = re.compile(
    r"n_(?!warnings)\w+|volume_\w+|burden_class|distribution_pattern|at_least_five|more_than_ten|outlier|why_none"
    r"|asked_share|probability_(?:below_5|5_to_20|20_to_50|50_to_80|from_80)"
)


@dataclass(frozen=True)
class Selection:
    """Rows of a model.

    Attributes
    ----------
    rows
        That are used, in the order of the table.
    excluded
        Reason to names of sessions; sessions left out because another one of the participant was taken are not here.
    n_other_sessions
        How many those are.
    """

    rows: tuple[Row, ...]
    excluded: dict[str, tuple[str, ...]]
    n_other_sessions: int


def row_name(row: Row) -> str:
    """Return ``sub-X`` or ``sub-X_ses-Y``."""
    return "_".join(str(row[key]) for key in ("participant_id", "session_id") if row.get(key))


def value_text(row: Row, column: str) -> str | None:
    """Return a cell as text, or nothing where it holds no value."""
    text = cell(row.get(column))
    return None if text.lower() in MISSING_TEXTS else text


def number_of(text: str) -> float | None:
    """Return the number a text is; nothing for words, infinities and what Python alone calls a number (``1_0``)."""
    return float(text) if _NUMBER.fullmatch(text) else None


def check_columns(request: ModelRequest, columns: Iterable[str], own: Collection[str]) -> None:
    """Refuse columns that the table does not have, or that no model of counts can use.

    Parameters
    ----------
    columns
        All of the table.
    own
        Those that do not come from the tables of the input.

    Raises
    ------
    UsageError
        Naming the column.
    """
    known = list(columns)
    asked = [request.formula.outcome, *request.formula.columns, *([request.offset] if request.offset else [])]
    for name in asked:
        if name not in known:
            near = get_close_matches(name, known, n=3, cutoff=0.6)
            remedy = f"did you mean {' or '.join(near)}?" if near else "see the header of phenotype/microbleeds.tsv"
            raise UsageError(f"--model: the group table has no column {name!r}", remedy)
    for name in asked[1:]:
        if name in _NAMES:
            raise UsageError(f"--model: {name} names the rows and cannot explain counts", "take it out")
        if name in own and _FROM_COUNTS.fullmatch(name):
            raise UsageError(f"--model: {name} is made from the counts themselves", "take it out")


def select_rows(rows: Sequence[Row], request: ModelRequest) -> Selection:
    """Choose the rows of a model: complete, no failed check, the wanted sessions, no value missing.

    Parameters
    ----------
    rows
        Of the group table, in its order: the sessions of a participant follow each other.

    Raises
    ------
    NothingSelectedError
        If no session has the label asked for, or no session is complete.
    UnreadableDataError
        If every row misses a value.
    """
    excluded: dict[str, list[str]] = {}
    usable = []
    for row in rows:
        reason = NOT_COMPLETE if row["status"] != COMPLETE else ""
        if not reason and row.get("registration_passed") is False:
            reason = FAILED_CHECK
        if reason:
            excluded.setdefault(reason, []).append(row_name(row))
        else:
            usable.append(row)
    if not usable:
        raise NothingSelectedError("--model: no complete session without a failed check", "see group.html")
    chosen = _choose_sessions(usable, request)
    used = []
    asked = [request.formula.outcome, *request.formula.columns, *([request.offset] if request.offset else [])]
    for row in chosen:
        lacking = [name for name in asked if value_text(row, name) is None]
        if lacking:
            excluded.setdefault(f"no value of {', '.join(lacking)}", []).append(row_name(row))
        else:
            used.append(row)
    if not used:
        reason = max(excluded, key=lambda key: (key.startswith("no value"), len(excluded[key])))
        raise UnreadableDataError(f"--model: no row is left, {reason} in {len(excluded[reason])}", "fill in the column")
    kept = {reason: tuple(names) for reason, names in excluded.items()}
    return Selection(tuple(used), kept, len(usable) - len(chosen))


def _choose_sessions(usable: Sequence[Row], request: ModelRequest) -> list[Row]:
    if request.session is not None:
        chosen = [row for row in usable if row.get("session_id") == f"ses-{request.session}"]
        if not chosen:
            raise NothingSelectedError(f"--model-session: no usable session ses-{request.session}", "check the label")
        return chosen
    if request.all_sessions:
        return list(usable)
    first: dict[str, Row] = {}
    for row in usable:
        first.setdefault(row["participant_id"], row)
    return list(first.values())
