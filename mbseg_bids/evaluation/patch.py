"""Scores of a classifier of single patches."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mbseg_bids.clinical.size import SIZE_CLASSES, size_class
from mbseg_bids.evaluation.intervals import Bootstrap, Metric, pool


@dataclass(frozen=True)
class PatchScores:
    """How well patches are told apart at a probability of 0.5.

    Attributes
    ----------
    n
        Patches.
    accuracy, sensitivity, specificity
        Fractions; not a number where a class is absent.
    auc
        Area under the receiver operating characteristic: the probability that a positive ranks above a negative.
    by_kind
        Fraction classified rightly, for each kind of patch.
    """

    n: int
    accuracy: float
    sensitivity: float
    specificity: float
    auc: float
    by_kind: dict[str, float] = field(default_factory=dict)

    def as_row(self) -> dict[str, float]:
        """Return the scores as flat columns."""
        row = {"accuracy": self.accuracy, "sensitivity": self.sensitivity, "specificity": self.specificity}
        return row | {"auc": self.auc} | {f"right_{kind}": value for kind, value in self.by_kind.items()}

    def __str__(self) -> str:
        kinds = " ".join(f"{kind} {value:.3f}" for kind, value in self.by_kind.items())
        return f"accuracy {self.accuracy:.4f} auc {self.auc:.4f} ({kinds})"


def score_patches(
    probability: npt.NDArray[np.floating], positive: npt.NDArray[np.bool_], kinds: npt.NDArray[np.str_]
) -> PatchScores:
    """Score probabilities (N,) against the truth (N,); ``kinds`` (N,) names the group each patch is also scored in."""
    right = (probability >= 0.5) == positive
    return PatchScores(
        n=len(probability),
        accuracy=_mean(right),
        sensitivity=_mean(right[positive]),
        specificity=_mean(right[~positive]),
        auc=_auc(probability, positive),
        by_kind={str(kind): _mean(right[kinds == kind]) for kind in np.unique(kinds)},
    )


def _auc(probability: npt.NDArray[np.floating], positive: npt.NDArray[np.bool_]) -> float:
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return float("nan")
    _, inverse, counts = np.unique(probability, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # ties share their mean rank
    rank_sum = ranks[inverse][positive].sum()
    return float((rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def _mean(values: npt.NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def patch_table(
    probability: npt.NDArray[np.floating],
    positive: npt.NDArray[np.bool_],
    kinds: npt.NDArray[np.str_],
    participants: npt.NDArray[np.integer],
    volumes: npt.NDArray[np.floating],
    *,
    threshold: float = 0.5,
    bootstrap: Bootstrap | None = None,
) -> pd.DataFrame:
    """Score patches as Dadar et al. 2022 ("Performance validation", equations 1-3), with intervals over participants.

    Parameters
    ----------
    probability, positive
        Of each patch, shape (N,); positive is the truth.
    kinds
        What each patch is of, shape (N,): specificity is also given for each kind of negative.
    participants
        Whose patch it is, shape (N,).
    volumes
        mm3 of the lesion of a positive, shape (N,): sensitivity is also given for each size class.
    threshold
        Smallest probability that counts as positive.
    bootstrap
        How intervals are made.

    Returns
    -------
    One row for each measure (accuracy, balanced_accuracy, sensitivity, specificity, auc) and group of patches.
    Accuracy depends on how many negatives there are for each positive; balanced accuracy, the mean of sensitivity and
    specificity, does not.
    """
    bootstrap = bootstrap or Bootstrap()
    right = (probability >= threshold) == positive
    classes = np.array([size_class(float(v)) for v in volumes])
    groups: list[tuple[str, str, npt.NDArray[np.bool_]]] = [
        ("accuracy", "all", np.ones(len(right), bool)),
        ("sensitivity", "all", positive),
        *(("sensitivity", name, positive & (volumes > 0) & (classes == name)) for name in SIZE_CLASSES),
        ("specificity", "all", ~positive),
        *(("specificity", str(kind), ~positive & (kinds == kind)) for kind in np.unique(kinds[~positive])),
    ]
    counts = pd.concat(
        [
            pd.DataFrame(
                {"participant_id": participants[chosen], "measure": measure, "patches": name}
                | {"n_patches": 1, "n_right": right[chosen].astype(int)}
            )
            for measure, name, chosen in groups
        ]
    )
    table = pool(counts, ["measure", "patches"], [_RIGHT], bootstrap)
    person = np.unique(participants, return_inverse=True)[1]
    whole = {"patches": "all", "n_participants": int(person.max(initial=-1)) + 1, "n_patches": len(right)}
    extra = [
        whole | {"measure": "balanced_accuracy"} | _balanced(right, positive, person, bootstrap),
        whole | {"measure": "auc"} | _auc_interval(probability, positive, person, bootstrap),
    ]
    return pd.concat([table, pd.DataFrame(extra)], ignore_index=True).astype({"n_right": "Int64"})


_RIGHT = Metric("value", {"n_right": 1}, {"n_patches": 1})


def _balanced(
    right: npt.NDArray[np.bool_], positive: npt.NDArray[np.bool_], person: npt.NDArray[np.intp], bootstrap: Bootstrap
) -> dict[str, float | str]:
    n = int(person.max(initial=-1)) + 1
    parts = [(positive & right, positive), (~positive & right, ~positive)]
    sums = [[np.bincount(person[chosen], minlength=n).astype(float) for chosen in part] for part in parts]

    def balanced(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.mean([(weights @ over) / (weights @ under) for over, under in sums], axis=0)

    return _valued(balanced, n, bootstrap)


def _auc_interval(
    probability: npt.NDArray[np.floating],
    positive: npt.NDArray[np.bool_],
    person: npt.NDArray[np.intp],
    bootstrap: Bootstrap,
) -> dict[str, float | str]:
    """Area under the curve and its interval, from the pairs that each two participants' patches make."""
    n = int(person.max(initial=-1)) + 1
    n_positive, n_negative = (
        np.bincount(person[chosen], minlength=n).astype(float) for chosen in (positive, ~positive)
    )
    # won[p, q]: pairs of a positive of p and a negative of q in which the positive ranks higher; ties count half.
    won = np.zeros((n, n))
    for q in range(n):
        negatives = np.sort(probability[~positive & (person == q)])
        below, upto = (np.searchsorted(negatives, probability[positive], side) for side in ("left", "right"))
        won[:, q] = np.bincount(person[positive], weights=(below + upto) / 2, minlength=n)

    def area(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        with np.errstate(invalid="ignore", divide="ignore"):
            return ((weights @ won) * weights).sum(axis=-1) / ((weights @ n_positive) * (weights @ n_negative))

    return _valued(area, n, bootstrap)


def _valued(
    measure: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]], n: int, bootstrap: Bootstrap
) -> dict[str, float | str]:
    """Return value and interval of a measure of weighted participants; ``measure`` takes weights (samples, n)."""
    value = float(measure(np.ones((1, n)))[0])
    low: Any = np.nan
    high: Any = np.nan
    if bootstrap.resamples and n > 1 and not np.isnan(value):
        low, high = bootstrap.percentiles(measure(bootstrap.weights(n)))
    method = "none" if np.isnan(low) else "bootstrap"
    return {"value": value, "value_low": float(low), "value_high": float(high), "value_interval": method}
