"""Intervals of scores pooled over participants: bootstrap over participants, and what stands in where it has no width.

Every score here is a ratio of sums over scans. A bootstrap sample draws as many participants as there are, with
replacement, all scans of a participant together, and adds up anew; the interval is what lies between the percentiles
(Efron and Tibshirani 1993, chapter 13). Lesions of one participant, and sessions of one participant, are not
independent; participants are. Samples in which the ratio is not defined (no lesion drawn) are left out.

Where all samples agree (every lesion found, no false one, a single participant) that interval has no width and would
claim certainty. Proportions then take the interval of Wilson 1927, rates the exact one of Poisson counts (Garwood
1936). Both treat lesions as independent, and the table says which interval is shown.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special

PARTICIPANT = "participant_id"
_NO_WIDTH = 1e-12


@dataclass(frozen=True)
class Metric:
    """A ratio of weighted sums of counts.

    Attributes
    ----------
    name
        Of the column.
    numerator, denominator
        Weight of each count.
    kind
        ``proportion`` of independent things where the bootstrap has no width; ``rate`` of Poisson counts; ``mean``: no
        other interval than the bootstrap.
    things
        Independent things for each unit of the denominator: 0.5 for Dice, which counts every pair twice.
    """

    name: str
    numerator: Mapping[str, float]
    denominator: Mapping[str, float]
    kind: Literal["proportion", "rate", "mean"] = "proportion"
    things: float = 1.0

    def columns(self) -> tuple[str, str, str, str]:
        """Return the names of the columns for the value, both ends of the interval, and its method."""
        return self.name, f"{self.name}_low", f"{self.name}_high", f"{self.name}_interval"


@dataclass(frozen=True)
class Interval:
    """Both ends of an interval, and the method: ``bootstrap``, ``wilson``, ``poisson`` or ``none``."""

    low: float
    high: float
    method: str


NO_INTERVAL = Interval(math.nan, math.nan, "none")


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made.

    Attributes
    ----------
    resamples
        Bootstrap samples; 0 leaves the bootstrap out (Wilson and Poisson intervals only).
    seed
        Of the draw: the same seed and participants give the same intervals to the last bit.
    level
        Coverage.
    """

    resamples: int = 2000
    seed: int = 0
    level: float = 0.95

    def __post_init__(self) -> None:
        if self.resamples < 0 or not 0 < self.level < 1:
            raise ValueError(f"no interval of level {self.level} from {self.resamples} resamples")

    def weights(self, n: int) -> npt.NDArray[np.float64]:
        """Return how often each of n participants is in each bootstrap sample, shape (resamples, n)."""
        return _weights(n, self.resamples, self.seed)

    def percentiles(self, values: npt.NDArray[np.floating]) -> tuple[npt.NDArray, npt.NDArray]:
        """Return both ends of the interval of bootstrap values, shape (resamples, ...); not-a-number is left out."""
        ordered = np.sort(np.where(np.isfinite(values), values, math.nan), axis=0)  # not-a-number comes last
        n_valid = np.isfinite(ordered).sum(axis=0)
        low, high = (_quantile(ordered, n_valid, q) for q in ((1 - self.level) / 2, (1 + self.level) / 2))
        return low, high


def _quantile(ordered: npt.NDArray[np.floating], n_valid: npt.NDArray[np.intp], q: float) -> npt.NDArray[np.floating]:
    """Linear quantile along axis 0 of the first ``n_valid`` of sorted values; not-a-number where there are none."""
    position = q * np.maximum(n_valid - 1, 0)
    low = np.floor(position).astype(np.intp)
    high = np.minimum(low + 1, np.maximum(n_valid - 1, 0))
    below, above = (np.take_along_axis(ordered, index[None], axis=0)[0] for index in (low, high))
    return below + (position - low) * (above - below)


@lru_cache(maxsize=64)
def _weights(n: int, resamples: int, seed: int) -> npt.NDArray[np.float64]:
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)
    drawn.setflags(write=False)
    return drawn


