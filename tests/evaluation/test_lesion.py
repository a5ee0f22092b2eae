"""Counts done by hand."""

import math

import numpy as np
import pytest

from mbseg_bids.evaluation.lesion import Score, match_lesions, score_by_region

SPACING = (1.0, 1.0, 2.0)


def on_a_line(*labels):
    """Label map of shape (n, 1, 1)."""
    return np.array(labels, dtype=np.int32).reshape(-1, 1, 1)


def test_one_of_each_kind():
    """Truth 1 found by 1; truth 2 missed; prediction 2 false."""
    truth = on_a_line(1, 1, 0, 0, 2, 0, 0, 0)
    predicted = on_a_line(0, 1, 1, 0, 0, 0, 0, 2)
    matches = match_lesions(truth, predicted, SPACING)
    assert matches.pairs == ((1, 1),)
    score = score_by_region(matches, {}, {})["all"]
    assert (score.n_truth, score.n_predicted, score.n_detected, score.n_correct) == (2, 2, 1, 1)
    assert (score.n_missed, score.n_false) == (1, 1)
    assert (score.sensitivity, score.precision, score.dice) == (0.5, 0.5, 0.5)


def test_one_prediction_over_two_lesions_finds_both_and_is_one_correct():
    matches = match_lesions(on_a_line(1, 0, 2), on_a_line(1, 1, 1), SPACING)
    assert matches.detected == {1, 2}
    assert matches.correct == {1}
    assert score_by_region(matches, {}, {})["all"].dice == 1.0


def test_two_predictions_on_one_lesion_are_both_correct():
    matches = match_lesions(on_a_line(1, 1, 1), on_a_line(1, 0, 2), SPACING)
    assert matches.detected == {1}
    assert matches.correct == {1, 2}


def test_small_truth_counts_neither_way():
    """Voxels of 2 mm3: truth 1 has 2 mm3, truth 2 has 4; the minimum of 4 leaves the second in."""
    truth = on_a_line(1, 0, 2, 2, 0, 0)
    predicted = on_a_line(3, 0, 0, 1, 0, 2)
    matches = match_lesions(truth, predicted, SPACING, minimum_volume=4.0)
    assert matches.truth == {2}
    assert matches.ignored_truth == {1}
    assert matches.predicted == {1, 2}
    assert matches.ignored_predicted == {3}
    score = score_by_region(matches, {}, {})["all"]
    assert (score.n_truth, score.n_detected, score.n_predicted, score.n_false) == (1, 1, 2, 1)


def test_prediction_over_a_small_and_a_counted_lesion_is_correct():
    matches = match_lesions(on_a_line(1, 2, 2), on_a_line(1, 1, 0), SPACING, minimum_volume=4.0)
    assert matches.correct == {1}
    assert not matches.ignored_predicted


def test_distance_rule_takes_as_many_pairs_as_it_can():
    """Truth at 0 and 4, found at 4 and 8 (mm): the nearest pair (4, 4) would leave the others 8 mm apart."""
    truth = on_a_line(1, 0, 0, 0, 2, 0, 0, 0, 0)
    predicted = on_a_line(0, 0, 0, 0, 1, 0, 0, 0, 2)
    assert match_lesions(truth, predicted, SPACING, rule="distance").pairs == ((1, 1), (2, 2))
    assert match_lesions(truth, predicted, SPACING, rule="distance", maximum_distance=3.9).pairs == ((2, 1),)
    assert match_lesions(truth, predicted, SPACING, rule="overlap").pairs == ((2, 1),)


def test_distance_is_in_mm():
    truth = on_a_line(1, 0, 0).transpose(1, 2, 0)
    predicted = on_a_line(0, 0, 1).transpose(1, 2, 0)  # two slices of 2 mm on
    assert match_lesions(truth, predicted, SPACING, rule="distance", maximum_distance=4.0).pairs == ((1, 1),)
    assert match_lesions(truth, predicted, SPACING, rule="distance", maximum_distance=3.9).pairs == ()


def test_regions_count_apart_and_add_up():
    truth = on_a_line(1, 0, 2, 0, 0)
    predicted = on_a_line(1, 0, 0, 0, 2)
    matches = match_lesions(truth, predicted, SPACING)
    scores = score_by_region(matches, {1: "deep_gm", 2: "cerebral_wm"}, {1: "cerebral_wm", 2: "cerebral_wm"})
    assert scores["deep_gm"] == Score(n_scans=1, n_truth=1, n_detected=1)
    assert scores["cerebral_wm"] == Score(n_scans=1, n_truth=1, n_predicted=2, n_correct=1)
    total = scores["deep_gm"] + scores["cerebral_wm"]
    assert total.counts[1:] == scores["all"].counts[1:]


def test_scan_without_any_lesion():
    nothing = on_a_line(0, 0, 0)
    score = score_by_region(match_lesions(nothing, on_a_line(0, 1, 0), SPACING), {}, {})["all"]
    assert math.isnan(score.sensitivity)
    assert (score.precision, score.dice, score.false_per_scan) == (0.0, 0.0, 1.0)
    for rule in ("overlap", "distance"):
        empty = score_by_region(match_lesions(nothing, nothing, SPACING, rule=rule), {}, {})["all"]
        assert math.isnan(empty.dice)


def test_different_grids_are_an_error():
    with pytest.raises(ValueError, match="different shapes"):
        match_lesions(on_a_line(1), on_a_line(1, 1), SPACING)
