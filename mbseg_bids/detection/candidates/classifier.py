"""The candidate classifier: every lesion that the intensity ratio rule left is judged by its shape and surroundings.

An additive logistic model (a generalised additive model, Hastie & Tibshirani 1990): the log odds that a candidate is a
microbleed are the sum of one curve for each feature of :mod:`mbseg_bids.detection.candidates.features`. The curves are
straight lines between a few points, kept in a JSON file that can be read and drawn; the sum of those that belong
together says why a candidate was rejected. A feature that cannot be measured adds nothing.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mbseg_bids.data import CANDIDATE_CLASSIFIER
from mbseg_bids.detection.candidates.features import FEATURES, AskNetwork, Features
from mbseg_bids.errors import UnreadableDataError

MODEL_FILE = CANDIDATE_CLASSIFIER
"""The model that comes with the package."""
NETWORK_FILE = "lesion-network.safetensors"
"""Beside a model: the weights of the network that gives one of its features."""

DEFINITE, POSSIBLE, MIMIC = "definite", "possible", "mimic"
"""Certainty of a candidate; the first two in the words of the Microbleed Anatomical Rating Scale (Gregoire 2009)."""


@dataclass(frozen=True)
class Verdict:
    """What the candidate classifier says of one candidate.

    Attributes
    ----------
    probability
        That it is a microbleed: calibrated on simulated scans with as many microbleeds as in a cohort.
    certainty
        ``definite``, ``possible`` or ``mimic``.
    against
        For a mimic, the reason that weighs most, by the names in :data:`FEATURES`; else empty.
    """

    probability: float
    certainty: str
    against: str = ""


@dataclass(frozen=True)
class Curve:
    """Contribution of a feature to the log odds: linear between points, constant beyond them, 0 where not measured."""

    at: tuple[float, ...]
    log_odds: tuple[float, ...]

    def __call__(self, value: float) -> float:
        """Return the contribution of one value."""
        return 0.0 if math.isnan(value) else float(np.interp(value, self.at, self.log_odds))


@dataclass(frozen=True)
class CandidateClassifier:
    """The model.

    Attributes
    ----------
    intercept
        Log odds of a candidate whose features all contribute nothing.
    curves
        By feature.
    training
        Where it comes from, as plain values.
    network_sha256
        Of the file of the network that gives the feature ``neighbourhood``; empty: the model has no such feature.
    ask
        That network, see :func:`mbseg_bids.detection.candidates.features.lesion_features`.
    """

    intercept: float
    curves: Mapping[str, Curve]
    training: Mapping[str, Any] = field(default_factory=dict)
    network_sha256: str = ""
    ask: AskNetwork | None = field(default=None, compare=False, repr=False)

    def probability(self, features: Features) -> float:
        """Return the probability that a candidate with these features is a microbleed."""
        log_odds = self.intercept + math.fsum(curve(features[name]) for name, curve in self.curves.items())
        return 1 / (1 + math.exp(-max(-700.0, min(700.0, log_odds))))

    def reasons(self, features: Features) -> dict[str, float]:
        """Return the summed contribution of the features of each reason, lowest first."""
        sums: dict[str, list[float]] = {reason: [] for reason in FEATURES.values()}
        for name, curve in self.curves.items():
            sums[FEATURES[name]].append(curve(features[name]))
        return dict(sorted(((reason, math.fsum(parts)) for reason, parts in sums.items()), key=lambda item: item[1]))

    def judge(self, features: Features, *, threshold: float, definite: float) -> Verdict:
        """Return the verdict on a candidate.

        Parameters
        ----------
        features
            Of :func:`mbseg_bids.detection.candidates.features.lesion_features`.
        threshold, definite
            Smallest probability of a possible and of a definite microbleed.
        """
        probability = self.probability(features)
        if probability >= threshold:
            return Verdict(probability, DEFINITE if probability >= definite else POSSIBLE)
        return Verdict(probability, MIMIC, next(iter(self.reasons(features))))

    def to_json(self) -> str:
        """Return the model as text that :func:`load_candidate_classifier` reads."""
        curves = {name: {"at": list(c.at), "log_odds": list(c.log_odds)} for name, c in self.curves.items()}
        content = {"training": self.training, "network_sha256": self.network_sha256, "intercept": self.intercept}
        return json.dumps({**content, "curves": curves}, indent=1) + "\n"


def load_candidate_classifier(path: Path = MODEL_FILE) -> CandidateClassifier:
    """Read a model with its network.

    Raises
    ------
    UnreadableDataError
        As :func:`read_candidate_classifier`; or if its network is missing or another.
    """
    model = read_candidate_classifier(path)
    return replace(model, ask=_network(Path(path).parent / NETWORK_FILE, model.network_sha256))


def read_candidate_classifier(path: Path = MODEL_FILE) -> CandidateClassifier:
    """Read a model without its network: what it was made from, its curves.

    Raises
    ------
    UnreadableDataError
        If the file is missing, no such model, or of features that this version does not measure.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        curves = {name: _read_curve(curve) for name, curve in content["curves"].items()}
        if unknown := set(curves) - set(FEATURES):
            raise ValueError(f"features {', '.join(sorted(unknown))} are unknown")
        return CandidateClassifier(
            float(content["intercept"]), curves, content["training"], content.get("network_sha256", "")
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableDataError(
            f"cannot read the model of the candidate classifier {path}: {error}",
            "install the package again, or switch it off with --no-false-positive-reduction",
        ) from error


def _network(path: Path, sha256: str) -> AskNetwork | None:
    if not sha256:
        return None
    from mbseg_bids.detection.candidates.network import lesion_log_odds, load_lesion_networks

    return partial(lesion_log_odds, load_lesion_networks(path, sha256))


def _read_curve(content: Mapping[str, Any]) -> Curve:
    at, log_odds = (tuple(float(v) for v in content[key]) for key in ("at", "log_odds"))
    if len(at) != len(log_odds) or not at or list(at) != sorted(at) or not all(map(math.isfinite, at + log_odds)):
        raise ValueError("a curve is not one")
    return Curve(at, log_odds)
