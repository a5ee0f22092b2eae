import numpy as np
import pytest
import torch
from torch import nn

from mbseg_bids.errors import UsageError
from mbseg_bids.learning.unet.inference import SlidingWindow, predict_scan, slide
from mbseg_bids.learning.unet.network import UNetShape, build_unet

SMALL = UNetShape((4, 8, 8), 1)


class Pointwise(nn.Module):
    """Logits that depend on the voxel alone, so that every way to lay windows must give the same."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, images):
        self.calls += len(images)
        return torch.stack([torch.zeros_like(images[:, 0]), 8 * (images[:, 0] - 0.5)], dim=1)


@pytest.mark.parametrize("stride", [1, 1 / 2, 1 / 4, 1 / 8, 1 / 16])
@pytest.mark.parametrize("blend", ["centre", "constant", "gaussian"])
def test_windows_put_together_are_the_slice(stride, blend):
    image = torch.rand(1, 3, 45, 39)
    found = slide(Pointwise(), image, SlidingWindow(32, stride, blend))
    torch.testing.assert_close(found, torch.sigmoid(8 * (image[:, 0] - 0.5)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("stride", "per_axis"), [(1, (2, 3)), (1 / 2, (3, 4)), (1 / 4, (5, 7)), (1 / 8, (9, 13)), (1 / 16, (17, 25))]
)
def test_the_stride_decides_how_many_windows_the_network_sees(stride, per_axis):
    model, windows = Pointwise(), SlidingWindow(32, stride)
    slide(model, torch.zeros(1, 3, 64, 80), windows)
    assert model.calls == per_axis[0] * per_axis[1] == windows.count((64, 80))


def test_a_window_over_the_whole_slice_is_the_network_alone():
    model = build_unet(SMALL, seed=0).eval()
    image = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        direct = torch.softmax(model(image), dim=1)[:, 1]
    torch.testing.assert_close(slide(model, image, SlidingWindow(64)), direct)


def test_a_smaller_slice_is_padded_with_zeros_on_both_sides():
    model = build_unet(SMALL, seed=0).eval()
    image = torch.rand(1, 3, 41, 50)
    padded = nn.functional.pad(image, (7, 7, 11, 12))
    with torch.inference_mode():
        direct = torch.softmax(model(padded), dim=1)[:, 1, 11:52, 7:57]
    torch.testing.assert_close(slide(model, image, SlidingWindow(64)), direct)


def test_with_blend_centre_a_voxel_takes_the_value_of_the_window_it_is_the_middle_of():
    class Corner(nn.Module):
        """Says yes at the middle of each window alone."""

        def forward(self, images):
            logits = torch.full((len(images), 2, 16, 16), 0.0)
            logits[:, 0], logits[:, 1, 6:10, 6:10] = 10, 20
            return logits

    found = slide(Corner(), torch.zeros(1, 3, 48, 48), SlidingWindow(16, 1 / 4))[0]
    assert (found[6:42, 6:42] > 0.99).all()
    assert (found[:6] < 0.01).all()  # no window has the border in its middle


def test_the_map_has_the_grid_of_the_scan_and_is_zero_outside_the_brain(make_scan):
    scan = make_scan(shape=(41, 37, 3))
    brain = scan.brain.copy()
    brain[:, :, 1] = False
    model = build_unet(SMALL, seed=0)
    for windows in (SlidingWindow(256), SlidingWindow(32, 1 / 2)):
        found = predict_scan(model, scan.stack, brain, windows, device="cpu")
        assert found.shape == brain.shape
        np.testing.assert_array_equal(found > 0, brain)


def test_no_brain_no_probability(make_scan):
    scan = make_scan()
    assert not predict_scan(Pointwise(), scan.stack, scan.brain & False, SlidingWindow(32), device="cpu").any()


def test_the_map_does_not_depend_on_how_many_windows_go_at_a_time(make_scan):
    scan, model = make_scan(), build_unet(SMALL, seed=0)
    one, many = (
        predict_scan(model, scan.stack, scan.brain, SlidingWindow(32, 1 / 4, batch_size=n), device="cpu")
        for n in (1, 16)
    )
    np.testing.assert_allclose(one, many, atol=1e-5)


@pytest.mark.parametrize("stride", [0, 1.5, 1 / 64])
def test_impossible_strides_are_refused(stride):
    with pytest.raises(UsageError, match="stride"):
        SlidingWindow(32, stride)