def wilson_interval(successes: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Return the score interval of a proportion (Wilson 1927); not a number without any trial."""
    if not n:
        return math.nan, math.nan
    z = float(special.ndtri((1 + level) / 2))
    p = successes / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(max(0.0, p * (1 - p)) / n + z**2 / (4 * n**2))
    # Rounding must not push an end past what is possible: all found has an upper end of exactly 1.
    low = 0.0 if successes <= 0 else max(0.0, centre - half)
    high = 1.0 if successes >= n else min(1.0, centre + half)
    return low, high


def poisson_interval(events: float, exposure: float, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval of a rate of Poisson counts (Garwood 1936); not a number without exposure."""
    if not exposure:
        return math.nan, math.nan
    low = special.gammaincinv(events, (1 - level) / 2) if events > 0 else 0.0
    return float(low / exposure), float(special.gammaincinv(events + 1, (1 + level) / 2) / exposure)


def pool(
    counts: pd.DataFrame, by: Sequence[str], metrics: Sequence[Metric], bootstrap: Bootstrap | None = None
) -> pd.DataFrame:
    """Add up counts over scans, and give every ratio its interval.

    Parameters
    ----------
    counts
        One row a scan and group: ``participant_id``, the columns of ``by``, and counts (every other numeric column).
        A scan without anything to count in a group must have its row of zeros, or the group does not know of it.
    by
        Columns that name a group; groups come in the order of their first row.
    metrics
        What to compute.
    bootstrap
        How intervals are made; None for the defaults of :class:`Bootstrap`.

    Returns
    -------
    One row a group: ``by``, ``n_participants``, the sums, and for each metric its value, both ends of its interval
    and the method. Neither the order of the rows nor that of the participants matters.
    """
    bootstrap = bootstrap or Bootstrap()
    names = [c for c in counts.columns if c not in (PARTICIPANT, *by) and pd.api.types.is_numeric_dtype(counts[c])]
    groups = counts.groupby(list(by), sort=False)
    # Sorted by participant, so that the bootstrap does not depend on the order of the rows.
    person, people = pd.factorize(counts[PARTICIPANT], sort=True)
    place = groups.ngroup().to_numpy()
    sums = np.zeros((groups.ngroups, len(people), len(names)))
    np.add.at(sums, (place, person), counts[names].to_numpy(np.float64))
    present = np.zeros(sums.shape[:2], bool)
    present[place, person] = True

    pooled = counts[list(by)].iloc[np.unique(place, return_index=True)[1]].reset_index(drop=True)
    pooled["n_participants"] = present.sum(axis=1)
    for column, name in enumerate(names):
        pooled[name] = sums[..., column].sum(axis=1).astype(counts[name].dtype)
    for metric in metrics:
        over, under = (
            np.sum([weight * sums[..., names.index(name)] for name, weight in part.items()], axis=0)
            for part in (metric.numerator, metric.denominator)
        )
        intervals = _intervals(over, under, present, metric, bootstrap)
        with np.errstate(invalid="ignore", divide="ignore"):
            value = np.where(under.any(axis=1), over.sum(axis=1) / under.sum(axis=1), math.nan)
        columns = (value, [i.low for i in intervals], [i.high for i in intervals], [i.method for i in intervals])
        pooled = pooled.assign(**dict(zip(metric.columns(), columns, strict=True)))
    return pooled


def ratio_interval(
    numerator: npt.NDArray[np.floating], denominator: npt.NDArray[np.floating], metric: Metric, bootstrap: Bootstrap
) -> Interval:
    """Return the interval of sum(numerator) / sum(denominator), where both have one value a participant, shape (n,)."""
    over, under = (np.asarray(part, np.float64)[None] for part in (numerator, denominator))
    return _intervals(over, under, np.ones(over.shape, bool), metric, bootstrap)[0]


def _intervals(
    over: npt.NDArray[np.float64],
    under: npt.NDArray[np.float64],
    present: npt.NDArray[np.bool_],
    metric: Metric,
    bootstrap: Bootstrap,
) -> list[Interval]:
    """Return the interval of each group, from sums and presence of shape (groups, participants)."""
    low, high = np.full((2, len(over)), math.nan)
    patterns, pattern = np.unique(present, axis=0, return_inverse=True)
    for index, people in enumerate(patterns):  # groups of the same participants share their bootstrap samples
        if bootstrap.resamples and people.sum() > 1:
            here = np.flatnonzero(pattern.ravel() == index)
            weights = bootstrap.weights(int(people.sum()))
            with np.errstate(invalid="ignore", divide="ignore"):
                samples = (weights @ over[here][:, people].T) / (weights @ under[here][:, people].T)
            low[here], high[here] = bootstrap.percentiles(samples)
    return [
        _or_fallback(*row, metric, bootstrap.level)
        for row in zip(low, high, over.sum(axis=1), under.sum(axis=1), strict=True)
    ]


def _or_fallback(low: float, high: float, total: float, whole: float, metric: Metric, level: float) -> Interval:
    if not whole:
        return NO_INTERVAL
    if high - low > _NO_WIDTH or (metric.kind == "mean" and not math.isnan(low)):
        return Interval(float(low), float(high), "bootstrap")
    if metric.kind == "proportion":
        return Interval(*wilson_interval(total * metric.things, whole * metric.things, level), "wilson")
    if metric.kind == "rate":
        return Interval(*poisson_interval(total, whole, level), "poisson")
    return NO_INTERVAL
