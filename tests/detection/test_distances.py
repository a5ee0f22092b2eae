"""Distances against a slow, obvious reference."""

import numpy as np
import pytest

from mbseg_bids.detection.distances import FAR_MM, distance_to_edge, distance_to_structure

SPACING = (1.0, 0.8, 3.0)


def nearest(mask, spacing):
    """Return the distance of every voxel to the nearest one of the mask, pair by pair."""
    places = np.argwhere(mask) * spacing
    every = np.indices(mask.shape).reshape(3, -1).T * spacing
    return np.linalg.norm(every[:, None] - places, axis=2).min(axis=1).reshape(mask.shape)


@pytest.mark.parametrize("corner", [(0, 0, 0), (9, 7, 2), (17, 15, 4)])
def test_distance_to_a_structure(corner, rng):
    structure = np.zeros((20, 18, 6), bool)
    i, j, k = corner
    structure[i : i + 3, j : j + 3, k : k + 2] = rng.random(structure[i : i + 3, j : j + 3, k : k + 2].shape) < 0.7
    structure[corner] = True
    distance = distance_to_structure(structure, SPACING)
    np.testing.assert_allclose(distance, np.minimum(nearest(structure, SPACING), FAR_MM))
    assert (distance[structure] == 0).all()


def test_nothing_is_at_no_distance():
    assert np.isnan(distance_to_structure(np.zeros((4, 4, 2), bool), SPACING)).all()


def test_distance_to_the_edge_is_in_plane_and_where_there_are_labels():
    brain = np.ones((9, 9, 3), bool)
    brain[:2] = False
    labels = np.zeros(brain.shape, int)
    labels[5, 5, 1] = 1
    distance = distance_to_edge(brain, labels, SPACING)
    assert distance[4, 4, 1] == 3.0  # to the third row; the border of the array is 4 mm away
    assert distance[8, 4, 1] == 1.0
    assert not distance[..., [0, 2]].any()
