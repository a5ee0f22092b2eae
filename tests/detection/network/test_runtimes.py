import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from mbseg_bids.detection.network import classify, runtime_openvino, runtime_pytorch, runtimes
from mbseg_bids.detection.network.self_test import LOSS, RADIUS, TISSUE
from mbseg_bids.detection.network.weights import load_weights
from mbseg_bids.errors import UsageError

needs_openvino = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed")


@pytest.fixture(scope="module")
def weights():
    return load_weights()


@pytest.fixture(scope="module")
def model(weights):
    return weights[0]


@pytest.fixture(scope="module")
def scan():
    """Dots in white matter, from faint to black, and voxels in them, beside them and elsewhere."""
    rng = np.random.default_rng(2)
    stack = np.reshape(TISSUE, (3, 1, 1, 1)) * rng.normal(100, 3, (3, 48, 48, 2))
    centres = np.array([(i, j, k) for i in (10, 24, 38) for j in (10, 24, 38) for k in (0, 1)])
    i, j = np.indices((48, 48))
    for (x, y, k), strength in zip(centres, np.linspace(0.15, 1, len(centres)), strict=True):
        dot = strength / (1 + np.exp((np.hypot(i - x, j - y) - RADIUS) / 0.3))
        stack[:, :, :, k] *= 1 - np.reshape(LOSS, (3, 1, 1)) * dot
    beside = [centres + np.array(step) for step in ((0, 0, 0), (1, 1, 0), (2, 0, 0))]
    voxels = np.concatenate([*beside, rng.integers(0, (48, 48, 2), (6, 3))])
    return stack.clip(0, 100).astype(np.float32), voxels


@pytest.fixture(scope="module")
def exact(weights, scan):
    """What PyTorch makes of it in float32."""
    found = ask(weights, scan, runtime="pytorch")
    assert found.min() < 0.1
    assert found.max() > 0.9
    return found


def ask(weights, scan, **options):
    stack, voxels = scan
    return classify.classifier(*weights, stack, **({"device": "cpu"} | options))(voxels)


@needs_openvino
def test_the_runtimes_agree(weights, scan, exact):
    np.testing.assert_allclose(ask(weights, scan, runtime="openvino"), exact, atol=2e-5)


@needs_openvino
def test_neither_workers_nor_neighbours_in_a_batch_change_a_bit(weights, scan, rng):
    stack, voxels = scan
    expected = ask(weights, scan, runtime="openvino", exact_from=0.5)
    order = rng.permutation(len(voxels))
    for part, n_workers in ((order, 3), (order[:17], 1), (order[:1], 3)):
        found = ask(weights, (stack, voxels[part]), runtime="openvino", exact_from=0.5, n_workers=n_workers)
        np.testing.assert_array_equal(found, expected[part])


@pytest.mark.parametrize("runtime", ["pytorch", pytest.param("openvino", marks=needs_openvino)])
def test_low_precision_is_left_only_where_it_decides_nothing(weights, scan, exact, monkeypatch, runtime):
    monkeypatch.setattr(runtime_pytorch, "fast_precision", lambda _: "bfloat16")
    if runtime == "openvino" and runtime_openvino.fast_precision() is None:
        pytest.skip("OpenVINO knows no bfloat16 on this processor")
    full = exact if runtime == "pytorch" else ask(weights, scan, runtime=runtime)
    asked = classify.classifier(*weights, scan[0], device="cpu", runtime=runtime, exact_from=0.2)
    found = asked(scan[1])
    assert (found != full).any()
    np.testing.assert_array_equal(found[full >= 0.2], full[full >= 0.2])
    np.testing.assert_array_equal(found >= 0.2, full >= 0.2)
    np.testing.assert_allclose(found, full, atol=classify.MARGIN)
    assert asked.describe()["precision"] == "bfloat16 below 0.2, float32"


def test_what_is_no_number_in_low_precision_is_computed_again(weights, scan, exact, monkeypatch):
    monkeypatch.setattr(runtime_pytorch, "fast_precision", lambda _: "float16")
    make = classify._make

    def broken(network, runtime, precision, *sizes):
        if precision == "float16":
            return lambda patches: torch.full((len(patches),), torch.nan)
        return make(network, runtime, precision, *sizes)

    monkeypatch.setattr(classify, "_make", broken)
    np.testing.assert_array_equal(ask(weights, scan, runtime="pytorch", exact_from=0.9), exact)


