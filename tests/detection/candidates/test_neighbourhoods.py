"""Neighbourhoods cut out of a stack whose values are known functions of position."""

import numpy as np
import pytest

from mbseg_bids.detection.candidates.neighbourhoods import HEIGHTS_MM, N_CHANNELS, extract_neighbourhoods


@pytest.fixture(scope="module")
def ramp():
    """Linear along every axis, another slope in each contrast: interpolation must reproduce it exactly."""
    i, j, k = np.indices((30, 28, 21), dtype=np.float32)
    return np.stack([i + 0.5 * j + 2 * k, 90 - k, 0.25 * i + k]).astype(np.float32)


@pytest.mark.parametrize("spacing", [0.8, 1.0, 2.0, 3.0])
def test_every_channel_is_the_contrast_at_its_height(ramp, spacing):
    voxel = np.array([15, 14, 10])
    square = extract_neighbourhoods(ramp, voxel[None], spacing, 5)[0] * 100
    channel = 0
    for image, heights in zip(ramp, HEIGHTS_MM, strict=True):
        per_slice = image[15, 14, 11] - image[15, 14, 10]
        for height in heights:
            expected = image[13:18, 12:17, 10] + per_slice * height / spacing
            if 0 <= 10 + height / spacing <= 20:
                np.testing.assert_allclose(square[channel], expected, atol=1e-4)
            channel += 1
    assert channel == N_CHANNELS == len(square)


def test_the_voxel_is_the_middle_and_outside_the_grid_is_zero(ramp):
    corner = extract_neighbourhoods(ramp + 1, np.array([[0, 0, 0]]), 1.0, 6)[0]
    middle_height = HEIGHTS_MM[0].index(0.0)
    assert corner[middle_height, 3, 3] == pytest.approx(0.01)
    assert (corner[:, :3] == 0).all()
    assert (corner[:, :, :3] == 0).all()
    assert (corner[0] == 0).all()  # 8 mm below the lowest slice
    assert (corner[middle_height, 3:, 3:] > 0).all()


def test_a_voxel_depends_on_no_other(ramp):
    voxels = np.array([[3, 4, 5], [20, 10, 18], [11, 27, 0]])
    together = extract_neighbourhoods(ramp, voxels, 1.5)
    for voxel, expected in zip(voxels, together, strict=True):
        np.testing.assert_array_equal(extract_neighbourhoods(ramp, voxel[None], 1.5)[0], expected)
    assert extract_neighbourhoods(ramp, np.empty((0, 3), int), 1.5).shape == (0, N_CHANNELS, 24, 24)
