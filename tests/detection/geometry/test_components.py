import itertools

import numpy as np
import pytest

from mbseg_bids.detection.geometry.components import centroids, find_components, middle_voxels, renumber


def test_corners_connect_and_gaps_do_not():
    mask = np.zeros((5, 5, 5), dtype=bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True  # share a corner
    mask[3, 3, 3] = True  # two voxels further
    labels = find_components(mask)
    assert labels.dtype == np.int32
    assert labels[0, 0, 0] == labels[1, 1, 1] == 1
    assert labels[3, 3, 3] == 2


def test_numbered_from_the_feet_up_then_from_the_back_then_from_the_left():
    mask = np.zeros((9, 9, 9), dtype=bool)
    voxels = [(8, 8, 0), (0, 0, 4), (4, 0, 4), (0, 4, 4), (0, 0, 8)]
    for voxel in voxels:
        mask[voxel] = True
    labels = find_components(mask, np.eye(4))
    assert [labels[v] for v in voxels] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_numbering_does_not_depend_on_orientation(rng, axes):
    mask = rng.random((12, 11, 10)) < 0.04
    affine = np.array([[0.9, 0.1, 0, -20], [-0.1, 0.9, 0.2, 5], [0, -0.2, 2.5, 30], [0, 0, 0, 1.0]])
    labels = find_components(mask, affine)
    assert labels.max() > 5
    for flips in ((), (0,), (1, 2)):
        turned = np.flip(mask.transpose(axes), flips)
        # Column n of the matrix takes the turned index n back to the plain index axes[n], flipped where it was.
        back = np.zeros((4, 4))
        back[3, 3] = 1
        for new, old in enumerate(axes):
            back[old, new] = -1 if new in flips else 1
            back[old, 3] = mask.shape[old] - 1 if new in flips else 0
        np.testing.assert_array_equal(find_components(turned, affine @ back), np.flip(labels.transpose(axes), flips))


def test_concentric_components_from_small_to_large():
    mask = np.zeros((7, 7, 1), dtype=bool)
    mask[[0, -1]] = mask[:, [0, -1]] = True
    mask[3, 3] = True
    assert find_components(mask)[3, 3, 0] == 1


def test_centroids_and_absent_labels():
    labels = np.zeros((4, 4, 4), dtype=np.int32)
    labels[1, 1, 0:3] = 2
    found = centroids(labels, 3)
    assert found[1].tolist() == [1, 1, 1]
    assert np.isnan(found[[0, 2]]).all()


def test_renumber_drops_what_is_not_listed():
    labels = np.array([0, 1, 2, 3], dtype=np.int32)
    assert renumber(labels, [3, 1]).tolist() == [0, 2, 0, 1]
    assert renumber(labels, []).tolist() == [0, 0, 0, 0]


def test_nothing_to_find():
    assert not find_components(np.zeros((3, 3, 3), dtype=bool)).any()


def test_the_middle_of_a_component_is_a_voxel_of_it():
    labels = np.zeros((9, 9, 3), np.int32)
    labels[1:8, 1, 1] = labels[1, 1:8, 1] = labels[7, 1:8, 1] = 2  # open on one side: its centroid lies outside
    labels[4, 5, 0] = 5
    middles = middle_voxels(labels)
    assert set(middles) == {2, 5}
    assert labels[tuple(middles[2])] == 2
    assert tuple(middles[5]) == (4, 5, 0)
