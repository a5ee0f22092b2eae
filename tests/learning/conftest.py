"""What the tests of learning share."""

import numpy as np
import pytest
import torch
from labelled_tree import LabelledTree
from torch import nn

from mbseg_bids.learning.examples.labelled_scan import LabelledScan
from mbseg_bids.learning.examples.patch_set import KINDS, PatchSet


class TinyNetwork(nn.Module):
    """A few hundred weights with a batch norm, and a last layer of the name that a ResNet's has."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 3, stride=2), nn.BatchNorm2d(width)
        self.fc = nn.Linear(width, 2)

    def forward(self, images):
        return self.fc(torch.relu(self.bn1(self.conv1(images))).mean(dim=(2, 3)))


@pytest.fixture
def tiny_network():
    """Return a function that makes a small network from a seed."""

    def make(seed: int = 0, width: int = 8) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return TinyNetwork(width)

    return make


@pytest.fixture
def dark_patches(rng):
    """Forty-eight wide patches of six participants: lesions are dark in the middle, backgrounds are not."""
    n = 48
    kinds = np.where(np.arange(n) % 2, KINDS["lesion"], KINDS["background"]).astype(np.uint8)
    images = rng.integers(120, 160, (n, 3, 42, 42)).astype(np.uint8)
    images[kinds == KINDS["lesion"], :, 17:26, 17:26] = 0
    volumes = np.where(kinds == KINDS["lesion"], 9.0, 0.0).astype(np.float32)
    return PatchSet(images, kinds, np.arange(n, dtype=np.int32) // 8, volumes)


@pytest.fixture
def tree(tmp_path, rng):
    return LabelledTree(tmp_path, rng)


@pytest.fixture
def make_scan():
    """Return a function that makes a scan of even tissue with dark lesions and a rim of bright CSF."""

    def make(name="toy", shape=(41, 37, 3), n_lesions=6, seed=0) -> LabelledScan:
        rng = np.random.default_rng(seed)
        brain = np.zeros(shape, bool)
        brain[3:-3, 3:-3] = True
        tissue = np.where(brain, 3, 0).astype(np.uint8)
        tissue[3:7][brain[3:7]] = 1
        lesions = np.zeros(shape, np.int32)
        for label in range(1, n_lesions + 1):
            i, j, k = (int(rng.integers(low, n)) for low, n in ((9, shape[0] - 6), (6, shape[1] - 6), (0, shape[2])))
            lesions[i : i + 3, j : j + 3, k] = label
        levels = np.where(brain, 150, 0)[None].repeat(3, axis=0) + rng.integers(0, 10, (3, *shape))
        levels[:, tissue == 1] = 230
        levels[0][lesions > 0] = 40
        affine = np.diag([1.0, 1.0, 3.0, 1.0])
        mimics = np.zeros(shape, np.uint8)
        return LabelledScan(
            name, levels.astype(np.uint8), lesions, mimics, tissue, tissue, brain, (1.0, 1.0, 3.0), affine
        )

    return make