def test_a_batch_that_does_not_fit_is_halved_and_the_run_says_so(weights, scan, exact, monkeypatch, caplog):
    gather, sizes = classify.DevicePatches.gather, []

    def small_ones_only(self, places):
        sizes.append(len(places))
        if len(places) > 16:
            raise torch.OutOfMemoryError("no more")
        return gather(self, places)

    monkeypatch.setattr(classify.DevicePatches, "gather", small_ones_only)
    with caplog.at_level("WARNING", logger="mbseg"):
        found = ask(weights, scan, runtime="pytorch", batch_size=64)
    np.testing.assert_allclose(found, exact, atol=1e-5)
    assert sorted(set(sizes)) == [16, 32, 64]
    assert [record.getMessage() for record in caplog.records] == [
        "out of memory on cpu with batches of 64 patches: going on with 32",
        "out of memory on cpu with batches of 32 patches: going on with 16",
    ]


@pytest.mark.parametrize(("gigabytes", "batch"), [(80, 512), (4, 256), (0.1, 8), (0, 8)])
def test_the_batch_of_a_gpu_fits_its_free_memory(monkeypatch, gigabytes, batch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (int(gigabytes * 1e9), int(80e9)))
    assert classify._default_batch("cuda", 112) == batch


def test_float32_of_a_gpu_is_not_tf32():
    with runtime_pytorch.exact_convolutions():
        assert not torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.deterministic


@needs_openvino
def test_openvino_is_taken_for_cpus_it_suits(model, monkeypatch):
    monkeypatch.setattr(runtimes.platform, "machine", lambda: "x86_64")
    assert runtimes.choose_runtime("auto", "cpu", model).name == "openvino"
    assert runtimes.choose_runtime("pytorch", "cpu", model).name == "pytorch"
    assert runtimes.choose_runtime("auto", "cpu", torch.nn.Linear(1, 2)).name == "pytorch"
    monkeypatch.setattr(runtimes.platform, "machine", lambda: "aarch64")
    assert runtimes.choose_runtime("auto", "cpu", model).name == "pytorch"
    assert runtimes.choose_runtime("openvino", "auto", model).device == "cpu"
    with pytest.raises(UsageError, match="cuda"):
        runtimes.choose_runtime("openvino", "cuda", model)


def test_without_openvino_torch_does_it(weights, model, scan, exact, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)  # its import fails
    runtime_openvino.openvino.cache_clear()
    try:
        assert runtimes.choose_runtime("auto", "cpu", model).name == "pytorch"
        with pytest.raises(UsageError, match="cannot be loaded"):
            runtimes.choose_runtime("openvino", "cpu", model)
        np.testing.assert_array_equal(ask(weights, scan), exact)
    finally:
        runtime_openvino.openvino.cache_clear()


@needs_openvino
def test_a_network_that_openvino_cannot_compile_goes_to_torch(weights, scan, exact, monkeypatch, caplog):
    def refuse(*_, **__):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(classify, "OpenVinoNetwork", refuse)
    classify._make.cache_clear()
    np.testing.assert_array_equal(ask(weights, scan), exact)
    assert "OpenVINO cannot compute this network, PyTorch does: no such kernel" in caplog.text
    with pytest.raises(RuntimeError, match="no such kernel"):
        ask(weights, scan, runtime="openvino")


@needs_openvino
def test_a_network_is_compiled_once_a_process(weights, scan, monkeypatch):
    made = []
    original = classify.OpenVinoNetwork
    monkeypatch.setattr(classify, "OpenVinoNetwork", lambda *a, **k: made.append(1) or original(*a, **k))
    classify._make.cache_clear()
    first, second = (ask(load_weights(), scan, runtime="openvino") for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert len(made) == 1


@needs_openvino
def test_openvino_is_loaded_without_its_telemetry_and_without_a_network(tmp_path):
    """In a process of its own, with consent given as a user would have, and every socket refused."""
    code = (
        "import socket, sys\n"
        "def refuse(*_, **__):\n    raise SystemExit('a socket was opened')\n"
        "socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse\n"
        "import numpy as np\n"
        "from mbseg_bids.detection.network.classify import classify_voxels\n"
        "from mbseg_bids.detection.network.resnet import build_network\n"
        "stack = np.ones((3, 9, 9, 1), np.float32)\n"
        "classify_voxels(build_network(seed=1).eval(), stack, [[4, 4, 0]], input_size=32, runtime='openvino')\n"
        "print([m for m in sys.modules if m.startswith('openvino_telemetry')])\n"
    )
    consent = tmp_path / "intel" / "openvino_telemetry"
    consent.parent.mkdir()
    consent.write_text("1")
    environment = {
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
