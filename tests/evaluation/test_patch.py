import numpy as np
import pytest

from mbseg_bids.evaluation.patch import score_patches


def test_counts_by_hand():
    probability = np.array([0.9, 0.5, 0.4, 0.1, 0.6, 0.2])
    positive = np.array([True, True, True, False, False, False])
    kinds = np.array(["lesion"] * 3 + ["mimic", "mimic", "candidate"])
    scores = score_patches(probability, positive, kinds)
    assert scores.n == 6
    assert scores.accuracy == pytest.approx(4 / 6)
    assert scores.sensitivity == pytest.approx(2 / 3)  # 0.5 itself counts as positive
    assert scores.specificity == pytest.approx(2 / 3)
    assert scores.auc == pytest.approx(7 / 9)
    assert scores.by_kind == {"candidate": 1.0, "lesion": pytest.approx(2 / 3), "mimic": 0.5}


@pytest.mark.parametrize(
    ("probability", "auc"), [([0.1, 0.2, 0.8, 0.9], 1.0), ([0.9, 0.8, 0.2, 0.1], 0.0), ([0.5, 0.5, 0.5, 0.5], 0.5)]
)
def test_area_under_the_curve_of_known_orders(probability, auc):
    positive = np.array([False, False, True, True])
    assert score_patches(np.array(probability), positive, np.array(["x"] * 4)).auc == auc


def test_a_missing_class_has_no_score():
    scores = score_patches(np.array([0.1]), np.array([False]), np.array(["mimic"]))
    assert np.isnan(scores.sensitivity)
    assert np.isnan(scores.auc)
    assert scores.specificity == 1
