"""What a reader needs to judge a session, and what became of a judged one; for the templates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbseg_bids.reports.facts import mapping
from mbseg_bids.reports.gallery import Card
from mbseg_bids.reports.session_files import SessionFiles, number

LESION, CANDIDATE = "lesion", "candidate"


@dataclass(frozen=True)
class ReviewItem:
    """One row of the list: a lesion or a rejected candidate. Numbers are text as in its table, empty where unknown."""

    name: str
    kind: str
    anchor: str
    region: str
    side: str
    diameter: str
    probability: str
    voxel: tuple[str, ...]
    position: tuple[str, ...]


@dataclass(frozen=True)
class ReviewPanel:
    """The list of a session, and what its decisions are kept under."""

    participant_id: str
    session_id: str
    """``n/a`` where the dataset has no sessions."""
    result: str
    """Hash of the result that is judged."""
    items: tuple[ReviewItem, ...]

    @property
    def regions(self) -> list[str]:
        """Regions that occur, in alphabetical order."""
        return sorted({item.region for item in self.items})

    @property
    def n_lesions(self) -> int:
        """Number of lesions the program found."""
        return sum(item.kind == LESION for item in self.items)


@dataclass(frozen=True)
class ReviewedBy:
    """What became of a session whose review was applied."""

    reader: str
    applied: str
    n_automatic: int
    n_reviewed: int
    said: tuple[str, ...]
    """Sentences."""


def review_panel(
    files: SessionFiles, lesions: Sequence[Mapping[str, str]], candidates: Sequence[Mapping[str, str]],
    cards: Sequence[Card], rejected: Sequence[Card],
) -> ReviewPanel | None:  # fmt: skip
    """Return the list of a session; None where its result is not whole or is a reviewed one."""
    result = files.result_hash()
    if not result or files.reviewed:
        return None
    rows = {row.get("name", ""): row for row in candidates}
    items = [_item(row, card, LESION) for row, card in zip(lesions, cards, strict=True)]
    items += [_item(rows[card.name], card, CANDIDATE) for card in rejected if card.name in rows]
    key = files.key
    session = f"ses-{key.session}" if key.session else "n/a"
    return ReviewPanel(f"sub-{key.participant}", session, result, tuple(items))


def _item(row: Mapping[str, str], card: Card, kind: str) -> ReviewItem:
    def known(column: str) -> str:
        value = number(row.get(column))
        return "" if value is None else f"{value:.6g}"

    return ReviewItem(
        name=card.name,
        kind=kind,
        anchor=card.anchor,
        region=card.region,
        side=card.side,
        diameter=known("diameter_mm"),
        probability=known("lesion_probability"),
        voxel=tuple(known(axis) for axis in "ijk"),
        position=tuple(known(f"{axis}_mm") for axis in "xyz"),
    )


def reviewed_by(files: SessionFiles) -> ReviewedBy | None:
    """Return what was recorded of a session's review; None where none was applied."""
    record = files.review()
    if not files.has_review:
        return None
    counts = mapping(record.get("n_lesions"))
    said = []
    for key, text in (("removed", "Removed"), ("accepted", "Taken from the rejected candidates"), ("added", "Added")):
        names = record.get(key)
        if isinstance(names, list) and names:
            said.append(f"{text}: {', '.join(map(str, names))}.")
    undecided = number(record.get("n_not_decided")) or 0
    if undecided:
        said.append(f"Not decided: {undecided:.0f} of the program's microbleeds, which stay.")
    notes = record.get("notes")
    said += [str(note) for note in notes] if isinstance(notes, list) else []
    return ReviewedBy(
        reader=str(record.get("reader") or "a reader whose name was not recorded"),
        applied=str(record.get("applied") or "at a time that was not recorded"),
        n_automatic=int(number(counts.get("automatic")) or 0),
        n_reviewed=int(number(counts.get("reviewed")) or 0),
        said=tuple(said),
    )


def with_review(summary: Mapping[str, Any], files: SessionFiles) -> dict[str, Any]:
    """Return a summary whose number of lesions is that of the reviewed result, where it is the one that is shown."""
    said = reviewed_by(files) if files.reviewed else None
    if said is None or "detection" not in summary:
        return dict(summary)
    return dict(summary) | {"detection": dict(mapping(summary["detection"])) | {"n_lesions": said.n_reviewed}}


def reviewed_page(output_dir: Path, participant: str) -> Path:
    """Return the path of the report of a participant's reviewed result."""
    return output_dir / f"sub-{participant}_reviewed.html"
