import numpy as np
import pytest
import torch
from torch import nn

from mbseg_bids.detection.network import classify, runtime_cuda
from mbseg_bids.detection.network.resnet import build_network, fuse_batch_norms
from mbseg_bids.detection.network.runtime_cuda import FusedResNet, graphed

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(scope="module")
def whole():
    """A network none of whose blocks is the identity, and whose biases are not zero once fused."""
    model = build_network(seed=3).eval()
    generator = torch.Generator().manual_seed(4)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.1, 0.5, generator=generator)
            module.bias.data.uniform_(-0.2, 0.2, generator=generator)
    return model


@pytest.fixture
def scan(rng):
    return rng.uniform(0, 100, (3, 40, 40, 3)).astype(np.float32), rng.integers(0, (40, 40, 3), (100, 3))


@pytest.fixture
def switch(monkeypatch):
    def set_switches(fused, graphs):
        monkeypatch.setattr(runtime_cuda, "FUSED_CONVOLUTIONS", fused)
        monkeypatch.setattr(runtime_cuda, "GRAPHS", graphs)

    return set_switches


@pytest.mark.parametrize("seed", [None, 5])
def test_fused_convolutions_are_the_same_network(whole, seed):
    """A whole network, and one of whose blocks most are left out."""
    model = fuse_batch_norms(whole if seed is None else build_network(seed=seed))
    inputs = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = model(inputs)
        torch.testing.assert_close(FusedResNet(model)(inputs), expected, atol=1e-4, rtol=1e-4)
        model.layer2[0].downsample.bias += 1  # not that any network will do
        assert (FusedResNet(model)(inputs) - expected).abs().max() > 1e-3


def test_without_a_gpu_a_graph_is_the_function_itself():
    def work(x):
        return x + 1

    assert graphed(work, torch.zeros(2)) is work


def test_the_switches_change_no_bit_on_a_cpu(whole, scan, switch):
    options = {"input_size": 32, "device": "cpu", "runtime": "pytorch", "batch_size": 8}
    voxels = scan[1][:10]
    switch(False, False)
    expected = classify.classify_voxels(whole, scan[0], voxels, **options)
    switch(True, True)
    np.testing.assert_array_equal(classify.classify_voxels(whole, scan[0], voxels, **options), expected)


@needs_gpu
def test_on_a_gpu_fused_convolutions_are_the_same_network(whole):
    model = fuse_batch_norms(whole)
    inputs = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = model(inputs)
        half = model.to("cuda", torch.float16)
        given = inputs.to("cuda", torch.float16).contiguous(memory_format=torch.channels_last)
        found = FusedResNet(half)(given).float().cpu()
        torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)


@needs_gpu
@pytest.mark.parametrize("precision_from", [None, 2.0])
def test_on_a_gpu_a_graph_changes_no_bit(whole, scan, switch, precision_from):
    options = {"input_size": 64, "device": "cuda", "batch_size": 8, "exact_from": precision_from}
    switch(False, False)
    expected = classify.classify_voxels(whole, *scan, **options)
    switch(False, True)
    ask = classify.Classifier(whole, scan[0], **options)
    for _ in range(2):  # captured, and replayed alone
        np.testing.assert_array_equal(ask(scan[1]), expected)
    assert len(ask._graphs) == 1
    np.testing.assert_array_equal(ask(scan[1][:3]), expected[:3])


@needs_gpu
def test_on_a_gpu_what_cannot_be_captured_is_launched_as_ever(caplog):
    def work(x):
        return x + float(x.sum())  # waits for the GPU

    example = torch.ones(4, device="cuda")
    assert torch.equal(graphed(work, example)(example), torch.full((4,), 5.0, device="cuda"))
    assert "no CUDA graph" in caplog.text
