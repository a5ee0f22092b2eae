import itertools

import numpy as np
import pytest

from mbseg_bids.clinical.burden import burden_class
from mbseg_bids.clinical.visits import (
    Look,
    SeenLesion,
    acquisition_changes,
    aria_h_class,
    compare_visits,
    count_changes,
    look_at,
    match_points,
)
from mbseg_bids.imaging.volume import Volume


@pytest.mark.parametrize(
    ("n", "expected"),
    [(0, "none"), (1, "mild"), (4, "mild"), (5, "moderate"), (9, "moderate"), (10, "severe"), (99, "severe")],
)
def test_classes_of_new_microhaemorrhages(n, expected):
    assert aria_h_class(n) == expected


def test_ten_new_ones_are_severe_though_a_burden_of_ten_is_not_more_than_ten():
    assert (aria_h_class(10), burden_class(10)) == ("severe", "5 to 10")
    with pytest.raises(ValueError, match="negative"):
        aria_h_class(-1)


def test_more_pairs_come_before_less_distance():
    """Greedily 0-0 (1 mm) would leave the others alone; two pairs of 4 mm are better than one."""
    first, second = np.array([[0.0, 0, 0], [5, 0, 0]]), np.array([[1.0, 0, 0], [-4, 0, 0]])
    assert match_points(first, second) == [(0, 1), (1, 0)]


def test_of_as_many_pairs_the_nearer_are_taken():
    first = np.array([[0.0, 0, 0], [3, 0, 0]])
    second = np.array([[3.5, 0, 0], [0.5, 0, 0]])
    assert match_points(first, second) == [(0, 1), (1, 0)]


def test_limit_is_included_and_nothing_beyond_it():
    first = np.zeros((1, 3))
    assert match_points(first, np.array([[5.0, 0, 0]])) == [(0, 0)]
    assert match_points(first, np.array([[5.001, 0, 0]])) == []
    assert match_points(first, np.zeros((0, 3))) == match_points(np.zeros((0, 3)), first) == []


@pytest.mark.parametrize("seed", range(6))
def test_no_pairing_has_more_pairs_or_as_many_and_less_distance(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.uniform(0, 12, (4, 3)), rng.uniform(0, 12, (5, 3))
    distance = np.linalg.norm(first[:, None] - second[None], axis=-1)

    def worth(pairs):
        return -len(pairs), sum(distance[p] for p in pairs)

    best = min(
        worth([(i, j) for i, j in enumerate(order) if distance[i, j] <= 5])
        for order in itertools.permutations(range(5), 4)
    )
    found = worth(match_points(first, second))
    assert found == (best[0], pytest.approx(best[1]))
    backwards = match_points(second, first)
    assert sorted((j, i) for i, j in backwards) == match_points(first, second)


def lesion(name, x, volume=10.0):
    return SeenLesion(name, (x, 0.0, 0.0), volume)


CLEAR, HIDDEN, GUESSED, OUTSIDE = Look(True), Look(True, "CAND-1", 0.0), Look(True, "", 0.2), Look(False)


@pytest.mark.parametrize(
    ("look", "new", "gone"),
    [
        (CLEAR, "new", "not_seen_again"),
        (HIDDEN, "uncertain", "uncertain"),
        (GUESSED, "uncertain", "uncertain"),
        (OUTSIDE, "uncertain", "uncertain"),
        (Look(True, "", 0.19), "new", "not_seen_again"),
    ],
)
def test_the_other_visit_is_looked_up_before_a_lesion_is_new_or_gone(look, new, gone):
    before, after = [lesion("A", 0), lesion("B", 30)], [lesion("C", 2, 15.0), lesion("D", 60)]
    changes = compare_visits(before, after, {"D": look}, {"B": look})
    assert [(c.status, c.before and c.before.name, c.after and c.after.name) for c in changes] == [
        ("stable", "A", "C"),
        (new, None, "D"),
        (gone, "B", None),
    ]
    assert (changes[0].distance, changes[0].volume_ratio) == (2.0, 1.5)
    assert changes[1].volume_ratio is None
    counts = count_changes(changes)
    assert sum(counts.values()) == 3
    assert counts["new"] + counts["uncertain_new"] == counts["not_seen_again"] + counts["uncertain_not_seen_again"] == 1


def test_a_place_is_looked_up_in_millimetres():
    affine = np.diag([1.0, 1.0, 4.0, 1.0])
    data = np.zeros((20, 20, 6), np.float32)
    data[10, 10, 2] = 0.7
    brain = Volume(np.ones_like(data), affine)
    probability = Volume(data, affine)
    assert look_at(np.array([12.0, 10, 8]), {}, probability, brain).probability == pytest.approx(0.7)
    assert look_at(np.array([13.0, 10, 8]), {}, probability, brain).probability == 0
    assert look_at(np.array([10.0, 10, 9.9]), {}, probability, brain).probability == pytest.approx(0.7)
    assert not look_at(np.array([100.0, 10, 8]), {}, probability, brain).covered
    near = {"far": (0.0, 0.0, 0.0), "near": (10.0, 14.0, 8.0)}
    assert look_at(np.array([10.0, 10, 8]), near, probability, brain).candidate == "near"
    assert look_at(np.array([10.0, 8.9, 8]), near, probability, brain).candidate == ""


def test_scans_that_differ_are_named():
    old = {"t2star_sequence": "T2starw", "t2star_echo_time": 0.02, "t2star_field_strength": 3.0}
    assert acquisition_changes(old, dict(old)) == []
    assert acquisition_changes(old, old | {"t2star_echo_time": 0.0205, "t2star_field_strength": 2.9}) == []
    changed = acquisition_changes(old, old | {"t2star_echo_time": 0.03, "t2star_sequence": "swi"})
    assert changed == ["sequence T2starw, then swi", "echo time (s) 0.02, then 0.03"]
    assert acquisition_changes(old, {**old, "t2star_echo_time": None}) == ["echo time (s) 0.02, then not known"]
    assert acquisition_changes({}, {}) == []
