"""Scores of a classifier of single patches."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


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
