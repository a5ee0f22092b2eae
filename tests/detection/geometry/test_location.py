import numpy as np
import pytest

from mbseg_bids.detection.geometry.location import locate

SPACING = (1.0, 1.0, 3.0)


def maps(shape=(12, 12, 5)):
    return np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.int32)


def test_most_voxels_decide():
    labels, regions = maps()
    labels[4:9, 4, 2] = 1
    regions[4:6], regions[6:] = 2, 3
    assert locate(labels, regions, SPACING) == {1: ("cerebral_wm", False)}


def test_voxels_in_no_region_have_no_vote():
    labels, regions = maps()
    labels[2:8, 4, 2] = 1
    regions[7] = 4
    assert locate(labels, regions, SPACING)[1] == ("cerebellar_gm", False)


@pytest.mark.parametrize("flipped", [False, True])
def test_tie_goes_to_the_region_at_the_centroid(flipped):
    """Two voxels each; region 3 holds the ends of the line, region 5 the middle."""
    labels, regions = maps()
    labels[4:8, 4, 2] = 1
    regions[4, 4, 2] = regions[7, 4, 2] = 3
    regions[5:7, 4, 2] = 5
    if flipped:
        labels, regions = labels[::-1], regions[::-1]
    assert locate(labels, regions, SPACING)[1].region == "cerebellar_wm"


def test_distance_to_the_centroid_is_in_mm():
    """A cross of two slices: region 1 is one voxel (1 mm) off the middle, region 2 one slice (3 mm)."""
    labels, regions = maps()
    labels[4, 4, 1:4] = labels[3:6, 4, 2] = 1
    regions[4, 4, 1] = regions[4, 4, 3] = 1
    regions[3, 4, 2] = regions[5, 4, 2] = 2
    assert locate(labels, regions, SPACING)[1].region == "deep_gm"


def test_full_tie_goes_to_the_smaller_label():
    labels, regions = maps()
    labels[4:6, 4, 2] = 1
    regions[4], regions[5] = 6, 3
    assert locate(labels, regions, SPACING)[1].region == "cerebral_wm"
    regions[4], regions[5] = 3, 6
    assert locate(labels, regions, SPACING)[1].region == "cerebral_wm"


def test_nearest_region_within_five_mm():
    labels, regions = maps()
    labels[2, 2, 2], labels[2, 9, 0] = 1, 2
    regions[7, 2, 2] = 6  # 5 mm from lesion 1
    regions[2, 2, 4] = 3  # 6 mm: two slices
    assert locate(labels, regions, SPACING) == {1: ("brainstem", True), 2: ("unassigned", False)}


def test_without_any_region():
    labels, regions = maps()
    labels[0, 0, 0] = 3
    assert locate(labels, regions, SPACING) == {3: ("unassigned", False)}
