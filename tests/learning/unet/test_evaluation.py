from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from mbseg_bids.learning.unet.csf_maps import typical_slices, unet_csf
from mbseg_bids.learning.unet.evaluation import evaluate_unet, patch_sensitivity
from mbseg_bids.learning.unet.network import UNetMetadata
from mbseg_bids.settings import DetectionSettings


class Dark(nn.Module):
    """Says yes where T2* is below a value and the voxel is not padding."""

    def __init__(self, below: float):
        super().__init__()
        self.below = below

    def forward(self, images):
        yes = (images[:, 0] < self.below) & (images[:, 0] > 0)
        return torch.stack([torch.zeros_like(images[:, 0]), 20.0 * yes - 10], dim=1)


@pytest.fixture
def scan(make_scan):
    """Five lesions of 27 mm3, one of them grey, one voxel of 3 mm3 that is too small to count."""
    scan = make_scan(n_lesions=0)
    for label, (i, j, k) in enumerate(((10, 8, 0), (20, 8, 0), (10, 22, 1), (20, 22, 1), (30, 15, 2)), start=1):
        scan.lesions[i : i + 3, j : j + 3, k] = label
    scan.lesions[30, 25, 0] = 6
    scan.levels[0][scan.lesions > 0] = 40
    scan.levels[0][scan.lesions == 5] = 110
    return scan


@pytest.mark.parametrize(("size", "stride"), [(16, "1"), (16, "1/4"), (256, "1")])
def test_lesions_are_segmented_from_the_map_and_counted(scan, size, stride):
    metadata = UNetMetadata("dark", "microbleed", size)
    row = evaluate_unet(Dark(0.3), metadata, scan, Fraction(stride), DetectionSettings(), device="cpu")
    assert (row.network, row.patch_size, row.stride, row.n_slices) == ("U-Net", size, stride, 3)
    assert (row.n_truth, row.n_detected, row.n_predicted, row.n_correct) == (5, 4, 4, 4)
    assert row.voxel_dice == pytest.approx(2 * 37 / (37 + 46), abs=1e-4)
    assert row.wall_seconds >= 0


def test_the_intensity_ratio_rule_applies_as_to_any_other_map(scan):
    """What is darker than its surroundings by a sixth only is a candidate of the map, but no lesion."""
    scan.levels[0][scan.brain] = 150
    scan.levels[0][scan.lesions > 0] = 130
    row = evaluate_unet(
        Dark(0.55), UNetMetadata("dark", "microbleed", 16), scan, Fraction(1), DetectionSettings(), device="cpu"
    )
    assert (row.n_truth, row.n_detected, row.n_predicted) == (5, 0, 0)


@pytest.mark.parametrize("size", [16, 256])
def test_a_window_about_each_lesion_finds_the_dark_ones(scan, size):
    assert patch_sensitivity(Dark(0.3), UNetMetadata("dark", "microbleed", size), scan, batch_size=2) == (4, 5)
    assert patch_sensitivity(Dark(0.5), UNetMetadata("dark", "microbleed", size), scan) == (5, 5)


def test_a_neighbour_in_the_window_does_not_count_as_the_lesion(scan):
    """Lesions 3 and 4 are in each other's window; one that is not dark is not found by the other."""
    scan.levels[0][scan.lesions == 4] = 110
    assert patch_sensitivity(Dark(0.3), UNetMetadata("dark", "microbleed", 32), scan) == (3, 5)


def test_a_scan_without_lesions_has_none_to_find(make_scan):
    assert patch_sensitivity(Dark(0.3), UNetMetadata("dark", "microbleed", 16), make_scan(n_lesions=0)) == (0, 0)


def test_a_u_net_maps_csf_with_the_time_it_takes(make_scan):
    scan = make_scan(n_lesions=0)
    scan.levels[0][scan.tissue == 1] = 60
    found, seconds = unet_csf(Dark(0.3), UNetMetadata("dark", "csf", 32), "cpu")(scan)
    np.testing.assert_array_equal(found > 0.5, scan.target("csf"))
    assert seconds > 0


def test_pictures_show_slices_from_the_middle():
    truth = np.zeros((4, 4, 30), bool)
    truth[..., 5:26] = True
    assert typical_slices(truth) == [9, 13, 17, 21]
    assert typical_slices(truth & False) == [15]
