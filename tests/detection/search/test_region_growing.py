import numpy as np

from mbseg_bids.detection.geometry.components import find_components
from mbseg_bids.detection.search.region_growing import grow_from_seeds, local_minima


def asking(probability, rounds):
    """A classifier that looks up a map and notes what it was asked."""

    def classify(voxels):
        rounds.append(len(voxels))
        return probability[tuple(voxels.T)]

    return classify


def test_finds_exactly_the_components_with_a_positive_seed(rng):
    """Against classifying the whole mask, component by component, on random maps."""
    n_found = n_missed = 0
    for _ in range(60):
        shape = (14, 15, 4)
        mask, seeds = rng.random(shape) < 0.7, rng.random(shape) < 0.05
        truth = np.where(rng.random(shape) < 0.15, rng.uniform(0.5, 1, shape), 0.1).astype(np.float32)
        found, asked = grow_from_seeds(mask, seeds, asking(truth, []), 0.5)
        everything = find_components(mask & (truth >= 0.5))
        for label in range(1, everything.max() + 1):
            component = everything == label
            seeded = (seeds & component).any()
            np.testing.assert_array_equal(found[component], truth[component] if seeded else 0)
            n_found, n_missed = n_found + seeded, n_missed + (not seeded)
        np.testing.assert_array_equal(found > 0, asked & (truth > 0))
        assert not (asked & ~mask).any()
    assert min(n_found, n_missed) > 50


def test_asks_no_voxel_twice_and_stops_at_what_is_negative():
    """A line of five positive voxels seeded in the middle: that one, its eight neighbours, two rounds of six."""
    truth = np.zeros((11, 11, 1), dtype=np.float32)
    truth[3:8, 5] = 0.9
    seeds = np.zeros(truth.shape, dtype=bool)
    seeds[5, 5] = True
    rounds = []
    found, asked = grow_from_seeds(np.ones(truth.shape, dtype=bool), seeds, asking(truth, rounds), 0.5)
    np.testing.assert_array_equal(found, truth)
    assert rounds == [1, 8, 6, 6]
    assert asked.sum() == 21


def test_seeds_outside_the_mask_are_not_asked():
    seeds = np.ones((3, 3, 1), dtype=bool)
    rounds = []
    found, asked = grow_from_seeds(np.zeros((3, 3, 1), dtype=bool), seeds, asking(np.ones((3, 3, 1)), rounds), 0.5)
    assert not found.any()
    assert not asked.any()
    assert rounds == []


def test_local_minima_are_of_the_brain_and_of_the_plane():
    t2star = np.full((7, 7, 2), 60.0)
    t2star[3, 3, 0] = 30.0
    t2star[3, 4, 0] = 25.0  # darker, but outside the brain
    t2star[3, 3, 1] = 20.0  # darker, but in another slice
    t2star[1, 1, 0] = t2star[1, 2, 0] = 40.0  # equals are all minima
    t2star[2, 2, 0] = 59.0  # beside darker ones
    brain = np.ones(t2star.shape, dtype=bool)
    brain[3, 4, 0] = False
    minima = local_minima(t2star, brain)
    assert minima[3, 3].all()
    assert minima[1, 1, 0]
    assert minima[1, 2, 0]
    assert not minima[2, 2, 0]
    assert not minima[3, 4, 0]


def test_every_component_has_a_minimum_unless_it_lies_beside_something_darker(rng):
    t2star = rng.random((20, 20, 3))
    brain = np.ones(t2star.shape, dtype=bool)
    dark = find_components(t2star < 0.2)
    minima = local_minima(t2star, brain)
    assert all((minima & (dark == label)).any() for label in range(1, dark.max() + 1))
