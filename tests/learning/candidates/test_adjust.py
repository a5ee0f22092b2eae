"""Carrying a candidate classifier over to other scans."""

import numpy as np
import pandas as pd
import pytest

from mbseg_bids.detection.candidates.classifier import CandidateClassifier, Curve
from mbseg_bids.learning.candidates.adjust import NETWORKS, adjust_candidate_classifier, log_odds

BEFORE = CandidateClassifier(
    -1.0, {"contrast": Curve((0.0, 1.0), (-2.0, 2.0)), NETWORKS: Curve((-4.0, 4.0), (-1.0, 1.0))}
)


def scans(rng, n, *, weight, slope, start):
    """Candidates whose log odds of being microbleeds are known."""
    features = pd.DataFrame({"contrast": rng.uniform(-0.2, 1.2, n), NETWORKS: rng.uniform(-6, 6, n)})
    true = start + weight * log_odds(BEFORE, features) + slope * features[NETWORKS].to_numpy()
    return features, rng.random(n) < 1 / (1 + np.exp(-true)), np.arange(n) % 7


def fitted(features, truth, groups):
    # As many microbleeds a scan as there are: every row counts once.
    return adjust_candidate_classifier(BEFORE, features, truth, groups, lesions_per_scan=truth.sum() / 10, n_scans=10)


def test_known_weight_slope_and_start_come_back(rng):
    features, truth, groups = scans(rng, 30_000, weight=0.5, slope=0.8, start=-1.0)
    model, out_of_fold = fitted(features, truth, groups)
    assert model.training["weight_of_curves"] == pytest.approx(0.5, abs=0.06)
    assert model.training["slope_of_networks"] == pytest.approx(0.8, abs=0.06)
    assert model.intercept == pytest.approx(-1.0 + 0.5 * -1.0, abs=0.1)
    assert out_of_fold.mean() == pytest.approx(truth.mean(), abs=0.01)


def test_the_sum_of_curves_is_what_was_fitted(rng):
    features, truth, groups = scans(rng, 2_000, weight=0.5, slope=0.8, start=-1.0)
    model, _ = fitted(features, truth, groups)
    training, before = model.training, log_odds(BEFORE, features)
    start = model.intercept - training["weight_of_curves"] * BEFORE.intercept
    expected = start + training["weight_of_curves"] * before + training["slope_of_networks"] * features[NETWORKS]
    np.testing.assert_allclose(log_odds(model, features), expected, atol=1e-3)
    rows = features.head(5).to_dict("records")
    told = [np.log(p / (1 - p)) for p in map(model.probability, rows)]
    np.testing.assert_allclose(told, expected.head(5), atol=1e-3)


def test_what_was_not_measured_adds_nothing(rng):
    features, truth, groups = scans(rng, 2_000, weight=0.5, slope=0.8, start=-1.0)
    model, _ = fitted(features, truth, groups)
    assert log_odds(model, pd.DataFrame({"contrast": [np.nan], NETWORKS: [np.nan]}))[0] == model.intercept


def test_fewer_microbleeds_a_scan_make_all_of_them_less_likely(rng):
    features, truth, groups = scans(rng, 4_000, weight=1.0, slope=0.0, start=0.0)
    rare, _ = adjust_candidate_classifier(
        BEFORE, features, truth, groups, lesions_per_scan=truth.sum() / 100, n_scans=10
    )
    usual, _ = fitted(features, truth, groups)
    assert usual.intercept - rare.intercept == pytest.approx(np.log(10), abs=0.4)


def test_what_cannot_be_fitted_is_named(rng):
    features, truth, groups = scans(rng, 50, weight=1.0, slope=0.0, start=0.0)
    numbers = {"lesions_per_scan": 1.0, "n_scans": 5}
    for wrong in (np.ones(50, bool), np.zeros(50, bool)):
        with pytest.raises(ValueError, match="needs microbleeds, mimics"):
            adjust_candidate_classifier(BEFORE, features, wrong, groups, **numbers)
    with pytest.raises(ValueError, match="two groups"):
        adjust_candidate_classifier(BEFORE, features, truth, np.zeros(50, int), **numbers)
    alone = CandidateClassifier(0.0, {"contrast": BEFORE.curves["contrast"]})
    with pytest.raises(ValueError, match="no networks"):
        adjust_candidate_classifier(alone, features, truth, groups, **numbers)


def test_how_rare_microbleeds_are_comes_from_the_usual_scans(rng):
    usual, usual_truth, groups = scans(rng, 6_000, weight=0.5, slope=0.8, start=-1.0)
    hard, hard_truth, _ = scans(rng, 6_000, weight=0.5, slope=0.8, start=-4.0)
    features, truth = pd.concat([usual, hard]), np.concatenate([usual_truth, hard_truth])
    which = np.repeat([True, False], 6_000)
    numbers = {"lesions_per_scan": usual_truth.sum() / 5, "n_scans": 10, "usual": (which, 5.0)}
    model, out_of_fold = adjust_candidate_classifier(BEFORE, features, truth, np.tile(groups, 2), **numbers)
    expected = 1 / (1 + np.exp(-log_odds(model, usual)))
    assert expected.sum() == pytest.approx(usual_truth.sum(), rel=1e-3)
    assert out_of_fold[which].sum() == pytest.approx(usual_truth.sum(), rel=0.02)
    assert out_of_fold[~which].sum() > 1.5 * hard_truth.sum()
