"""Agreement of two sets of lesions, counted lesion by lesion as in Dadar et al. 2022 ("Performance validation")."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from mbseg_bids.detection.geometry.components import centroids
from mbseg_bids.imaging.labels import UNASSIGNED

MatchRule = Literal["overlap", "distance"]
ALL_REGIONS = "all"


@dataclass(frozen=True)
class Matches:
    """Which lesions of two label maps are one and the same.

    Attributes
    ----------
    pairs
        (truth label, predicted label), sorted. By overlap a lesion may be in several pairs.
    truth, predicted
        Labels that count.
    ignored_truth, ignored_predicted
        Labels that count neither way: truth below the smallest volume, and what was found of nothing else.
    """

    pairs: tuple[tuple[int, int], ...]
    truth: frozenset[int]
    predicted: frozenset[int]
    ignored_truth: frozenset[int]
    ignored_predicted: frozenset[int]

    @property
    def detected(self) -> frozenset[int]:
        """Truth labels that were found."""
        return self.truth & {truth for truth, _ in self.pairs}

    @property
    def correct(self) -> frozenset[int]:
        """Predicted labels that are in the truth."""
        return self.predicted & {predicted for _, predicted in self.pairs}


@dataclass(frozen=True)
class Score:
    """Counts of one or several scans, and what they amount to; scores add up by ``+``.

    ``n_detected`` counts lesions of the truth, ``n_correct`` those of the prediction: one predicted lesion that covers
    two true ones makes two detected, one correct.
    """

    n_scans: int = 0
    n_truth: int = 0
    n_predicted: int = 0
    n_detected: int = 0
    n_correct: int = 0

    def __add__(self, other: "Score") -> "Score":
        return Score(*(a + b for a, b in zip(self.counts, other.counts, strict=True)))

    @property
    def counts(self) -> tuple[int, ...]:
        """The five counts in the order of the fields."""
        return self.n_scans, self.n_truth, self.n_predicted, self.n_detected, self.n_correct

    @property
    def n_missed(self) -> int:
        """Lesions of the truth that were not found."""
        return self.n_truth - self.n_detected

    @property
    def n_false(self) -> int:
        """Predicted lesions that are not in the truth."""
        return self.n_predicted - self.n_correct

    @property
    def sensitivity(self) -> float:
        """Part of the true lesions that was found; NaN without any."""
        return _ratio(self.n_detected, self.n_truth)

    @property
    def precision(self) -> float:
        """Part of the predicted lesions that is true; NaN without any."""
        return _ratio(self.n_correct, self.n_predicted)

    @property
    def dice(self) -> float:
        """Count Dice: (detected + correct) / (truth + predicted), the paper's similarity index; NaN without any."""
        return _ratio(self.n_detected + self.n_correct, self.n_truth + self.n_predicted)

    @property
    def false_per_scan(self) -> float:
        """False lesions a scan."""
        return _ratio(self.n_false, self.n_scans)


def match_lesions(
    truth: npt.NDArray[np.integer],
    predicted: npt.NDArray[np.integer],
    spacing: tuple[float, float, float],
    *,
    rule: MatchRule = "overlap",
    maximum_distance: float = 5.0,
    minimum_volume: float = 0.0,
) -> Matches:
    """Match the lesions of two label maps.

    Parameters
    ----------
    truth, predicted
        Shape (i, j, k), the same grid: 0 is background, every lesion has an integer of its own.
    spacing
        Voxel size in mm along the three axes.
    rule
        ``overlap``: any common voxel, as in the paper. ``distance``: one-to-one between centroids at most
        ``maximum_distance`` apart, as many pairs as possible, then the smallest sum of distances.
    maximum_distance
        mm, for ``distance``.
    minimum_volume
        mm3. Smaller true lesions count neither as missed nor, where found, as false.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"label maps of different shapes: {truth.shape} and {predicted.shape}")
    pairs = (
        _by_overlap(truth, predicted)
        if rule == "overlap"
        else _by_distance(truth, predicted, spacing, maximum_distance)
    )
    volumes = _volumes(truth, spacing)
    small = {label for label, volume in volumes.items() if volume < minimum_volume * (1 - 1e-6)}
    found = set(_volumes(predicted, spacing))
    of_counted = {p for t, p in pairs if t not in small}
    of_small = {p for t, p in pairs if t in small} - of_counted
    return Matches(
        pairs=tuple(sorted(pairs)),
        truth=frozenset(set(volumes) - small),
        predicted=frozenset(found - of_small),
        ignored_truth=frozenset(small),
        ignored_predicted=frozenset(of_small),
    )


def score_by_region(
    matches: Matches, truth_regions: Mapping[int, str], predicted_regions: Mapping[int, str]
) -> dict[str, Score]:
    """Return the score of one scan for all regions together (``all``) and for each region that occurs.

    True lesions, found or missed, count for their own region; predicted ones for theirs.
    """

    def score(truth: set[int], predicted: set[int]) -> Score:
        detected, correct = truth & matches.detected, predicted & matches.correct
        return Score(1, len(truth), len(predicted), len(detected), len(correct))

    scores = {ALL_REGIONS: score(set(matches.truth), set(matches.predicted))}
    in_region = {t: truth_regions.get(t, UNASSIGNED) for t in matches.truth}
    found_in = {p: predicted_regions.get(p, UNASSIGNED) for p in matches.predicted}
    for region in sorted({*in_region.values(), *found_in.values()}):
        scores[region] = score(
            {t for t, name in in_region.items() if name == region},
            {p for p, name in found_in.items() if name == region},
        )
    return scores


def _by_overlap(truth: npt.NDArray[np.integer], predicted: npt.NDArray[np.integer]) -> set[tuple[int, int]]:
    both = (truth > 0) & (predicted > 0)
    return set(zip(truth[both].tolist(), predicted[both].tolist(), strict=True))


def _by_distance(
    truth: npt.NDArray[np.integer],
    predicted: npt.NDArray[np.integer],
    spacing: tuple[float, float, float],
    maximum_distance: float,
) -> set[tuple[int, int]]:
    here, there = _centres(truth, spacing), _centres(predicted, spacing)
    if not here or not there:
        return set()
    gaps = np.linalg.norm(np.stack(list(here.values()))[:, None] - np.stack(list(there.values()))[None], axis=-1)
    # A pair too far apart costs more than any set of allowed ones, so the number of allowed pairs is the largest.
    too_far = 1 + maximum_distance * min(gaps.shape)
    rows, columns = linear_sum_assignment(np.where(gaps <= maximum_distance, gaps, too_far))
    labels = list(here), list(there)
    return {(labels[0][r], labels[1][c]) for r, c in zip(rows, columns, strict=True) if gaps[r, c] <= maximum_distance}


def _centres(labels: npt.NDArray[np.integer], spacing: tuple[float, float, float]) -> dict[int, npt.NDArray]:
    centres = centroids(labels, int(labels.max(initial=0))) * np.asarray(spacing)
    return {label: centre for label, centre in enumerate(centres, start=1) if not np.isnan(centre[0])}


def _volumes(labels: npt.NDArray[np.integer], spacing: tuple[float, float, float]) -> dict[int, float]:
    sizes = np.bincount(labels[labels > 0])
    return {int(label): float(sizes[label] * math.prod(spacing)) for label in np.flatnonzero(sizes)}


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
