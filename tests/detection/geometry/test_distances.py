"""Distance to the edge of the brain."""

import numpy as np

from mbseg_bids.detection.geometry.distances import distance_to_edge

SPACING = (1.0, 0.8, 3.0)


def test_distance_to_the_edge_is_in_plane_and_where_there_are_labels():
    brain = np.ones((9, 9, 3), bool)
    brain[:2] = False
    labels = np.zeros(brain.shape, int)
    labels[5, 5, 1] = 1
    distance = distance_to_edge(brain, labels, SPACING)
    assert distance[4, 4, 1] == 3.0  # to the third row; the border of the array is 4 mm away
    assert distance[8, 4, 1] == 1.0
    assert not distance[..., [0, 2]].any()
