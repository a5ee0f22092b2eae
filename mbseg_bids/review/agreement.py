"""Agreement of two readers who reviewed the same results, lesion by lesion."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mbseg_bids.clinical.visits import match_points
from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.reports.session_files import SessionKey
from mbseg_bids.review.table import ACCEPT, ADDED, DECISIONS, REJECT, UNSURE, Judgement, Review

Row = dict[str, Any]
Pair = tuple[str, str]


@dataclass(frozen=True)
class Kappa:
    """Cohen's kappa with its 95 % interval; not a number where it is not defined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ReaderAgreement:
    """Columns as in ``data/review_columns.json``: one row for all sessions, then one each; and the disagreements."""

    rows: tuple[Row, ...]
    disagreements: tuple[Row, ...]
    left_out: tuple[SessionKey, ...]
    """Sessions that only one of them reviewed."""


def cohens_kappa(pairs: Iterable[Pair], categories: Sequence[str] = DECISIONS) -> Kappa:
    """Return the kappa of two readers' decisions, nominal categories (Cohen 1960).

    The interval is that of the large sample (Fleiss, Cohen and Everitt 1969).
    """
    table = np.zeros((len(categories), len(categories)))
    for first, second in pairs:
        table[categories.index(first), categories.index(second)] += 1
    n = table.sum()
    nothing = Kappa(math.nan, math.nan, math.nan)
    if not n:
        return nothing
    share = table / n
    rows, columns = share.sum(axis=1), share.sum(axis=0)
    observed, expected = np.trace(share), float(rows @ columns)
    if expected >= 1:
        return nothing
    kappa = float((observed - expected) / (1 - expected))
    sums = columns[:, None] + rows[None, :]  # of the other reader's margins
    agreed = (np.diag(share) * (1 - np.diag(sums) * (1 - kappa)) ** 2).sum()
    apart = (1 - kappa) ** 2 * ((share - np.diag(np.diag(share))) * sums**2).sum()
    variance = (agreed + apart - (kappa - expected * (1 - kappa)) ** 2) / (n * (1 - expected) ** 2)
    half = 1.959963984540054 * math.sqrt(max(0.0, float(variance)))
    return Kappa(kappa, max(-1.0, kappa - half), min(1.0, kappa + half))


def compare_reviews(first: Review, second: Review) -> ReaderAgreement:
    """Compare two reviews of the same results.

    Raises
    ------
    UnreadableDataError
        If they have no session in common, looked at different results of one, or a spot has no position.
    """
    common = [key for key in first.sessions() if key in set(second.sessions())]
    if not common:
        raise UnreadableDataError("the two reviews have no session in common", "give reviews of the same report")
    counted, disagreements = [], []
    for key in common:
        ours, theirs = first.of(key), second.of(key)
        if ours[0].result != theirs[0].result:
            raise UnreadableDataError(
                f"the readers looked at different results of {key.prefix}", "both must review the same report"
            )
        counted.append(_Session.of(ours, theirs))
        disagreements += [_names(key) | row for row in _disagreements(ours, theirs)]
    rows = [_names(key) | session.row() for key, session in zip(common, counted, strict=True)]
    whole = {"participant_id": None, "session_id": None} | _Session.sum(counted).row()
    left_out = sorted({*first.sessions(), *second.sessions()} - {*common}, key=lambda key: key.sort_key)
    return ReaderAgreement((whole, *rows), tuple(disagreements), tuple(left_out))


