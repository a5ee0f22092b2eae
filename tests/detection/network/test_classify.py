import numpy as np
import pytest
import torch

from mbseg_bids.detection.network import classify
from mbseg_bids.detection.network.resnet import build_network
from mbseg_bids.errors import TemporaryError, UsageError


@pytest.fixture(scope="module")
def model():
    return build_network(seed=7).eval()


@pytest.fixture
def scan(rng):
    return rng.uniform(0, 100, (3, 40, 40, 3)).astype(np.float32), rng.integers(0, (40, 40, 3), (50, 3))


def test_the_number_of_threads_changes_no_bit(model, scan):
    results = [
        classify.classify_voxels(model, *scan, input_size=32, batch_size=8, device="cpu", n_workers=n)
        for n in (1, 2, 5)
    ]
    assert results[0].dtype == np.float32
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_each_voxel_keeps_its_own_probability(model, scan, rng):
    stack, voxels = scan
    expected = classify.classify_voxels(model, stack, voxels, input_size=32, batch_size=16, device="cpu")
    order = rng.permutation(len(voxels))
    permuted = classify.classify_voxels(model, stack, voxels[order], input_size=32, batch_size=16, device="cpu")
    single = classify.classify_voxels(model, stack, voxels[:5], input_size=32, batch_size=1, device="cpu")
    assert np.ptp(expected) > 0
    np.testing.assert_array_equal(permuted, expected[order])
    np.testing.assert_allclose(single, expected[:5], atol=1e-5)


def test_probability_is_the_softmax_of_output_one(scan):
    class Fixed(torch.nn.Module):
        def forward(self, x):
            return torch.tensor([[0.0, 2.0]]).expand(len(x), 2)

    stack, voxels = scan
    original = classify.fuse_batch_norms
    try:
        classify.fuse_batch_norms = lambda model: model
        found = classify.classify_voxels(Fixed(), stack, voxels, device="cpu", input_size=32, runtime="pytorch")
    finally:
        classify.fuse_batch_norms = original
    np.testing.assert_allclose(found, np.exp(2) / (1 + np.exp(2)), rtol=1e-6)


def test_no_voxels_give_no_probabilities(model, scan):
    assert classify.classify_voxels(model, scan[0], np.empty((0, 3), int), device="cpu").shape == (0,)


def test_progress_ends_at_the_number_of_voxels(model, scan):
    calls = []
    classify.classify_voxels(
        model, *scan, input_size=32, batch_size=16, device="cpu", progress=lambda *step: calls.append(step)
    )
    assert calls == [(16, 50), (32, 50), (48, 50), (50, 50)]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_running_out_of_memory_is_a_temporary_error(model, scan, monkeypatch, error):
    def fail(*_):
        raise error("no more")

    monkeypatch.setattr(classify.DevicePatches, "gather", fail)
    with pytest.raises(TemporaryError, match="out of memory") as caught:
        classify.classify_voxels(model, *scan, input_size=32, device="cpu")
    assert caught.value.exit_code == 75
    assert "--batch-size" in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_asking_for_a_gpu_that_is_not_there_is_refused(model, scan):
    with pytest.raises(UsageError, match="no GPU"):
        classify.classify_voxels(model, *scan, device="cuda")
