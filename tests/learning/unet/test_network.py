import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mbseg_bids.detection.network.weights import WeightsMetadata, save_weights
from mbseg_bids.errors import UnreadableDataError, UsageError
from mbseg_bids.learning.unet.network import (
    LAST_BLOCK,
    UNetMetadata,
    UNetShape,
    build_unet,
    load_unet,
    monai_module,
    save_unet,
    transfer,
)

SMALL = UNetShape((4, 8, 8), 1)


@pytest.mark.parametrize("size", [32, 64, 128, 256])
def test_every_window_of_the_paper_gives_two_classes_a_voxel(size):
    with torch.inference_mode():
        assert build_unet(SMALL)(torch.zeros(1, 3, size, size)).shape == (1, 2, size, size)


def test_a_side_that_is_a_multiple_of_the_divisor_is_enough():
    shape = UNetShape((4, 4, 4, 4), 1)
    assert shape.divisor == 4
    assert build_unet(shape)(torch.zeros(1, 3, 12, 20)).shape == (1, 2, 12, 20)


def test_the_seed_decides_the_weights_and_the_global_state_stays():
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    one, same, other = (build_unet(SMALL, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.random.get_rng_state().equal(before)
    assert all(one[name].equal(same[name]) for name in one)
    assert not all(one[name].equal(other[name]) for name in one)


def test_transfer_keeps_everything_but_the_last_block():
    model = build_unet(SMALL, seed=1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    old, new = model.state_dict(), transfer(model, SMALL, seed=2).state_dict()
    in_last = {name for name in old if name.startswith(f"{LAST_BLOCK}.")}
    assert {name for name in old if not old[name].equal(new[name])} == {
        name for name in in_last if "running" not in name and "num_batches" not in name
    }
    assert {old[name].shape[0] for name in in_last if name.endswith("conv.bias")} == {2}  # two classes, nothing else


def test_a_file_gives_back_network_and_metadata(tmp_path):
    model = build_unet(SMALL, seed=1).eval()
    metadata = UNetMetadata("small", "csf", 32, SMALL, training={"steps": 3})
    save_unet(tmp_path / "a" / "small.safetensors", model, metadata)
    read, described = load_unet(tmp_path / "a" / "small.safetensors")
    assert described == metadata
    image = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        assert read(image).equal(model(image))


def test_files_of_other_networks_or_none_are_refused(tmp_path):
    save_weights(tmp_path / "resnet.safetensors", nn.Linear(3, 2), WeightsMetadata("other"))
    save_file({"a": torch.zeros(1)}, tmp_path / "plain.safetensors")
    torch.save(build_unet(SMALL).state_dict(), tmp_path / "pickle.safetensors")
    (tmp_path / "short.safetensors").write_bytes(b"\x10")
    for name in ("resnet", "plain", "pickle", "short", "missing"):
        with pytest.raises(UnreadableDataError, match=f"{name}.safetensors"):
            load_unet(tmp_path / f"{name}.safetensors")


def test_a_file_with_the_shape_of_another_network_is_refused(tmp_path):
    save_unet(tmp_path / "a.safetensors", build_unet(SMALL), UNetMetadata("a", "csf", 32, UNetShape((4, 8, 16), 1)))
    with pytest.raises(UnreadableDataError, match="not the U-Net it says"):
        load_unet(tmp_path / "a.safetensors")


def test_without_monai_the_message_names_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "monai"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "monai", None)
    with pytest.raises(UsageError, match=r"mbseg-bids\[baseline\]"):
        monai_module("inferers")


@pytest.mark.parametrize(("features", "units"), [((4, 8), 1), ((4, 0, 8), 1), ((4, 8, 8), 0)])
def test_impossible_shapes_are_refused(features, units):
    with pytest.raises(UsageError, match="no U-Net"):
        UNetShape(features, units)


def test_the_result_of_a_voxel_does_not_depend_on_what_is_far_from_it():
    model = build_unet(SMALL, seed=0).eval()
    image = torch.rand(1, 3, 64, 64)
    other = image.clone()
    other[..., 48:] = 1 - other[..., 48:]
    with torch.inference_mode():
        np.testing.assert_allclose(model(image)[..., :16], model(other)[..., :16], atol=1e-6)
