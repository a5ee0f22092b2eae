"""The result of a session as its reader decided: pure, arrays and rows in, arrays and rows out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mbseg_bids.bids.colours import CANDIDATES, COLOUR, LESIONS, RED, colour_of
from mbseg_bids.clinical.size import MINIMUM_DIAMETER
from mbseg_bids.detection.geometry.location import locate
from mbseg_bids.detection.lesions.grow import grow_lesion
from mbseg_bids.detection.lesions.tables import DECIMALS, NOTHING, TOO_LARGE, measure
from mbseg_bids.detection.rules.intensity_ratio import contrast_ratios
from mbseg_bids.imaging.grids import slice_axis
from mbseg_bids.imaging.labels import DEEP_GM, REGIONS
from mbseg_bids.imaging.place_labels import PLACE_LABELS, split_label
from mbseg_bids.review.table import ACCEPT, ADDED, CANDIDATE, LESION, REJECT, UNSURE, Judgement

Row = dict[str, str]
REVIEW_COLUMNS = ("review", "reader", "reviewed_at", "reader_note")
READER = "reader"
"""Reason of a candidate that a reader rejected."""
AUTOMATIC, FROM_CANDIDATE, GROWN, BALL = ORIGINS = ("automatic", "candidate", "added_grown", "added_ball")
"""Where a lesion of a reviewed result comes from."""


@dataclass(frozen=True, eq=False)
class Scan:
    """What a session left on its T2* grid; arrays of one shape (i, j, k).

    ``places`` (labels of :mod:`mbseg_bids.imaging.place_labels`) may be None: then a lesion that was added has no side.
    """

    t2star: npt.NDArray[np.floating]
    brain: npt.NDArray[np.bool_]
    regions: npt.NDArray[np.integer]
    probability: npt.NDArray[np.floating]
    places: npt.NDArray[np.integer] | None
    affine: npt.NDArray[np.float64]

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm along the array axes."""
        x, y, z = (float(mm) for mm in np.linalg.norm(self.affine[:3, :3], axis=0))
        return x, y, z


@dataclass(frozen=True, eq=False)
class Result:
    """Labels of shape (i, j, k); rows and columns of their tables, cells as text."""

    lesions: npt.NDArray[np.int32]
    candidates: npt.NDArray[np.int32]
    lesion_rows: list[Row]
    candidate_rows: list[Row]
    lesion_columns: tuple[str, ...]
    candidate_columns: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Decided:
    """A reviewed result, what changed, and what a reader should be told about it."""

    result: Result
    removed: tuple[str, ...]
    accepted: tuple[str, ...]
    added: tuple[str, ...]
    notes: tuple[str, ...]


def decide(
    automatic: Result,
    judgements: Sequence[Judgement],
    reader: str,
    scan: Scan,
    thresholds: tuple[float, float],
) -> Decided:
    """Apply a reader's decisions to an automatic result.

    A lesion stays unless it is rejected. A rejected candidate becomes a lesion if it is accepted, with every voxel of
    the candidate that is in no lesion. A spot that the reader added becomes a lesion (:func:`grow_lesion`) unless it is
    rejected. Unsure, and no decision, change nothing of these. Names and labels of the automatic lesions stay; new
    ones go on after the largest.

    Parameters
    ----------
    automatic
        What the program found.
    judgements
        Of this session.
    reader
        Their name.
    scan
        Images of the session.
    thresholds
        Ratio thresholds elsewhere and in deep grey matter, for spots that are added.

    Raises
    ------
    ValueError
        If a judgement is of something that the result does not have.
    """
    said = {(j.kind, j.item): j for j in judgements}
    _check_known(automatic, said)
    lesions = automatic.lesions.copy()
    rows, removed = [], []
    for row in automatic.lesion_rows:
        judgement = said.get((LESION, row["name"]))
        if judgement is not None and judgement.decision == REJECT:
            lesions[lesions == int(row["index"])] = 0
            removed.append(row["name"])
        else:
            rows.append(_sure(row, judgement) | {"origin": AUTOMATIC} | _said(judgement, reader))
    new = _New(automatic, scan, reader, thresholds, lesions)
    for row in automatic.candidate_rows:
        judgement = said.get((CANDIDATE, row["name"]))
        if judgement is not None and judgement.decision == ACCEPT:
            rows.append(new.from_candidate(row, judgement))
    for judgement in judgements:
        if judgement.kind == ADDED and judgement.decision != REJECT:
            rows.append(new.from_voxel(judgement))
    candidates = _candidate_rows(automatic, said, reader, new.of_candidate, set(removed))
    return Decided(
        Result(
            lesions,
            automatic.candidates,
            rows,
            candidates,
            (*automatic.lesion_columns, "origin", *REVIEW_COLUMNS),
            (*automatic.candidate_columns, *REVIEW_COLUMNS),
        ),
        tuple(removed),
        tuple(new.accepted),
        tuple(new.added),
        tuple(new.notes),
    )


