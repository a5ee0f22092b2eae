import numpy as np
import pytest

from mbseg_bids.detection.network.patches import extract_patches, extract_rotated_patches


@pytest.fixture
def stack(rng):
    return rng.uniform(1, 100, (3, 50, 60, 4)).astype(np.float32)


def test_the_voxel_is_at_index_14_and_channels_keep_their_order(stack):
    patch = extract_patches(stack, np.array([[20, 30, 2]]))[0]
    assert patch.shape == (3, 28, 28)
    np.testing.assert_allclose(patch[:, 14, 14], stack[:, 20, 30, 2] / 100, rtol=1e-6)
    np.testing.assert_allclose(patch, stack[:, 6:34, 16:44, 2] / 100, rtol=1e-6)


def test_outside_the_grid_is_zero(stack):
    patch = extract_patches(stack, np.array([[0, 59, 0]]))[0]
    assert not patch[:, :14].any()
    assert not patch[:, :, 15:].any()
    np.testing.assert_allclose(patch[:, 14:, :15], stack[:, :14, 45:, 0] / 100, rtol=1e-6)


def test_a_batch_equals_its_voxels_one_by_one_in_any_order(stack, rng):
    voxels = rng.integers(0, (50, 60, 4), (40, 3))
    batch = extract_patches(stack, voxels)
    single = np.concatenate([extract_patches(stack, v) for v in voxels])
    np.testing.assert_array_equal(batch, single)
    order = rng.permutation(40)
    np.testing.assert_array_equal(extract_patches(stack, voxels[order]), batch[order])


def test_no_voxels_give_no_patches(stack):
    assert extract_patches(stack, np.empty((0, 3), int)).shape == (0, 3, 28, 28)


def test_a_voxel_outside_is_refused(stack):
    with pytest.raises(ValueError, match="outside"):
        extract_patches(stack, np.array([[50, 0, 0]]))


@pytest.mark.parametrize("quarter", [0, 1, 2, 3])
def test_a_quarter_turn_equals_rot90(stack, quarter):
    voxel = np.array([[22, 31, 1]])
    turned = extract_rotated_patches(stack, voxel, np.array([quarter * np.pi / 2]), size=29)[0]
    expected = np.rot90(extract_patches(stack, voxel, size=29)[0], quarter, axes=(1, 2))
    np.testing.assert_allclose(turned, expected, atol=1e-5)


def test_turning_brings_in_what_was_outside_the_upright_patch(stack):
    stack[:] = 0
    stack[:, 20 + 16, 30, 1] = 100  # the last row of the upright patch is at offset 13
    voxel = np.array([[20, 30, 1]])
    assert not extract_patches(stack, voxel).any()
    turned = extract_rotated_patches(stack, voxel, np.array([np.pi / 4]))[0, 0]
    row, column = np.unravel_index(turned.argmax(), turned.shape)
    np.testing.assert_allclose((row - 14, column - 14), (16 / np.sqrt(2), 16 / np.sqrt(2)), atol=0.8)
