"""Fitting the candidate classifier: candidates of simulated scans, and an additive logistic model."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from mbseg_bids.detection.candidates.classifier import CandidateClassifier, Curve
from mbseg_bids.detection.candidates.features import FEATURES, REGION_ORDER, AskNetwork
from mbseg_bids.detection.lesions.segment import segment_lesions, survivor_features
from mbseg_bids.detection.rules.lesion_view import Scan
from mbseg_bids.settings import DetectionSettings
from mbseg_bids.simulation.case import Case
from mbseg_bids.simulation.mimics import MIMICS, ignored

N_KNOTS = 6
"""Points of a curve."""
STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Inverse strengths of the ridge penalty to choose from."""
LESS_PENALISED = {"neighbourhood": 9.0}
"""The penalty on the curve of such a feature is so many times weaker: it is a network's answer, not a bare measure."""
GIVEN_KNOTS = {"region": tuple(map(float, range(len(REGION_ORDER))))}
"""Points of the curves of features whose values are not spread evenly."""


def collect_candidates(
    case: Case, probability: npt.NDArray[np.float32], settings: DetectionSettings, ask: AskNetwork | None = None
) -> pd.DataFrame:
    """Measure what ratio rule and reader's criteria leave of a simulated scan, and compare it with the truth.

    Parameters
    ----------
    case
        The scan.
    probability
        Shape (I, J, K): of the network, see :func:`mbseg_bids.learning.stages.scan_scores.probability_map`.
    settings
        Of detection; without ``reader_criteria``, what the ratio rule leaves.
    ask
        The network that sees neighbourhoods, see :func:`mbseg_bids.detection.candidates.features.lesion_features`.

    Returns
    -------
    One row for each that is left, but for those that share a voxel with what training ignores: the features,
    ``is_microbleed`` (it shares a voxel with a true one), ``mimic`` (name of the simulated mimic that it covers most
    of, or empty) and ``volume_mm3``.
    """
    result = segment_lesions(
        *(case.stack, probability, case.brain, case.regions, case.spacing, case.affine, settings), tissue=case.tissue
    )
    scan = Scan(case.stack, probability, case.brain, case.tissue, case.spacing)
    rows = []
    features = survivor_features(scan, result.candidates, result.survivors, result.evidence_of_survivors, ask)
    for label, box in enumerate(ndimage.find_objects(result.survivors), start=1):
        if box is None or result.evidence_of_survivors[label].criteria.rejected_by:
            continue
        own = result.survivors[box] == label
        if ignored(case.mimics[box][own]).any() and not (case.lesions[box][own] > 0).any():
            continue
        truth = {
            "is_microbleed": bool((case.lesions[box][own] > 0).any()),
            "mimic": mimic_among(case.mimics[box][own]),
            "volume_mm3": float(own.sum() * np.prod(case.spacing)),
        }
        rows.append(features[label] | truth)
    return pd.DataFrame(rows, columns=[*FEATURES, "is_microbleed", "mimic", "volume_mm3"])


def mimic_among(labels: npt.NDArray[np.integer]) -> str:
    """Return the name of the mimic that most voxels of these labels are of (:data:`MIMICS`); empty if none is."""
    counts = np.bincount(labels.ravel(), minlength=2)[1:]
    return MIMICS[int(counts.argmax()) + 1] if counts.any() else ""