def _check_known(automatic: Result, said: Mapping[tuple[str, str], Judgement]) -> None:
    lesions = {row["name"] for row in automatic.lesion_rows}
    rejected = {row["name"] for row in automatic.candidate_rows if row.get("status") == "rejected"}
    for kind, item in said:
        known = {LESION: lesions, CANDIDATE: rejected}.get(kind, {item})
        if item not in known:
            raise ValueError(f"there is no {'lesion' if kind == LESION else 'rejected candidate'} {item}")


def _said(judgement: Judgement | None, reader: str) -> Row:
    """Return the cells of a review; ``n/a`` in all where the reader said nothing."""
    if judgement is None or not (judgement.decision or judgement.note):
        return dict.fromkeys(REVIEW_COLUMNS, NOTHING)
    cells = (judgement.decision, reader, judgement.time, judgement.note)
    return {column: text or NOTHING for column, text in zip(REVIEW_COLUMNS, cells, strict=True)}


def _sure(row: Row, judgement: Judgement | None) -> Row:
    """Return a row whose certainty is the reader's, where the table has one and the reader decided."""
    certainty = {ACCEPT: "definite", UNSURE: "possible"}.get(judgement.decision if judgement else "")
    if not certainty or "certainty" not in row:
        return dict(row)
    sure = row | {"certainty": certainty}
    return sure | {COLOUR: colour_of(sure, LESIONS)} if COLOUR in row else sure


class _New:
    """Makes lesions of candidates and of spots; writes them into ``lesions``."""

    def __init__(
        self,
        automatic: Result,
        scan: Scan,
        reader: str,
        thresholds: tuple[float, float],
        lesions: npt.NDArray[np.int32],
    ) -> None:
        self._automatic, self._scan, self._reader = automatic, scan, reader
        self._thresholds = thresholds
        self._lesions = lesions
        rows = automatic.lesion_rows or automatic.candidate_rows
        self._contrasts = rows[0].get("contrasts", NOTHING) if rows else NOTHING
        self._next = max((int(row["index"]) for row in automatic.lesion_rows), default=0) + 1
        self.of_candidate: dict[str, int] = {}
        self.accepted: list[str] = []
        self.added: list[str] = []
        self.notes: list[str] = []

    def from_candidate(self, row: Row, judgement: Judgement) -> Row:
        """Return the row of a lesion that was a rejected candidate."""
        mask = (self._automatic.candidates == int(row["index"])) & (self._lesions == 0)
        if not mask.any():
            raise ValueError(f"the image of candidates has no voxel of {row['name']} that is free")
        index, cells = self._write(mask)
        self.of_candidate[row["name"]] = index
        self.accepted.append(row["name"])
        flags = [flag for flag in row.get("flags", NOTHING).split(",") if flag not in (NOTHING, TOO_LARGE)]
        if TOO_LARGE in row.get("flags", ""):
            self.notes.append(
                f"{row['name']} is larger than a microbleed; it is counted because {self._reader} accepted it."
            )
        cells |= {"flags": ",".join(flags) or NOTHING, "candidate_index": row["index"]}
        return self._finish(row | cells, judgement, FROM_CANDIDATE)

    def from_voxel(self, judgement: Judgement) -> Row:
        """Return the row of a lesion that the reader pointed at."""
        assert judgement.voxel is not None
        scan, across = self._scan, slice_axis(self._scan.affine)
        if any(v >= n for v, n in zip(judgement.voxel, self._lesions.shape, strict=True)):
            raise ValueError(f"{judgement.item} lies outside the image")
        threshold = self._thresholds[1 if scan.regions[judgement.voxel] == DEEP_GM else 0]
        order = [axis for axis in range(3) if axis != across] + [across]
        t2star, brain = np.moveaxis(scan.t2star, across, 2), np.moveaxis(scan.brain, across, 2)
        taken = np.moveaxis(self._lesions > 0, across, 2)
        i, j, k = (judgement.voxel[axis] for axis in order)
        x, y, z = (scan.spacing[axis] for axis in order)
        grown = grow_lesion(t2star, brain, taken, (i, j, k), (x, y, z), threshold)
        index, cells = self._write(np.moveaxis(grown.mask, 2, across))
        self.added.append(cells["name"])
        if not grown.by_rule:
            self.notes.append(
                f"{cells['name']}, added by {self._reader}, is not darker than its surroundings by the ratio rule: "
                "a small ball stands for it."
            )
        ratio = contrast_ratios(t2star, np.moveaxis(self._lesions, across, 2), brain, (x, y, z))[index]
        cells |= self._place(index) | {
            "contrast_ratio": _text("contrast_ratio", ratio),
            "ratio_threshold": f"{threshold:g}",
        }
        return self._finish(cells, judgement, GROWN if grown.by_rule else BALL)

    def _write(self, mask: npt.NDArray[np.bool_]) -> tuple[int, Row]:
        """Give a mask the next label; return it, and the measures of it as cells."""
        index = self._next
        self._next += 1
        self._lesions[mask] = index
        measured = measure(np.where(mask, 1, 0), self._scan.affine, slice_axis(self._scan.affine))[1]
        cells = {column: _text(column, value) for column, value in measured.items()}
        return index, {"index": str(index), "name": f"CMB-{index:03d}"} | cells

    def _place(self, index: int) -> Row:
        """Return the cells about where an added lesion lies and what the network gave it."""
        own = np.where(self._lesions == index, 1, 0)
        location = locate(own, self._scan.regions, self._scan.spacing, REGIONS)[1]
        values = self._scan.probability[own > 0]
        measured = measure(own, self._scan.affine, slice_axis(self._scan.affine))[1]
        flags = ["nearest_region"] if location.nearest else []
        flags += ["below_minimum_size"] if float(measured["diameter_mm"]) < MINIMUM_DIAMETER else []
        cells = {
            "region": location.region,
            "probability_mean": _text("probability_mean", float(values.mean())),
            "probability_max": _text("probability_max", float(values.max())),
            "flags": ",".join(flags) or NOTHING,
        }
        if self._scan.places is not None:
            place = locate(own, self._scan.places, self._scan.spacing, PLACE_LABELS)[1].region
            label = next((n for n, name in PLACE_LABELS.items() if name == place), None)
            cells |= {"side": split_label(label)[1]} if label is not None else {}
        return cells

    def _finish(self, cells: Row, judgement: Judgement, origin: str) -> Row:
        """Return a row with the columns of the lesion table and of the review."""
        cells = {column: cells.get(column, NOTHING) for column in self._automatic.lesion_columns}
        if "contrasts" in cells:
            cells["contrasts"] = self._contrasts
        judgement = _as_accepted(judgement)
        cells |= {COLOUR: RED} if COLOUR in cells else {}
        return _sure(cells, judgement) | {"origin": origin} | _said(judgement, self._reader)


