"""Agreement of two readers, or of two methods: neither is the truth, so every number is the same both ways round."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from mbseg_bids.evaluation.intervals import PARTICIPANT, Bootstrap, Metric, pool
from mbseg_bids.evaluation.lesion import ALL_REGIONS, MatchRule, match_lesions
from mbseg_bids.evaluation.pairs import Lesions, crop_to_lesions, pair_trees, read_pair
from mbseg_bids.evaluation.trees import REGION_ROWS, scan_columns, smallest_volume
from mbseg_bids.imaging.labels import REGIONS, UNASSIGNED

POSITIVE_AGREEMENT = Metric(
    "positive_agreement",
    {"n_first_agreed": 1, "n_second_agreed": 1},
    {"n_first": 1, "n_second": 1},
    things=0.5,
)
"""Dice index of the numbers of lesions. Lesions that neither saw cannot be counted, so there is no kappa of lesions;
as their number grows, kappa goes to this value (Hripcsak and Rothschild 2005)."""
SCAN_AGREEMENT = Metric("scan_agreement", {"n_both": 1, "n_neither": 1}, {"n_scans": 1})


@dataclass(frozen=True, eq=False)
class Agreement:
    """Agreement of two trees.

    Attributes
    ----------
    counts
        One row for each scan and region.
    missing
        (participant, session) of scans that only one of the trees has.
    """

    counts: pd.DataFrame
    missing: tuple[tuple[str, str], ...]

    def pooled(self, bootstrap: Bootstrap | None = None) -> pd.DataFrame:
        """Return one row a region: agreement on lesions, on presence (Cohen's kappa) and on counts, with intervals.

        Cohen's kappa is of the presence of at least one lesion in a scan (or in a region of it), which both readers
        judge of every scan. The concordance of the numbers of lesions is that of Lin 1989.
        """
        bootstrap = bootstrap or Bootstrap()
        metrics = (POSITIVE_AGREEMENT, SCAN_AGREEMENT)
        plain = self.counts.drop(columns=["sum_of_squares_first", "sum_of_squares_second", "sum_of_products"])
        pooled = pool(plain, ["region"], metrics, bootstrap)
        for name, measure in (("kappa", _kappa), ("concordance", _concordance)):
            values = [_interval(self.counts[self.counts["region"] == r], measure, bootstrap) for r in pooled["region"]]
            columns = (name, f"{name}_low", f"{name}_high", f"{name}_interval")
            pooled = pooled.assign(**dict(zip(columns, map(list, zip(*values, strict=True)), strict=True)))
        something = (pooled["n_first"] > 0) | (pooled["n_second"] > 0)
        return pooled[something | pooled["region"].isin((ALL_REGIONS, *REGIONS.values()))].reset_index(drop=True)


def compare_readers(
    first_tree: Path,
    second_tree: Path,
    *,
    rule: MatchRule = "distance",
    maximum_distance: float = 5.0,
    minimum_volume: float = 0.0,
    minimum_diameter: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> Agreement:
    """Compare two derivative trees of lesion segmentations.

    A lesion counts if it reaches the smallest size, or matches one of the other tree that does. Arguments and errors
    as in :func:`mbseg_bids.evaluation.trees.score_trees`.
    """
    pairs, missing = pair_trees(first_tree, second_tree)
    _, missing_here = pair_trees(second_tree, first_tree)
    limit = smallest_volume(minimum_volume, minimum_diameter)
    rows = []
    for done, pair in enumerate(pairs, start=1):
        first, second = read_pair(pair)
        columns = scan_columns(pair, first.labels)
        first, second = crop_to_lesions(first, second)
        rows += [columns | row for row in _count(first, second, rule, maximum_distance, limit)]
        if progress:
            progress(done, len(pairs))
    return Agreement(pd.DataFrame(rows), tuple(sorted({*missing, *missing_here})))


def _count(
    first: Lesions, second: Lesions, rule: MatchRule, maximum_distance: float, minimum_volume: float
) -> list[dict]:
    pairs = match_lesions(
        first.labels.data, second.labels.data, first.labels.spacing, rule=rule, maximum_distance=maximum_distance
    ).pairs
    large = [_large(lesions, minimum_volume) for lesions in (first, second)]
    counted = [pair for pair in pairs if pair[0] in large[0] or pair[1] in large[1]]
    agreed = {a for a, _ in counted}, {b for _, b in counted}
    sides = [
        {label: lesions.regions.get(label, UNASSIGNED) for label in large[side] | agreed[side]}
        for side, lesions in enumerate((first, second))
    ]
    rows = []
    for region in REGION_ROWS:
        chosen = [{k for k, name in side.items() if region in (ALL_REGIONS, name)} for side in sides]
        a, b = map(len, chosen)
        rows.append(
            {
                "region": region,
                "n_scans": 1,
                "n_first": a,
                "n_second": b,
                "n_first_agreed": len(chosen[0] & agreed[0]),
                "n_second_agreed": len(chosen[1] & agreed[1]),
                "n_both": int(bool(a and b)),
                "n_first_alone": int(bool(a and not b)),
                "n_second_alone": int(bool(b and not a)),
                "n_neither": int(not a and not b),
                "sum_of_squares_first": a * a,
                "sum_of_squares_second": b * b,
                "sum_of_products": a * b,
            }
        )
    return rows


def _large(lesions: Lesions, minimum_volume: float) -> set[int]:
    sizes = np.bincount(lesions.labels.data[lesions.labels.data > 0]) * lesions.labels.voxel_volume
    return set(np.flatnonzero((sizes > 0) & (sizes >= minimum_volume * (1 - 1e-6))).tolist())


_Sums = dict[str, npt.NDArray[np.float64]]


def _kappa(sums: _Sums) -> npt.NDArray[np.float64]:
    """Cohen 1960; not a number where both say the same of every scan by chance alone (all present, or all absent)."""
    n = sums["n_scans"]
    observed = (sums["n_both"] + sums["n_neither"]) / n
    yes = (sums["n_both"] + sums["n_first_alone"]) / n, (sums["n_both"] + sums["n_second_alone"]) / n
    expected = yes[0] * yes[1] + (1 - yes[0]) * (1 - yes[1])
    return np.where(expected < 1, (observed - expected) / np.where(expected < 1, 1 - expected, 1), math.nan) + 0.0


def _concordance(sums: _Sums) -> npt.NDArray[np.float64]:
    """Lin 1989: 2 covariance / (variance + variance + squared difference of means); not a number if nothing varies."""
    n = sums["n_scans"]
    mean = sums["n_first"] / n, sums["n_second"] / n
    variance = sums["sum_of_squares_first"] / n - mean[0] ** 2, sums["sum_of_squares_second"] / n - mean[1] ** 2
    whole = variance[0] + variance[1] + (mean[0] - mean[1]) ** 2
    covariance = sums["sum_of_products"] / n - mean[0] * mean[1]
    return np.where(whole > 1e-12, 2 * covariance / np.where(whole > 1e-12, whole, 1), math.nan)


def _interval(
    counts: pd.DataFrame, measure: Callable[[_Sums], npt.NDArray[np.float64]], bootstrap: Bootstrap
) -> tuple[float, float, float, str]:
    """Return value, both ends of the bootstrap interval over participants, and the method."""
    sums = counts.groupby(PARTICIPANT, sort=True).sum(numeric_only=True)
    value = float(measure({name: np.array([sums[name].sum()], float) for name in sums})[0])
    if math.isnan(value) or not bootstrap.resamples or len(sums) < 2:
        return value, math.nan, math.nan, "none"
    weights = bootstrap.weights(len(sums))
    low, high = bootstrap.percentiles(measure({name: weights @ sums[name].to_numpy(float) for name in sums}))
    if not high - low > 1e-12:  # no width would claim certainty
        return value, math.nan, math.nan, "none"
    return value, float(low), float(high), "bootstrap"