@dataclass(frozen=True)
class _Session:
    """Decisions of both readers on the same items, and how many spots each added."""

    pairs: tuple[Pair, ...]
    n_one_only: int
    n_added: tuple[int, int, int]
    """By the first, by the second, by both."""

    @classmethod
    def of(cls, first: Sequence[Judgement], second: Sequence[Judgement]) -> "_Session":
        ours, theirs = _decisions(first), _decisions(second)
        both = sorted(set(ours) & set(theirs))
        added, matched = _match_added(first, second)
        pairs = tuple((ours[item], theirs[item]) for item in both)
        return cls(pairs, len(set(ours) ^ set(theirs)), (len(added[0]), len(added[1]), len(matched)))

    @classmethod
    def sum(cls, sessions: Sequence["_Session"]) -> "_Session":
        a, b, both = (sum(session.n_added[n] for session in sessions) for n in range(3))
        pairs = tuple(pair for session in sessions for pair in session.pairs)
        return cls(pairs, sum(session.n_one_only for session in sessions), (a, b, both))

    def row(self) -> Row:
        kappa = cohens_kappa(self.pairs)
        sure = [pair for pair in self.pairs if UNSURE not in pair]
        accepted = [sum(pair[n] == ACCEPT for pair in self.pairs) for n in range(2)]
        both = sum(pair == (ACCEPT, ACCEPT) for pair in self.pairs)
        whole = sum(accepted) + self.n_added[0] + self.n_added[1]
        return {
            "n_items": len(self.pairs),
            "n_one_only": self.n_one_only,
            "n_agreed": sum(a == b for a, b in self.pairs),
            "kappa": kappa.value,
            "kappa_low": kappa.low,
            "kappa_high": kappa.high,
            "n_sure": len(sure),
            "kappa_sure": cohens_kappa(sure, (ACCEPT, REJECT)).value,
            "n_accepted_first": accepted[0],
            "n_accepted_second": accepted[1],
            "n_accepted_both": both,
            "positive_agreement": 2 * (both + self.n_added[2]) / whole if whole else math.nan,
            "n_added_first": self.n_added[0],
            "n_added_second": self.n_added[1],
            "n_added_both": self.n_added[2],
        }


def _decisions(judgements: Sequence[Judgement]) -> dict[str, str]:
    return {j.item: j.decision for j in judgements if j.kind != ADDED and j.decision}


def _match_added(
    first: Sequence[Judgement], second: Sequence[Judgement]
) -> tuple[tuple[list[Judgement], list[Judgement]], list[tuple[int, int]]]:
    """Return the spots that each reader added, and which of them are the same, by their numbers."""
    ours, theirs = ([j for j in side if _is_added(j)] for side in (first, second))
    points = [np.array([_place(j) for j in side]) for side in (ours, theirs)]
    return (ours, theirs), match_points(points[0], points[1])


def _is_added(judgement: Judgement) -> bool:
    return judgement.kind == ADDED and judgement.decision != REJECT


def _place(judgement: Judgement) -> tuple[float, ...]:
    if judgement.position is None:
        raise UnreadableDataError(f"{judgement.item} has no x_mm, y_mm, z_mm", "export the review again")
    return judgement.position


def _disagreements(first: Sequence[Judgement], second: Sequence[Judgement]) -> list[Row]:
    """Return the items on which the readers decided differently, and the spots that only one of them added."""
    theirs = {j.item: j for j in second if j.kind != ADDED}
    rows = []
    for judgement in first:
        other = theirs.get(judgement.item)
        if judgement.kind != ADDED and other is not None and judgement.decision != other.decision:
            rows.append(_difference(judgement.item, judgement, other))
    added, matched = _match_added(first, second)
    for side, judgements in enumerate(added):
        alone = set(range(len(judgements))) - {pair[side] for pair in matched}
        rows += [
            _difference(judgements[n].item, *((judgements[n], None) if side == 0 else (None, judgements[n])))
            for n in sorted(alone)
        ]
    return rows


def _difference(item: str, first: Judgement | None, second: Judgement | None) -> Row:
    said = [None if j is None else j.decision or (ACCEPT if j.kind == ADDED else None) for j in (first, second)]
    notes = [None if j is None else j.note or None for j in (first, second)]
    return {"item": item, "first": said[0], "second": said[1], "note_first": notes[0], "note_second": notes[1]}


def _names(key: SessionKey) -> Row:
    return {"participant_id": f"sub-{key.participant}", "session_id": f"ses-{key.session}" if key.session else None}
