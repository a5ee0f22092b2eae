"""What the tests of learning share."""

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from mbseg_bids.learning.labelled_scan import LabelledScan
from mbseg_bids.learning.patch_set import KINDS, PatchSet


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


SHAPE, SPACING = (70, 80, 6), (0.5, 0.5, 3.0)
"""Of the T2*-weighted image; the detection grid has 35 x 40 x 6 voxels of 1 x 1 x 3 mm."""


class LabelledTree:
    """Output of the BIDS App, and masks, for scans made of a few boxes."""

    def __init__(self, root, rng):
        self.output, self.labels, self._rng = root / "output", root / "labels", rng
        self.affine = np.diag([*SPACING, 1.0])
        self.affine[:3, 3] = (-17.0, -20.0, 4.0)

    def add(self, participant, boxes=(), *, contrasts=("T2w", "T1w"), labelled=True, affine=None, shape=SHAPE):
        """Add a scan with a dark box (slices of native voxels) for each lesion; return the path of its mask."""
        from mbseg_bids.imaging.grids import detection_grid

        folder = self.output / f"sub-{participant}" / "anat"
        stem = f"sub-{participant}_space-T2starw"
        t2star = self._rng.uniform(60, 70, SHAPE).astype(np.float32)
        mask = np.zeros(shape, np.uint8)
        for box in boxes:
            t2star[box] = 5
            mask[box] = 1
        brain = np.zeros(SHAPE, np.uint8)
        brain[6:-6, 6:-6] = 1
        regions = np.where(brain, 3, 0).astype(np.uint8)
        regions[6:20] = 0  # CSF
        regions[20:30, 6:-6] = 1
        save(folder / f"{stem}_desc-preproc_T2starw.nii.gz", t2star, self.affine)
        save(folder / f"{stem}_desc-brain_mask.nii.gz", brain, self.affine)
        save(folder / f"{stem}_seg-regions_dseg.nii.gz", regions, self.affine)
        grid = detection_grid(SHAPE, self.affine)
        for level, contrast in enumerate(contrasts, start=1):
            values = np.full(grid.shape, 20 * level, np.float32)
            save(folder / f"{stem}_desc-preproc_{contrast}.nii.gz", values, grid.affine)
        path = self.labels / f"sub-{participant}" / "anat" / f"{stem}_label-CMB_mask.nii.gz"
        if labelled:
            save(path, mask, self.affine if affine is None else affine)
        return path


def save(path, data, affine):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)


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
