"""A candidate classifier carried over to other scans: its curves keep their shape, three numbers are fitted.

To fit every curve anew takes hundreds of microbleeds; with fewer, the curves of an earlier fit to many scans rank
candidates of new scans better than new ones do. What has to change with the scans, and with the networks that answer,
is how much the curves weigh together, how much the networks' answer weighs, and where the log odds start.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit

from mbseg_bids.detection.candidates.classifier import CandidateClassifier, Curve
from mbseg_bids.detection.candidates.features import CLIP_LOG_ODDS
from mbseg_bids.learning.candidates.classifier import weighted_log_loss, weights_of_rows

NETWORKS = "neighbourhood"
"""The feature that the networks of the candidate classifier give."""
ENDS = (-CLIP_LOG_ODDS, CLIP_LOG_ODDS)


def adjust_candidate_classifier(
    model: CandidateClassifier,
    features: pd.DataFrame,
    is_microbleed: npt.NDArray[np.bool_],
    groups: npt.NDArray[np.integer],
    *,
    lesions_per_scan: float,
    n_scans: float,
    usual: tuple[npt.NDArray[np.bool_], float] | None = None,
) -> tuple[CandidateClassifier, npt.NDArray[np.float64]]:
    """Fit weight of the curves, slope of the networks' answer and intercept; the log odds stay a sum of curves.

    Parameters
    ----------
    model
        As fitted before; with a curve for :data:`NETWORKS`.
    features
        One row a candidate, with a column for each curve; NaN where not measured.
    is_microbleed, groups
        For each row: the truth, and whose scan it is; nobody is on both sides of a fold.
    lesions_per_scan, n_scans
        As in :func:`mbseg_bids.learning.candidates.classifier.fit_candidate_classifier`.
    usual
        For each row, whether its scan is one as people have them; and how many such scans there are. Scans harder than
        any show what to weigh, but not how rare a microbleed is among candidates: the intercept is such that of the
        usual ones as many microbleeds are expected as there are. None: all are usual.

    Returns
    -------
    The model, and for each row the probability by the fits of the folds that did not see its group.

    Raises
    ------
    ValueError
        If there are no microbleeds, nothing else, fewer than two groups, or the model asks no networks.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold

    truth = np.asarray(is_microbleed, bool)
    if truth.all() or not truth.any() or len(np.unique(groups)) < 2:
        raise ValueError("the candidate classifier needs microbleeds, mimics, and at least two groups")
    if NETWORKS not in model.curves:
        raise ValueError("this candidate classifier asks no networks")
    answers = features[NETWORKS].to_numpy(float)
    design = np.column_stack([log_odds(model, features), np.nan_to_num(answers)])
    weights = weights_of_rows(truth, lesions_per_scan * n_scans)
    own, n_own = (np.ones(len(truth), bool), n_scans) if usual is None else usual
    own_weights = np.zeros(len(truth))
    own_weights[own] = weights_of_rows(truth[own], lesions_per_scan * n_own)

    def fit(rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        """Return weight, slope and intercept."""
        regression = LogisticRegression(C=1.0, max_iter=2000, tol=1e-8)
        coefficients = regression.fit(design[rows], truth[rows], sample_weight=weights[rows]).coef_[0]
        rows = rows[own[rows]]
        start = _start(design[rows] @ coefficients, truth[rows], own_weights[rows])
        return np.array([*coefficients, start])

    out_of_fold = np.empty(len(design))
    for seen, unseen in GroupKFold(min(9, len(np.unique(groups)))).split(design, groups=groups):
        found = fit(seen)
        out_of_fold[unseen] = expit(design[unseen] @ found[:2] + found[2])
    weight, slope, start = fit(np.arange(len(design))).tolist()
    facts = {"microbleeds": int(truth.sum()), "mimics": int((~truth).sum()), "lesions_per_scan": lesions_per_scan}
    facts["log_loss"] = weighted_log_loss(truth, out_of_fold, weights)
    adjusted = _adjusted(model, weight, slope, start)
    return replace(adjusted, training={**adjusted.training, **facts}), out_of_fold


def _start(rest: npt.NDArray[np.float64], truth: npt.NDArray[np.bool_], weights: npt.NDArray[np.float64]) -> float:
    """Return the intercept at which the expected number of microbleeds is the true one."""
    from scipy.optimize import brentq

    def surplus(start: float) -> float:
        return float(weights @ (expit(rest + start) - truth))

    if not truth.any() or truth.all():
        raise ValueError("the usual scans of a fold need microbleeds and mimics")
    widest = float(np.abs(rest).max()) + 40
    return float(brentq(surplus, -widest, widest))


def log_odds(model: CandidateClassifier, features: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return the log odds of each row."""
    columns = {name: features[name].to_numpy(float) for name in model.curves}
    parts = [
        np.where(np.isfinite(values), np.interp(np.nan_to_num(values), model.curves[name].at, curve.log_odds), 0.0)
        for (name, values), curve in zip(columns.items(), model.curves.values(), strict=True)
    ]
    return model.intercept + np.sum(parts, axis=0)


def _adjusted(model: CandidateClassifier, weight: float, slope: float, start: float) -> CandidateClassifier:
    curves = {
        name: Curve(curve.at, tuple(round(weight * value, 5) for value in curve.log_odds))
        for name, curve in model.curves.items()
    }
    before = model.curves[NETWORKS]
    at = tuple(sorted({*before.at, *ENDS}))
    curves[NETWORKS] = Curve(at, tuple(round(weight * before(x) + slope * x, 5) for x in at))
    training = {"weight_of_curves": round(weight, 5), "slope_of_networks": round(slope, 5)}
    return replace(
        model, intercept=round(start + weight * model.intercept, 5), curves=curves, training=training, ask=None
    )
