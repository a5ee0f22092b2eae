import numpy as np
import pytest
import torch

from mbseg_bids.detection.network.device_patches import DevicePatches
from mbseg_bids.detection.network.patches import extract_patches


@pytest.mark.parametrize("size", [1, 7, 28])
def test_the_patches_are_those_cut_on_the_host(rng, size):
    """Every voxel of a grid smaller than the patch, and of one larger, its corners among them."""
    for shape in ((9, 6, 2), (40, 33, 3)):
        stack = rng.uniform(0, 100, (3, *shape)).astype(np.float32)
        voxels = np.argwhere(np.ones(shape, bool))[:: 1 if shape[0] < 10 else 37]
        patches = DevicePatches(stack, size, torch.device("cpu"))
        found = patches.gather(patches.locate(voxels))
        np.testing.assert_array_equal(found.numpy(), extract_patches(stack, voxels, size))
        assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("voxel", [(-1, 0, 0), (0, 9, 0), (0, 0, 2)])
def test_a_voxel_outside_the_grid_is_refused(voxel):
    patches = DevicePatches(np.zeros((3, 9, 9, 2), np.float32), 7, torch.device("cpu"))
    with pytest.raises(ValueError, match="outside the grid"):
        patches.locate(np.array([voxel]))


def test_a_stack_has_three_contrasts():
    with pytest.raises(ValueError, match="shape"):
        DevicePatches(np.zeros((2, 9, 9, 2), np.float32), 7, torch.device("cpu"))
