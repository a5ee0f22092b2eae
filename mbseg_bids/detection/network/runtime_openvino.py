"""The network on OpenVINO: what Intel's library makes of it on a CPU, a few times as fast as PyTorch where that suits.

The graph is written down layer by layer from the weights, not converted: that takes a fraction of a second instead of
several, and needs no code of the converter.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

_TELEMETRY = "openvino_telemetry"
"""A dependency of OpenVINO that reports its import to a server where somebody once agreed to that."""


@cache
def openvino() -> ModuleType | None:
    """Return the library, or nothing where it is not installed or cannot be loaded. Nothing is sent anywhere."""
    try:
        with _without(_TELEMETRY):
            return importlib.import_module("openvino")
    except (ImportError, OSError, RuntimeError):  # missing, or built for another system
        return None


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Make a module impossible to import; OpenVINO then takes its own stand-in for it, which does nothing."""
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == module}
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]
        sys.modules.update(before)


def fast_precision() -> str | None:
    """Return the lower precision that this processor computes faster than float32: ``bfloat16``, or nothing."""
    library = openvino()
    if library is None:
        return None
    abilities = library.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "bfloat16" if "BF16" in abilities else None


class OpenVinoNetwork:
    """A network compiled for this CPU; several threads may call it at once, and each call computes on one thread.

    Parameters
    ----------
    model
        Of :func:`mbseg_bids.detection.network.resnet.fuse_batch_norms`.
    patch_size, input_size
        Side of a patch in voxels, and the side it is resized to.
    batch_size
        Patches a call.
    n_workers
        How many calls may run at once.
    precision
        ``float32`` or ``bfloat16``.
    """

    def __init__(
        self, model: nn.Module, *, patch_size: int, input_size: int, batch_size: int, n_workers: int, precision: str
    ) -> None:
        library = openvino()
        if library is None:
            raise ImportError("openvino is not installed")
        graph = _graph(library, model, (batch_size, 3, patch_size, patch_size), input_size)
        # One thread a stream: a call's result is then the same whatever else runs, and however many streams there are.
        config = {
            "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
            "INFERENCE_NUM_THREADS": n_workers,
            "NUM_STREAMS": n_workers,
            "ENABLE_CPU_PINNING": False,
        }
        compiled = library.Core().compile_model(graph, "CPU", config)
        self._idle = [compiled.create_infer_request() for _ in range(n_workers)]

    def __call__(self, patches: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the probability of output 1 for a full batch of patches, shape (batch size, 3, size, size), 0-1."""
        request = self._idle.pop()  # of a list, which is safe among threads
        try:
            request.infer([patches], share_inputs=True)
            return np.array(request.get_output_tensor(0).data[:, 1])
        finally:
            self._idle.append(request)


def _graph(library: Any, model: nn.Module, shape: tuple[int, int, int, int], input_size: int) -> Any:
    """Write down resizing, ResNet and softmax with OpenVINO's operators."""
    op = importlib.import_module("openvino.opset13")
    patches = op.parameter(list(shape), np.float32, name="patches")
    x = patches
    if shape[-1] != input_size:
        size = op.constant(np.array([input_size] * 2, np.int64))
        x = op.interpolate(
            x,
            size,
            mode="linear_onnx",
            shape_calculation_mode="sizes",
            coordinate_transformation_mode="half_pixel",
            axes=op.constant(np.array([2, 3], np.int64)),
        )
    x = op.relu(_convolution(op, x, model.conv1))
    x = op.max_pool(x, [2, 2], [1, 1], [1, 1], [1, 1], kernel_shape=[3, 3]).output(0)
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
        for block in stage:
            if not isinstance(block, nn.Identity):
                x = _bottleneck(op, x, block)
    x = op.reduce_mean(x, op.constant(np.array([2, 3], np.int64)), keep_dims=False)
    logits = op.matmul(x, _constant(op, model.fc.weight), False, True)
    logits = op.add(logits, _constant(op, model.fc.bias))
    return library.Model([op.softmax(logits, 1)], [patches], "network")


def _bottleneck(op: Any, x: Any, block: Any) -> Any:
    left = op.relu(_convolution(op, x, block.conv1))
    left = op.relu(_convolution(op, left, block.conv2))
    left = _convolution(op, left, block.conv3)
    right = x if block.downsample is None else _convolution(op, x, block.downsample)
    return op.relu(op.add(left, right))


def _convolution(op: Any, x: Any, layer: nn.Conv2d) -> Any:
    padding = list(layer.padding)
    y = op.convolution(x, _constant(op, layer.weight), list(layer.stride), padding, padding, list(layer.dilation))
    return y if layer.bias is None else op.add(y, _constant(op, layer.bias.reshape(1, -1, 1, 1)))


def _constant(op: Any, tensor: torch.Tensor) -> Any:
    return op.constant(tensor.detach().float().cpu().contiguous().numpy())
