import numpy as np
import pytest

from mbseg_bids.learning.examples.splits import SIZE_CLASSES, size_class, split_participants


@pytest.mark.parametrize(
    ("volume", "expected"), [(0, "none"), (1, "small"), (4, "small"), (5, "medium"), (15, "medium"), (16, "large")]
)
def test_size_classes_are_those_of_the_paper(volume, expected):
    assert size_class(volume) == expected


def test_nobody_is_lost_or_in_two_sets(rng):
    volumes = {p: rng.uniform(1, 40, rng.integers(0, 6)).tolist() for p in range(50)}
    sets = split_participants(volumes, (0.6, 0.2, 0.2), rng)
    assert sorted(p for members in sets for p in members) == list(range(50))


def test_lesions_of_each_size_are_in_like_proportion(rng):
    typical = {"small": 2.0, "medium": 9.0, "large": 30.0}
    volumes = {p: [typical[SIZE_CLASSES[1 + p % 3]]] * (1 + p % 4) for p in range(100)}
    sets = split_participants(volumes, (0.6, 0.2, 0.2), rng)
    for volume in typical.values():
        counts = np.array([sum(volumes[p].count(volume) for p in members) for members in sets])
        np.testing.assert_allclose(counts / counts.sum(), (0.6, 0.2, 0.2), atol=0.06)


def test_every_set_gets_somebody(rng):
    assert [len(members) for members in split_participants({1: [], 2: [], 3: [5.0]}, (0.6, 0.2, 0.2), rng)] == [1, 1, 1]


def test_the_generator_decides_the_split():
    volumes = {p: [float(p % 20 + 1)] for p in range(30)}
    one, two, other = (split_participants(volumes, (0.5, 0.5), np.random.default_rng(s)) for s in (4, 4, 5))
    assert one == two
    assert one != other


@pytest.mark.parametrize("fractions", [(0.5, 0.4), (1.2, -0.2)])
def test_fractions_that_do_not_add_up_are_refused(fractions, rng):
    with pytest.raises(ValueError, match="add up"):
        split_participants({1: [], 2: []}, fractions, rng)


def test_too_few_participants_are_refused(rng):
    with pytest.raises(ValueError, match="cannot make"):
        split_participants({1: []}, (0.5, 0.5), rng)
