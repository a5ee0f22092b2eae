import numpy as np
import pytest
import torch

from mbseg_bids.detection.network.patches import extract_patches, extract_rotated_patches
from mbseg_bids.learning.examples.augmentation import NONE, Augmentation, augment, rotate_patches, upright
from mbseg_bids.learning.examples.patch_set import cut_patch_set, wide_size


@pytest.fixture
def scan(rng):
    return rng.uniform(0, 100, (3, 90, 90, 3)).astype(np.float32), rng.integers((30, 30, 0), (60, 60, 3), (12, 3))


def test_a_stored_patch_turns_as_the_full_slice_does(scan, rng):
    stack, voxels = scan
    angles = rng.uniform(0, 2 * np.pi, len(voxels))
    wide = cut_patch_set(stack, voxels, "candidate", 1).patches
    found = rotate_patches(wide, angles, np.zeros(len(voxels), bool), 28).numpy()
    expected = extract_rotated_patches(stack, voxels, angles)
    np.testing.assert_allclose(found, expected, atol=0.5 / 255 + 1e-4)  # stored in 255 steps


def test_an_upright_patch_is_what_detection_cuts(scan):
    stack, voxels = scan
    wide = cut_patch_set(stack, voxels, "lesion", 1).patches
    np.testing.assert_allclose(upright(wide, 28).numpy(), extract_patches(stack, voxels), atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize("size", [14, 28, 29, 56])
def test_a_wide_patch_holds_the_patch_at_every_angle(size):
    wide = np.full((8, 3, wide_size(size), wide_size(size)), 255, np.uint8)
    turned = rotate_patches(wide, np.linspace(0, 2 * np.pi, 8), np.zeros(8, bool), size)
    assert turned.min() > 0.999


def test_a_mirrored_patch_is_reversed_about_the_voxel(scan):
    wide = cut_patch_set(*scan, "lesion", 1).patches
    mirrored = rotate_patches(wide, np.zeros(12), np.ones(12, bool), 27)
    np.testing.assert_allclose(mirrored.numpy(), upright(wide, 27).numpy()[..., ::-1], atol=1e-5)


def test_without_augmentation_patches_are_upright(scan, rng):
    wide = cut_patch_set(*scan, "lesion", 1).patches
    torch.testing.assert_close(augment(wide, 28, NONE, rng), upright(wide, 28), atol=1e-5, rtol=0)


def test_the_seed_decides_the_augmentation_which_stays_in_range(scan):
    wide = cut_patch_set(*scan, "lesion", 1).patches
    strong = Augmentation(rotations=19, mirror=True, exact=0.5, gain=0.3, noise=0.1)
    one, two, other = (augment(wide, 28, strong, np.random.default_rng(s)) for s in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert 0 <= one.min() <= one.max() <= 1
    assert one.std() > 0


def test_the_voxel_stays_in_the_middle_whatever_the_angle(scan, rng):
    stack, voxels = scan
    wide = cut_patch_set(stack, voxels, "lesion", 1).patches
    turned = augment(wide, 28, Augmentation(rotations=1000, mirror=True), rng)
    np.testing.assert_allclose(turned[:, :, 14, 14].numpy(), extract_patches(stack, voxels)[:, :, 14, 14], atol=3e-3)


def test_a_dropped_contrast_is_zero_and_t2star_never_is(scan, rng):
    wide = np.repeat(cut_patch_set(*scan, "lesion", 1).patches, 50, axis=0)
    everything = Augmentation(rotations=3, gain=0.2, noise=0.1, gamma=0.3, blur=0.5, shift=1, drop=(0.3, 0.0))
    patches = augment(wide, 28, everything, rng)
    empty = (patches == 0).flatten(2).all(dim=2).float().mean(dim=0)
    assert empty[0] == empty[2] == 0
    assert 0.2 < empty[1] < 0.4


def test_a_shift_moves_t2w_and_t1w_against_t2star(scan):
    wide = cut_patch_set(*scan, "lesion", 1).patches
    shifts = np.zeros((12, 3, 2), np.float32)
    shifts[:, 1], shifts[:, 2] = (1, 0), (0, -2)
    n = np.zeros(12)
    moved = rotate_patches(wide, n, n > 0, 28, shifts)
    start = wide.shape[-1] // 2 - 14
    for channel, (di, dj) in enumerate(((0, 0), (1, 0), (0, -2))):
        expected = wide[:, channel, start + di : start + di + 28, start + dj : start + dj + 28]
        np.testing.assert_allclose(moved[:, channel].numpy() * 255, expected, atol=1e-2)


def test_gamma_and_blur_leave_black_white_and_flat_patches_alone(rng):
    for value in (0, 255):
        flat = np.full((4, 3, 42, 42), value, np.uint8)
        patches = augment(flat, 28, Augmentation(rotations=0, gamma=0.4, blur=0.6), rng)
        torch.testing.assert_close(patches, torch.full_like(patches, value / 255), atol=1e-6, rtol=0)
    grey = np.full((4, 3, 42, 42), 100, np.uint8)
    assert (augment(grey, 28, Augmentation(rotations=0, blur=0.6), rng) - 100 / 255).abs().max() < 1e-6
    assert (augment(grey, 28, Augmentation(rotations=0, gamma=0.4), rng) - 100 / 255).abs().max() > 0.01
