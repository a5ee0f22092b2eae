"""What is particular to GPUs: convolutions that add and rectify as they write, and batches replayed as one graph."""

import logging
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

LOGGER = logging.getLogger("mbseg")

FUSED_CONVOLUTIONS = True
"""Whether half precision on a GPU is computed by :class:`FusedResNet`; measured both ways by ``benchmarks/gpu.py``."""
GRAPHS = True
"""Whether long questions to a GPU replay a captured batch; measured both ways by ``benchmarks/gpu.py``."""
GRAPH_FROM = 8
"""Batches from which capturing one pays: the warm-up before it takes as long as several."""

_WARM_UP = 3
"""Batches before a capture, so that libraries have made what they make once (torch's own recommendation)."""


def can_fuse(model: nn.Module, device: torch.device) -> bool:
    """Return whether :class:`FusedResNet` is wanted, and there for this network on this device."""
    has_cudnn = device.type == "cuda" and torch.version.hip is None and torch.backends.cudnn.is_available()
    return FUSED_CONVOLUTIONS and has_cudnn and hasattr(model, "layer4")


class FusedResNet(nn.Module):
    """A ResNet whose convolutions add their bias, and the input of their block, and rectify, in one pass each.

    PyTorch's own convolution leaves bias, addition and rectification to kernels that read and write every activation
    once more, and that, not arithmetic, is most of the time of a ResNet-50 in half precision. The same result but for
    rounding: what was rounded to half precision between these steps no longer is.

    Parameters
    ----------
    model
        Of :func:`mbseg_bids.detection.network.resnet.fuse_batch_norms`; its parameters are shared, not copied.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.stem, self.pool, self.mean, self.fc = model.conv1, model.maxpool, model.avgpool, model.fc
        stages = (model.layer1, model.layer2, model.layer3, model.layer4)
        self.blocks = nn.ModuleList(b for stage in stages for b in stage if not isinstance(b, nn.Identity))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits (N, C) for inputs (N, 3, S, S)."""
        values = self.pool(_rectified(inputs, self.stem))
        for block in self.blocks:
            values = _block(values, block)
        return self.fc(torch.flatten(self.mean(values), 1))


def _block(values: torch.Tensor, block: nn.Module) -> torch.Tensor:
    """Compute a bottleneck block."""
    kept, bias = values, block.conv3.bias
    if block.downsample is not None:
        projection = block.downsample
        # Both biases are added to the same sum; so the projection needs no pass for its own.
        kept = functional.conv2d(values, projection.weight, None, projection.stride, projection.padding)
        bias = bias + projection.bias
    inner = _rectified(_rectified(values, block.conv1), block.conv2)
    if not inner.is_cuda:
        return functional.relu(functional.conv2d(inner, block.conv3.weight, bias) + kept)
    sizes = _sizes(block.conv3)
    return torch.ops.aten.cudnn_convolution_add_relu(inner, block.conv3.weight, kept, 1.0, bias, *sizes)


def _rectified(values: torch.Tensor, layer: nn.Conv2d) -> torch.Tensor:
    """Convolve, add the bias, rectify."""
    if not values.is_cuda:
        return functional.relu(layer(values))
    return torch.ops.aten.cudnn_convolution_relu(values, layer.weight, layer.bias, *_sizes(layer))


def _sizes(layer: nn.Conv2d) -> tuple:
    return layer.stride, layer.padding, layer.dilation, layer.groups


def graphed(work: Callable[[torch.Tensor], torch.Tensor], example: torch.Tensor) -> Callable[..., torch.Tensor]:
    """Return ``work`` as a captured CUDA graph: one launch a call instead of one for each of its kernels.

    Parameters
    ----------
    work
        From a tensor on a GPU to another; no step of it may wait for the GPU.
    example
        An input; all later ones must be of its shape and type.

    Returns
    -------
    A function that writes every result to the same memory, to be copied before the next call; ``work`` itself, with a
    line in the log, where it cannot be captured or there is no GPU.
    """
    if not example.is_cuda:
        return work
    before = torch.cuda.current_stream()
    try:
        with torch.inference_mode():
            given = example.clone()
            stream = torch.cuda.Stream()
            stream.wait_stream(before)
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UP):
                    work(given)
            before.wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                result = work(given)
    except RuntimeError as error:  # what memory lacks for a capture may suffice without one
        LOGGER.warning("no CUDA graph, batches are launched kernel by kernel: %s", str(error).splitlines()[0])
        torch.cuda.set_stream(before)  # a capture that fails as it ends leaves its own in place
        torch.cuda.synchronize()
        return work

    def replay(inputs: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            given.copy_(inputs)
            graph.replay()
            return result

    return replay
