"""The longest diameter: known lengths, and what it must never call too long."""

import numpy as np
import pytest

from mbseg_bids.detection.geometry.caliper import longest_distance


def test_line_of_known_length():
    mask = np.zeros((30, 8, 8), bool)
    mask[2:27, 3, 3] = True
    assert longest_distance(mask, np.eye(3), 2) == 24
    assert longest_distance(mask, np.diag([0.5, 1, 1]), 2) == 12
    assert longest_distance(mask.transpose(2, 1, 0), np.eye(3), 2) == 23  # across slices, one slice less


def test_diagonal_and_oblique_steps():
    mask = np.zeros((5, 5, 3), bool)
    mask[0, 0, 1] = mask[3, 4, 1] = True
    assert longest_distance(mask, np.eye(3), 2) == 5
    turn = np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1]])
    assert longest_distance(mask, turn, 2) == pytest.approx(5)


def test_a_single_voxel_and_two_slices_have_no_length():
    mask = np.zeros((3, 3, 3), bool)
    mask[1, 1, 1:] = True
    assert longest_distance(mask, np.diag([1, 1, 6]), 2) == 0


def test_it_is_that_of_all_pairs():
    rng = np.random.default_rng(3)
    mask = rng.random((9, 8, 7)) < 0.3
    points = np.argwhere(mask)
    apart = np.abs(points[:, None] - points).astype(float)
    apart[..., 2] = np.maximum(apart[..., 2] - 1, 0)
    expected = np.sqrt(((apart * (1, 0.9, 4)) ** 2).sum(-1)).max()
    assert longest_distance(mask, np.diag([1, 0.9, 4]), 2) == pytest.approx(expected)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (0.5, 0.5, 0.8), (1, 1, 3), (0.9, 0.9, 5), (1, 1, 6)])
@pytest.mark.parametrize("diameter", [3.0, 6.0, 9.9])
def test_no_ball_below_10_mm_is_longer_than_10_mm(spacing, diameter):
    """Wherever it lies, whether a voxel counts from its centre or, across slices, from a touch."""
    rng = np.random.default_rng(0)
    half = [int(np.ceil(diameter / 2 / s)) + 1 for s in spacing]
    grid = np.indices([2 * h + 1 for h in half]).T - half
    for _ in range(20):
        offsets = (grid + rng.uniform(-0.5, 0.5, 3)) * spacing
        across = np.maximum(np.abs(offsets[..., 2]) - spacing[2] / 2, 0)  # the nearest that the slice has of the ball
        for nearest in (offsets[..., 2], across):
            inside = offsets[..., 0] ** 2 + offsets[..., 1] ** 2 + nearest**2 <= (diameter / 2) ** 2
            if inside.any():
                assert longest_distance(inside.T, np.diag(spacing), 2) <= diameter
