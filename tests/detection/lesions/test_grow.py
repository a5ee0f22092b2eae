"""A lesion grown from one voxel: what is outlined is the dark spot, whatever the click missed it by."""

import numpy as np
import pytest

from mbseg_bids.detection.lesions.grow import BALL_MM, REACH_MM, grow_lesion

SPACING = (1.0, 1.0, 3.0)
SHAPE = (40, 40, 12)


def head(spots=((20, 20, 6, 2.5),), level=20.0):
    """Return T2* of 60 with dark balls (i, j, k, radius in mm), and which voxels they are."""
    grid = np.indices(SHAPE)
    t2star, dark = np.full(SHAPE, 60.0), np.zeros(SHAPE, bool)
    for *centre, radius in spots:
        square = sum(((grid[a] - centre[a]) * SPACING[a]) ** 2 for a in range(3))
        dark |= square <= radius**2
    t2star[dark] = level
    return t2star, dark


def grow(t2star, voxel, taken=None, threshold=1.2, brain=None):
    nothing = np.zeros(SHAPE, bool)
    return grow_lesion(
        t2star, np.ones(SHAPE, bool) if brain is None else brain, nothing if taken is None else taken, voxel, SPACING,
        threshold,
    )  # fmt: skip


@pytest.mark.parametrize("voxel", [(20, 20, 6), (22, 20, 6), (20, 24, 6), (19, 21, 6)])
def test_the_spot_is_outlined_wherever_it_was_clicked(voxel):
    t2star, dark = head()
    grown = grow(t2star, voxel)
    assert grown.by_rule
    np.testing.assert_array_equal(grown.mask, dark)


def test_a_click_beside_nothing_gives_a_ball():
    t2star, _ = head(spots=())
    grown = grow(t2star, (20, 20, 6))
    assert not grown.by_rule
    where = np.argwhere(grown.mask)
    far = np.linalg.norm((where - (20, 20, 6)) * SPACING, axis=1)
    assert grown.mask[20, 20, 6]
    assert far.max() <= BALL_MM
    assert len(where) == 9


def test_a_spot_in_the_next_slice_is_not_taken_for_one_in_this():
    t2star, _ = head(spots=((20, 20, 9, 2.5),))
    assert not grow(t2star, (20, 20, 6)).by_rule


def test_a_vessel_ends_where_a_microbleed_may():
    t2star = np.full(SHAPE, 60.0)
    t2star[:, 20, 6] = 20
    grown = grow(t2star, (20, 20, 6))
    assert grown.by_rule
    assert np.ptp(np.argwhere(grown.mask)[:, 0]) <= 2 * REACH_MM


def test_another_lesion_is_neither_grown_into_nor_compared_with():
    t2star, dark = head(spots=((20, 20, 6, 2.5), (24, 20, 6, 2.5)))
    taken = dark & (np.indices(SHAPE)[0] >= 23)
    grown = grow(t2star, (19, 20, 6), taken)
    assert grown.by_rule
    assert not (grown.mask & taken).any()
    np.testing.assert_array_equal(grown.mask, dark & ~taken)
    with pytest.raises(ValueError, match="in another lesion"):
        grow(t2star, (24, 20, 6), taken)


def test_scale_does_not_matter_and_contrast_does():
    t2star, dark = head(level=55.0)
    assert not grow(t2star, (20, 20, 6), threshold=1.2).by_rule
    assert grow(t2star, (20, 20, 6), threshold=1.05).by_rule
    t2star, dark = head()
    np.testing.assert_array_equal(grow(t2star * 7.5, (20, 20, 6)).mask, dark)


def test_outside_the_brain_there_is_nothing_to_compare_with():
    t2star, _ = head()
    assert not grow(t2star, (20, 20, 6), brain=np.zeros(SHAPE, bool)).by_rule


def test_a_voxel_outside_the_image_is_refused():
    t2star, _ = head()
    with pytest.raises(ValueError, match="outside the image"):
        grow(t2star, (40, 20, 6))


def test_the_corner_of_an_image_can_be_clicked():
    t2star, dark = head(spots=((0, 0, 0, 2.5),))
    np.testing.assert_array_equal(grow(t2star, (1, 0, 0)).mask, dark)
