"""Fitting the candidate classifier to made-up candidates with a known law."""

import numpy as np
import pandas as pd
import pytest

from mbseg_bids.detection.candidates.features import FEATURES
from mbseg_bids.learning.candidates.classifier import fit_candidate_classifier, mimic_among
from mbseg_bids.simulation.mimics import MIMIC_NUMBERS

NAMES = ("contrast", "elongation", "t2w_ratio", "region")


@pytest.fixture(scope="module")
def candidates():
    rng = np.random.default_rng(4)
    n = 3000
    table = pd.DataFrame({name: np.full(n, np.nan) for name in FEATURES})
    table["contrast"], table["elongation"] = rng.normal(0.5, 0.3, n), 1 + rng.gamma(2, 0.4, n)
    table["t2w_ratio"] = np.where(rng.random(n) < 0.3, np.nan, rng.normal(0, 1, n))  # says nothing
    table["region"] = rng.integers(0, 3, n).astype(float)
    log_odds = 6 * (table["contrast"] - 0.5) - 3 * (table["elongation"] - 2) - 2.0 * (table["region"] == 1)
    truth = rng.random(n) < 1 / (1 + np.exp(-log_odds))
    return table, truth.to_numpy(), rng.integers(0, 6, n)


def fit(candidates, lesions_per_scan, n_scans=100):
    return fit_candidate_classifier(*candidates, lesions_per_scan=lesions_per_scan, n_scans=n_scans, names=NAMES)


def test_the_law_is_found(candidates):
    model, _ = fit(candidates, candidates[1].sum() / 100)
    slope = (model.curves["contrast"](0.9) - model.curves["contrast"](0.1)) / 0.8
    assert slope == pytest.approx(6, rel=0.2)
    assert model.curves["elongation"](3.0) - model.curves["elongation"](2.0) == pytest.approx(-3, rel=0.25)
    assert model.curves["region"](1.0) - model.curves["region"](0.0) == pytest.approx(-2, abs=0.4)
    assert max(map(abs, model.curves["t2w_ratio"].log_odds)) < 0.6


def test_probabilities_of_unseen_anatomies_are_calibrated(candidates):
    truth = candidates[1]
    _, probability = fit(candidates, truth.sum() / 100)
    for low, high in ((0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1)):
        inside = (probability >= low) & (probability < high)
        assert truth[inside].mean() == pytest.approx(probability[inside].mean(), abs=0.06)


def test_fewer_microbleeds_in_the_cohort_make_every_candidate_less_likely(candidates):
    table, truth, _ = candidates
    many, _ = fit(candidates, truth.sum() / 100)
    few, _ = fit(candidates, truth.sum() / 1000)
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.head(50).to_numpy()]
    assert all(few.probability(row) < many.probability(row) for row in rows)
    # A tenth of the microbleeds, each as likely as before to look as it does: the odds are a tenth.
    odds = [p / (1 - p) for p in (few.probability(rows[0]), many.probability(rows[0]))]
    assert odds[0] / odds[1] == pytest.approx(0.1, rel=0.5)


def test_the_answer_of_the_network_is_shrunk_less_than_a_bare_measure():
    rng = np.random.default_rng(8)
    values = rng.normal(0, 2, 60)
    truth = rng.random(60) < 1 / (1 + np.exp(-1.5 * values))
    table = pd.DataFrame(dict.fromkeys(("neighbourhood", "contrast"), values))
    rise = {}
    for name in table:
        model, _ = fit_candidate_classifier(
            table, truth, np.arange(60) % 5, lesions_per_scan=1, n_scans=20, names=[name]
        )
        rise[name] = model.curves[name](2.0) - model.curves[name](-2.0)
    assert rise["contrast"] < rise["neighbourhood"] < 1.5 * 4 * 2


def test_the_fit_is_repeatable(candidates):
    one, two = fit(candidates, 2.0), fit(candidates, 2.0)
    assert one[0] == two[0]
    np.testing.assert_array_equal(one[1], two[1])


def test_one_class_alone_is_refused(candidates):
    table, truth, groups = candidates
    with pytest.raises(ValueError, match="mimics"):
        fit((table, np.ones_like(truth), groups), 2.0)
    with pytest.raises(ValueError, match="two anatomies"):
        fit((table, truth, np.zeros_like(groups)), 2.0)


def test_a_candidate_is_named_for_the_mimic_that_covers_most_of_it():
    vein, calcium = MIMIC_NUMBERS["sulcal_vein"], MIMIC_NUMBERS["calcification"]
    assert mimic_among(np.array([0, 0, 0, 0, vein, calcium, calcium])) == "calcification"
    assert mimic_among(np.array([[vein, vein], [0, calcium]])) == "sulcal_vein"
    assert mimic_among(np.zeros(4, int)) == mimic_among(np.empty(0, int)) == ""
