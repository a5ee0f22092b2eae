"""Counts done by hand."""

import itertools
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


def blobs(rng, n):
    """Label map of up to n boxes that may touch, labels with gaps."""
    labels = np.zeros((12, 12, 6), np.int32)
    for label in range(1, 2 * n, 2):
        i, j, k = rng.integers(0, (10, 10, 5))
        labels[i : i + rng.integers(1, 4), j : j + rng.integers(1, 4), k : k + rng.integers(1, 3)] = label
    return labels


def slow_overlap(truth, predicted):
    pairs = set()
    for t in np.unique(truth[truth > 0]):
        for p in np.unique(predicted[predicted > 0]):
            if any(truth[v] == t and predicted[v] == p for v in np.ndindex(truth.shape)):
                pairs.add((int(t), int(p)))
    return pairs


def slow_distance(truth, predicted, limit):
    """Number of pairs and sum of distances of the best of all one-to-one matchings."""
    centres = [
        [np.argwhere(m == label).mean(axis=0) * SPACING for label in np.unique(m[m > 0])] for m in (truth, predicted)
    ]
    short, long = sorted(centres, key=len)
    best = (0, 0.0)
    for chosen in itertools.permutations(range(len(long)), len(short)):
        gaps = [float(np.linalg.norm(a - long[c])) for a, c in zip(short, chosen, strict=True)]
        near = [gap for gap in gaps if gap <= limit]
        best = min(best, (-len(near), sum(near)))
    return best


@pytest.mark.parametrize("seed", range(6))
def test_matching_against_the_slow_and_obvious_way(seed):
    rng = np.random.default_rng(seed)
    truth, predicted = blobs(rng, 5), blobs(rng, 5)
    assert set(match_lesions(truth, predicted, SPACING).pairs) == slow_overlap(truth, predicted)
    for limit in (3.0, 6.0):
        pairs = match_lesions(truth, predicted, SPACING, rule="distance", maximum_distance=limit).pairs
        gaps = [
            np.linalg.norm((np.argwhere(truth == t).mean(axis=0) - np.argwhere(predicted == p).mean(axis=0)) * SPACING)
            for t, p in pairs
        ]
        n_negative, total = slow_distance(truth, predicted, limit)
        assert len(pairs) == -n_negative
        assert sum(gaps) == pytest.approx(total)
        assert len({t for t, _ in pairs}) == len({p for _, p in pairs}) == len(pairs)