def _as_accepted(judgement: Judgement) -> Judgement:
    """Return the judgement; of a spot that was added and not judged further, an acceptance."""
    return judgement if judgement.decision else replace(judgement, decision=ACCEPT)


def _candidate_rows(
    automatic: Result,
    said: Mapping[tuple[str, str], Judgement],
    reader: str,
    lesion_of: Mapping[str, int],
    removed: set[str],
) -> list[Row]:
    """Return the table of candidates with what became of each under review."""
    name_of = {row["index"]: row["name"] for row in automatic.lesion_rows}
    rows = []
    for row in automatic.candidate_rows:
        own = [index for index in row.get("lesion_index", NOTHING).split(",") if index in name_of]
        judgements = [said[LESION, name_of[index]] for index in own if (LESION, name_of[index]) in said]
        if (CANDIDATE, row["name"]) in said:
            judgements.append(said[CANDIDATE, row["name"]])
        cells = [_said(judgement, reader) for judgement in judgements] or [_said(None, reader)]
        review = {c: ",".join(dict.fromkeys(cell[c] for cell in cells)) for c in REVIEW_COLUMNS[:3]}
        review["reader_note"] = "; ".join(dict.fromkeys(cell["reader_note"] for cell in cells))
        fate: dict[str, Any] = {}
        if row["name"] in lesion_of:
            fate = {"status": "kept", "reason": NOTHING, "lesion_index": str(lesion_of[row["name"]])}
        elif own:
            left = [index for index in own if name_of[index] not in removed]
            fate = {"lesion_index": ",".join(left)} if left else {}
            fate = fate or {"status": "rejected", "reason": READER, "lesion_index": NOTHING}
        new = row | {c: v for c, v in fate.items() if c in row} | review
        rows.append(new | {COLOUR: colour_of(new, CANDIDATES)} if COLOUR in row else new)
    return rows


def _text(column: str, value: float | int | str) -> str:
    """Return a measure as the tables write it."""
    if isinstance(value, float | np.floating):
        return str(round(float(value), DECIMALS.get(column, 6)) + 0.0) if math.isfinite(value) else NOTHING
    return str(value)