def fit_candidate_classifier(
    features: pd.DataFrame,
    is_microbleed: npt.NDArray[np.bool_],
    groups: npt.NDArray[np.integer],
    *,
    lesions_per_scan: float,
    n_scans: int,
    names: Sequence[str] = tuple(FEATURES),
) -> tuple[CandidateClassifier, npt.NDArray[np.float64]]:
    """Fit the model, the strength of its penalty by cross-validation over groups.

    Training scans hold more microbleeds than people do, for many examples; in the fit each then counts less, so that
    a scan has ``lesions_per_scan`` of them on average. Its mimics count as they are: probabilities hold for a cohort.

    Parameters
    ----------
    features
        One row a candidate, columns as in :data:`FEATURES`; NaN where not measured.
    is_microbleed, groups
        For each row: the truth, and the anatomy; no anatomy is on both sides of a fold.
    lesions_per_scan
        Mean number of microbleeds of a scan in the cohort.
    n_scans
        Scans that the rows come from.
    names
        Features to use.

    Returns
    -------
    The model, and for each row the probability by the models of the folds that did not see its anatomy.

    Raises
    ------
    ValueError
        If there are no microbleeds, no mimics, or fewer than two anatomies.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold

    is_microbleed = np.asarray(is_microbleed, bool)
    if is_microbleed.all() or not is_microbleed.any() or len(np.unique(groups)) < 2:
        raise ValueError("the candidate classifier needs microbleeds, mimics, and at least two anatomies")
    knots = {name: _knots(name, features[name].to_numpy(float)) for name in names}
    design = np.hstack([_scale(name) * _hats(features[name].to_numpy(float), knots[name]) for name in names])
    weights = weights_of_rows(is_microbleed, lesions_per_scan * n_scans)
    folds = list(GroupKFold(min(9, len(np.unique(groups)))).split(design, groups=groups))

    def fit(rows: npt.NDArray[np.integer], strength: float) -> LogisticRegression:
        model = LogisticRegression(C=strength, max_iter=5000, tol=1e-8)
        return model.fit(design[rows], is_microbleed[rows], sample_weight=weights[rows])

    out_of_fold = {}
    for strength in STRENGTHS:
        probability = np.empty(len(design))
        for seen, unseen in folds:
            probability[unseen] = fit(seen, strength).predict_proba(design[unseen])[:, 1]
        out_of_fold[strength] = probability
    best = min(STRENGTHS, key=lambda strength: weighted_log_loss(is_microbleed, out_of_fold[strength], weights))
    model = fit(np.arange(len(design)), best)
    facts = {"penalty": best, "log_loss": weighted_log_loss(is_microbleed, out_of_fold[best], weights)}
    facts |= {"microbleeds": int(is_microbleed.sum()), "mimics": int((~is_microbleed).sum()), "scans": n_scans}
    facts["lesions_per_scan"] = lesions_per_scan
    return _to_curves(model, knots, features, weights, facts), out_of_fold[best]


def weights_of_rows(truth: npt.NDArray[np.bool_], microbleeds: float) -> npt.NDArray[np.float64]:
    """Return what each row counts, so that microbleeds are as many together; 1 for anything else."""
    return np.where(truth, microbleeds / max(1, truth.sum()), 1.0)


def _knots(name: str, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if name in GIVEN_KNOTS:
        return np.array(GIVEN_KNOTS[name])
    known = values[np.isfinite(values)]
    return np.unique(np.quantile(known, np.linspace(0.02, 0.98, N_KNOTS)).round(4))


def _scale(name: str) -> float:
    """Return what the basis is multiplied by: a ridge penalty is weaker on the coefficients of a larger basis."""
    return math.sqrt(LESS_PENALISED.get(name, 1.0))


def _hats(values: npt.NDArray[np.float64], knots: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the basis of piecewise linear functions, shape (N, knots); a row of zeros where a value is missing."""
    basis = np.stack([np.interp(values, knots, unit) for unit in np.eye(len(knots))], axis=1)
    return np.where(np.isfinite(values)[:, None], basis, 0.0)


def _to_curves(model, knots, features, weights, facts) -> CandidateClassifier:
    """Turn coefficients into curves whose weighted mean over the candidates is 0: what a missing feature adds."""
    intercept, curves, start = float(model.intercept_[0]), {}, 0
    for name, at in knots.items():
        log_odds = _scale(name) * model.coef_[0, start : start + len(at)]
        start += len(at)
        values = features[name].to_numpy(float)
        known = np.isfinite(values)
        centre = np.average(np.interp(values[known], at, log_odds), weights=weights[known])
        intercept += centre
        curves[name] = Curve(tuple(at.tolist()), tuple((log_odds - centre).round(5).tolist()))
    return CandidateClassifier(round(intercept, 5), curves, facts)


def weighted_log_loss(
    truth: npt.NDArray[np.bool_], probability: npt.NDArray[np.float64], weights: npt.NDArray
) -> float:
    """Return the mean of the negative logarithm of the probability given to what is true, each row by its weight."""
    p = np.clip(np.where(truth, probability, 1 - probability), 1e-6, 1)
    return float(np.average(-np.log(p), weights=weights))
