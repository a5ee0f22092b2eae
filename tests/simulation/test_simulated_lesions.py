import numpy as np
import pytest

from mbseg_bids.imaging.labels import CEREBRAL_WM, DEEP_GM, REGIONS
from mbseg_bids.simulation.anatomy import make_anatomy
from mbseg_bids.simulation.lesions import (
    REGION_SHARES,
    block_ratio,
    block_truth,
    draw_microbleeds,
    visible_voxels,
)
from mbseg_bids.simulation.rendering import Patch


def test_shares_are_of_all_regions_and_add_up_to_one():
    assert set(REGION_SHARES) == set(REGIONS)
    assert sum(REGION_SHARES.values()) == pytest.approx(1)


def test_the_threshold_of_the_truth():
    ratio = np.ones((5, 5, 5))
    ratio[2, 2, 2], ratio[2, 2, 3], ratio[2, 3, 2] = 0.3, 0.699, 0.701
    assert np.argwhere(visible_voxels(ratio)).tolist() == [[2, 2, 2], [2, 2, 3]]


def test_dark_lobes_apart_from_the_lesion_do_not_count():
    ratio = np.ones((7, 7, 7))
    ratio[1, 1, 1], ratio[5, 5, 5] = 0.6, 0.2
    assert np.argwhere(visible_voxels(ratio)).tolist() == [[5, 5, 5]]


def test_nothing_dark_is_nothing_visible():
    assert not visible_voxels(np.full((3, 3, 3), 0.7)).any()


def test_blocks_keep_a_lesion_that_only_the_native_grid_shows():
    ratio = np.ones((4, 4, 2), dtype=np.complex64)
    ratio[2, 3, 1] = 0.5
    patch = Patch((slice(0, 4), slice(0, 4), slice(0, 2)), ratio, np.zeros(ratio.shape, np.float32))
    assert block_ratio(patch, 2)[1, 1, 1] == pytest.approx(0.875)
    assert np.argwhere(block_truth(patch, 2)).tolist() == [[1, 1, 1]]


def test_microbleeds_lie_in_their_regions_and_apart(toy_head, rng):
    anatomy = make_anatomy(toy_head, rng, deformation=0.3, hyperintensities=0, atrophy=0)
    shares = {DEEP_GM: 0.3, CEREBRAL_WM: 0.7}
    microbleeds = draw_microbleeds(anatomy, 20, rng, shares=shares, apart=6.0)
    centres = np.array([microbleed.sources[0].centre for microbleed in microbleeds])
    distances = np.linalg.norm(centres[:, None] - centres[None], axis=2)[~np.eye(len(centres), dtype=bool)]
    assert len(microbleeds) == 20
    assert distances.min() >= 6.0
    voxels = np.rint(centres - anatomy.labels.affine[:3, 3]).astype(int)
    assert set(anatomy.regions[tuple(voxels.T)].tolist()) <= {DEEP_GM, CEREBRAL_WM}


def test_more_microbleeds_than_there_is_room_for(toy_head, rng):
    anatomy = make_anatomy(toy_head, rng, deformation=0)
    assert 0 < len(draw_microbleeds(anatomy, 50, rng, apart=25.0)) < 50
