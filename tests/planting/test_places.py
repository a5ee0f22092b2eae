"""Where lesions may go, on a scan whose dark structures are known."""

import numpy as np
from planting_phantom import OLD, SHAPE, SPACING, VESSEL

from mbseg_bids.planting.places import APART, NEAR_VESSEL, countable, linear_structures, survey


def test_dark_structures_are_the_vessel_and_the_old_lesion(phantom):
    expected = np.zeros(SHAPE, bool)
    expected[VESSEL] = expected[OLD] = True
    assert (phantom.dark & ~expected).sum() == 0
    assert phantom.dark[VESSEL].all()
    assert phantom.dark[OLD].all()


def test_noise_is_no_dark_structure(phantom):
    phantom.t2star[20, 30, 8] = 20  # one voxel of 2 mm3
    assert not phantom.dark[20, 30, 8]


def test_only_the_long_and_thin_is_a_vessel(phantom):
    vessels = linear_structures(phantom.dark, SPACING)
    assert vessels[VESSEL].all()
    assert not vessels[OLD].any()
    slab = np.zeros(SHAPE, bool)
    slab[10:40, 10:40, 5:15] = True  # long, but thick
    assert not linear_structures(slab, SPACING).any()


def test_distances(phantom):
    ground = phantom.site().ground
    at = {tuple(v): n for n, v in enumerate(ground.voxels.tolist())}
    beside = at[20, 20, 12]
    assert ground.from_vessel[beside] == ground.from_dark[beside] == 4
    assert ground.from_reported[at[44, 46, 12]] == 4
    assert not any(phantom.regions[tuple(v)] == 0 for v in ground.voxels)


def test_suits_keeps_apart_from_what_is_dark_or_was_reported(phantom):
    ground = phantom.site().ground
    small = ground.suits(3.0, near_vessel=False)
    assert small.any()
    assert ground.from_dark[small].min() >= 2.5
    assert ground.from_reported[small].min() >= APART
    assert ground.suits(8.0, near_vessel=False).sum() < small.sum()
    near = ground.suits(3.0, near_vessel=True)
    assert near.any()
    assert NEAR_VESSEL[0] <= ground.from_vessel[near].min()
    assert ground.from_vessel[near].max() <= NEAR_VESSEL[1]


def test_without_dark_structures_nothing_is_near():
    brain = np.ones((4, 4, 4), bool)
    nothing = np.zeros((4, 4, 4), int)
    ground = survey(nothing + 3, brain, nothing > 0, nothing, nothing, (1.0, 1.0, 1.0))
    assert np.isinf(ground.from_dark).all()
    assert not ground.suits(2.0, near_vessel=True).any()


def test_countable():
    visible = np.zeros((9, 9, 9), bool)
    visible[3:6, 3:6, 3:6] = True
    everywhere, nowhere = np.ones(visible.shape, bool), np.zeros(visible.shape, bool)
    assert countable(visible, everywhere, everywhere, nowhere)
    assert not countable(nowhere, everywhere, everywhere, nowhere), "it cannot be seen"
    half = everywhere.copy()
    half[:, :, 4:] = False  # CSF on one side: 5 of 9 parts of the shell, more than half of the lesion
    assert not countable(visible, half, everywhere, nowhere)
    assert countable(visible, ~half | visible, everywhere, nowhere)
    outside = everywhere.copy()
    outside[5, 5, 5] = False
    assert not countable(visible, everywhere, outside, nowhere)
    beside = nowhere.copy()
    beside[6, 6, 6] = True
    assert not countable(visible, everywhere, everywhere, beside)
