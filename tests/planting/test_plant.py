"""Planted microbleeds: dark where told, of the size told, where a reader would count them."""

import numpy as np
import pytest
from planting_phantom import ACQUISITION, SPACING, make_phantom

from mbseg_bids.clinical.size import equal_sphere_diameter
from mbseg_bids.imaging.grids import Grid
from mbseg_bids.imaging.labels import REGIONS
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.planting.places import APART
from mbseg_bids.planting.plant import Acquisition, Recipe, plant, sized_microbleed, targets, with_effects
from mbseg_bids.simulation.lesions import VISIBLE_RATIO


@pytest.fixture(scope="module")
def planting():
    phantom = make_phantom()
    return plant(phantom.site(), Recipe(12), ACQUISITION, np.random.default_rng(1))


def test_dark_where_told_and_nowhere_else(phantom, planting):
    truth, before, after = planting.truth.data, phantom.t2star, planting.t2star.data
    assert len(planting.lesions) >= 8
    assert (after[truth > 0] < VISIBLE_RATIO * before[truth > 0] + 1e-3).all()
    reached = np.zeros(truth.shape, bool)
    for lesion in planting.lesions:
        reached[lesion.patch.box] = True
    assert (after[~reached] == before[~reached]).all()


def test_labels_and_volumes(planting):
    sizes = np.bincount(planting.truth.data.ravel())[1:]
    assert len(sizes) == len(planting.lesions)
    for size, lesion in zip(sizes, planting.lesions, strict=True):
        assert lesion.diameter == pytest.approx(equal_sphere_diameter(size * np.prod(SPACING)))


def test_nowhere_that_a_reader_would_not_count(phantom, planting):
    truth = planting.truth.data
    assert not (truth > 0)[phantom.dark | (phantom.lesions > 0)].any()
    assert phantom.brain[truth > 0].all()
    for label, lesion in enumerate(planting.lesions, start=1):
        assert (phantom.regions[truth == label] > 0).mean() >= 0.5
        voxel = np.linalg.inv(phantom.affine) @ [*lesion.centre, 1]
        assert REGIONS[phantom.regions[tuple(np.rint(voxel[:3]).astype(int))]] == lesion.region


def test_apart(phantom, planting):
    centres = np.array([lesion.centre for lesion in planting.lesions])
    gaps = np.linalg.norm(centres[:, None] - centres[None], axis=-1) + 1000 * np.eye(len(centres))
    assert gaps.min() >= APART
    old = Volume(phantom.lesions, phantom.affine).centre_of(phantom.lesions > 0)
    assert np.linalg.norm(centres - old, axis=1).min() >= APART


def test_sizes_are_spread_evenly(phantom):
    site = phantom.site()
    wanted = targets(site, Recipe(13), np.random.default_rng(0))
    assert wanted == sorted(wanted, reverse=True)
    low, high = equal_sphere_diameter(2.0), 8.0  # nothing is observed smaller than a voxel
    assert np.histogram(wanted, bins=13, range=(low, high))[0].tolist() == [1] * 13
    assert targets(site, Recipe(3, sizes="cohort"), np.random.default_rng(0)) == [None] * 3


@pytest.mark.parametrize("diameter", [3.0, 8.0])
def test_a_wanted_size_is_reached(diameter):
    place = Volume(np.zeros((40, 40, 40), np.float32), np.eye(4))
    for seed in range(2):
        found = sized_microbleed(np.full(3, 20.0), seed, diameter, place, ACQUISITION)
        assert found.diameter == pytest.approx(diameter, rel=0.12)


def test_blooming_grows_with_echo_time_and_field():
    place = Volume(np.zeros((40, 40, 40), np.float32), np.eye(4))
    sizes = [
        sized_microbleed(np.full(3, 20.0), 4, None, place, Acquisition(*how)).diameter
        for how in ((10.0, 1.5), (10.0, 3.0), (30.0, 3.0))
    ]
    assert sizes == sorted(set(sizes))


def test_near_vessels(phantom):
    near = plant(phantom.site(), Recipe(3, near_vessels=1.0), ACQUISITION, np.random.default_rng(2)).lesions
    assert near
    assert all(lesion.near_vessel for lesion in near)


def test_the_same_seed_gives_the_same(phantom):
    first, second, other = (
        plant(phantom.site(), Recipe(2), ACQUISITION, np.random.default_rng(seed)).t2star.data for seed in (1, 1, 2)
    )
    assert first.tobytes() == second.tobytes() != other.tobytes()


def test_no_room_plants_nothing(phantom):
    phantom.regions[:] = 0
    planting = plant(phantom.site(), Recipe(3), ACQUISITION, _rng())
    assert planting.lesions == ()
    assert not planting.truth.data.any()


def test_effect_on_t2w_and_t1w(phantom, planting):
    grid = Grid(phantom.t2star.shape, phantom.affine)
    others = np.stack([np.full(grid.shape, 80.0), np.zeros(grid.shape)])
    changed = with_effects(others, planting.lesions, grid)
    assert not changed[1].any(), "a contrast that is missing stays missing"
    assert changed[0].min() < 75
    assert changed[0].max() == 80
    assert (others[0] == 80).all()


def _rng():
    return np.random.default_rng(0)
