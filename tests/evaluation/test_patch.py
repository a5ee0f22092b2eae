import numpy as np
import pytest

from mbseg_bids.evaluation.intervals import Bootstrap
from mbseg_bids.evaluation.patch import patch_table, score_patches


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


def values(table):
    return {(row.measure, row.patches): row.value for row in table.itertuples()}


def test_table_of_patches_by_hand():
    probability = np.array([0.9, 0.5, 0.4, 0.1, 0.6, 0.2])
    positive = np.array([True, True, True, False, False, False])
    kinds = np.array(["lesion"] * 3 + ["mimic", "mimic", "candidate"])
    participants, volumes = np.array([1, 1, 2, 2, 2, 1]), np.array([3, 10, 20, 0, 0, 0])
    table = patch_table(probability, positive, kinds, participants, volumes, bootstrap=Bootstrap(100))
    assert values(table) == {
        ("accuracy", "all"): pytest.approx(4 / 6),
        ("sensitivity", "all"): pytest.approx(2 / 3),
        ("sensitivity", "small"): 1.0,
        ("sensitivity", "medium"): 1.0,
        ("sensitivity", "large"): 0.0,
        ("specificity", "all"): pytest.approx(2 / 3),
        ("specificity", "candidate"): 1.0,
        ("specificity", "mimic"): 0.5,
        ("balanced_accuracy", "all"): pytest.approx(2 / 3),
        ("auc", "all"): pytest.approx(7 / 9),
    }
    assert table.set_index(["measure", "patches"]).loc[("specificity", "mimic"), "n_patches"] == 2
    raised = patch_table(probability, positive, kinds, participants, volumes, threshold=0.7, bootstrap=Bootstrap(0))
    assert values(raised)["sensitivity", "all"] == pytest.approx(1 / 3)


def test_area_by_pairs_of_participants_is_the_area_of_all(rng):
    """With ties, and against the ranks of the whole."""
    n = 400
    positive, participants = rng.uniform(size=n) < 0.3, rng.integers(0, 9, n)
    probability = np.round(np.clip(rng.normal(0.3 + 0.3 * positive, 0.2), 0, 1), 1)
    kinds = np.where(positive, "lesion", "background")
    table = patch_table(probability, positive, kinds, participants, np.zeros(n), bootstrap=Bootstrap(300))
    assert values(table)["auc", "all"] == pytest.approx(score_patches(probability, positive, kinds).auc)
    row = table[table["measure"] == "auc"].iloc[0]
    assert row["value_low"] < row["value"] < row["value_high"]


def test_bootstrapped_area_is_that_of_the_patches_drawn(rng):
    """A slow reference: each participant's patches repeated as often as the participant was drawn."""
    n, bootstrap = 60, Bootstrap(40, seed=5)
    positive, participants = rng.uniform(size=n) < 0.5, np.arange(n) % 4
    probability, kinds = rng.uniform(size=n), np.full(n, "x")
    slow = []
    for weights in bootstrap.weights(4):
        drawn = np.repeat(np.arange(n), weights[participants].astype(int))
        slow.append(score_patches(probability[drawn], positive[drawn], kinds[drawn]).auc)
    table = patch_table(probability, positive, kinds, participants, np.zeros(n), bootstrap=bootstrap)
    row = table[table["measure"] == "auc"].iloc[0]
    assert (row["value_low"], row["value_high"]) == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])))
