"""A reader's decisions as a table: what the report exports, and what ``mbseg review`` reads."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.reports.session_files import SessionKey, number, read_tsv

ACCEPT, REJECT, UNSURE = DECISIONS = ("accept", "reject", "unsure")
LESION, CANDIDATE, ADDED = KINDS = ("lesion", "candidate", "added")
NOTHING = "n/a"
COLUMNS = (
    *("participant_id", "session_id", "result", "item", "kind", "decision", "note", "i", "j", "k"),
    *("x_mm", "y_mm", "z_mm", "region", "diameter_mm", "lesion_probability", "reader", "time"),
)
"""Of the exported table, described in ``docs/review.md``."""
_NEEDED = (
    "participant_id",
    "session_id",
    "result",
    "item",
    "kind",
    "decision",
    "note",
    "i",
    "j",
    "k",
    "reader",
    "time",
)
_REMEDY = "export the review again"


@dataclass(frozen=True)
class Judgement:
    """What a reader said of one lesion, rejected candidate, or spot of their own."""

    key: SessionKey
    result: str
    """Hash of the result that was looked at."""
    item: str
    """Its name in the table: ``CMB-001``, ``CAND-004``; ``ADDED-1`` for a spot of the reader's own."""
    kind: str
    decision: str
    """Of :data:`DECISIONS`; empty where the reader has not decided."""
    note: str
    voxel: tuple[int, int, int] | None
    """Index in the T2* image."""
    time: str
    position: tuple[float, ...] | None = None
    """Scanner coordinates of the T2* image, RAS+ mm."""


@dataclass(frozen=True)
class Review:
    """Judgements of one reader."""

    reader: str
    judgements: tuple[Judgement, ...]

    def sessions(self) -> list[SessionKey]:
        """Return the sessions, in the order of tables."""
        return sorted({judgement.key for judgement in self.judgements}, key=lambda key: key.sort_key)

    def of(self, key: SessionKey) -> list[Judgement]:
        """Return the judgements of one session."""
        return [judgement for judgement in self.judgements if judgement.key == key]


def read_review(path: Path, reader: str = "") -> Review:
    """Read an exported review.

    Parameters
    ----------
    path
        TSV file.
    reader
        Name to use; that of the file where empty.

    Raises
    ------
    UnreadableDataError
        If the file cannot be read, has no or several readers, or a row cannot be understood; the line is named.
    """
    try:
        rows = read_tsv(path, _NEEDED)
    except (OSError, ValueError) as error:
        raise UnreadableDataError(f"{path.name} cannot be read: {error}", _REMEDY) from error
    judgements = []
    for line, row in enumerate(rows, start=2):
        try:
            judgements.append(_judgement(row))
        except ValueError as error:
            raise UnreadableDataError(f"{path.name}, line {line}: {error}", _REMEDY) from error
    _check_once(path, judgements)
    return Review(reader or _reader(path, rows), tuple(judgements))


def _judgement(row: dict[str, str]) -> Judgement:
    participant = re.fullmatch(r"sub-([0-9A-Za-z+]+)", row["participant_id"])
    session = re.fullmatch(r"ses-([0-9A-Za-z+]+)|n/a", row["session_id"])
    if not participant or not session:
        raise ValueError(f"no session is named {row['participant_id']} {row['session_id']}")
    kind, decision = row["kind"], _cell(row, "decision")
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} is none of {', '.join(KINDS)}")
    if decision and decision not in DECISIONS:
        raise ValueError(f"decision {decision!r} is none of {', '.join(DECISIONS)}")
    voxel = _voxel(row)
    if kind == ADDED and voxel is None:
        raise ValueError(f"{row['item']} was added without a voxel")
    return Judgement(
        key=SessionKey(participant[1], session[1] or ""),
        result=row["result"],
        item=row["item"],
        kind=kind,
        decision=decision,
        note=_cell(row, "note"),
        voxel=voxel,
        time=_cell(row, "time"),
        position=_position(row),
    )


def _cell(row: dict[str, str], column: str) -> str:
    return "" if row[column] == NOTHING else row[column]


def _voxel(row: dict[str, str]) -> tuple[int, int, int] | None:
    cells = [_cell(row, axis) for axis in "ijk"]
    if not all(cells):
        return None
    if not all(re.fullmatch(r"\d+", cell) for cell in cells):
        raise ValueError(f"voxel {', '.join(cells)} is no index")
    i, j, k = map(int, cells)
    return i, j, k


def _position(row: dict[str, str]) -> tuple[float, ...] | None:
    values = [number(row.get(f"{axis}_mm")) for axis in "xyz"]
    known = tuple(value for value in values if value is not None)
    return known if len(known) == len(values) else None


def _check_once(path: Path, judgements: Sequence[Judgement]) -> None:
    seen: dict[tuple[SessionKey, str], str] = {}
    results: dict[SessionKey, str] = {}
    for judgement in judgements:
        if (judgement.key, judgement.item) in seen:
            raise UnreadableDataError(f"{path.name}: {judgement.key.prefix} {judgement.item} stands twice", _REMEDY)
        seen[judgement.key, judgement.item] = judgement.decision
        if results.setdefault(judgement.key, judgement.result) != judgement.result:
            raise UnreadableDataError(f"{path.name}: {judgement.key.prefix} of two results", _REMEDY)
    if not judgements:
        raise UnreadableDataError(f"{path.name} has no rows", _REMEDY)


def _reader(path: Path, rows: Sequence[dict[str, str]]) -> str:
    names = sorted({row["reader"] for row in rows} - {NOTHING, ""})
    if len(names) == 1:
        return names[0]
    found = f"several readers: {', '.join(names)}" if names else "no reader"
    raise UnreadableDataError(f"{path.name} names {found}", "give --reader NAME")
