"""The network on PyTorch: the runtime that is always there, and the one for GPUs."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from mbseg_bids.detection.network import runtime_cuda
from mbseg_bids.detection.network.resnet import to_network_input

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def fast_precision(device: torch.device) -> str | None:
    """Return the lower precision that a device computes several times as fast as float32, or nothing.

    Half precision on GPUs: its error is an eighth of that of bfloat16, and their tensor cores are as fast with either.
    On CPUs bfloat16, where the processor has tiles for it (AMX); elsewhere it is slower than float32.
    """
    if device.type == "cuda":
        return "float16"
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "bfloat16" if capabilities.get("amx_bf16") else None


class TorchNetwork:
    """A network in one precision on one device.

    Parameters
    ----------
    model
        Of :func:`mbseg_bids.detection.network.resnet.fuse_batch_norms`.
    input_size
        Side that patches are resized to.
    device
        Where it computes.
    precision
        A key of :data:`DTYPES`.
    """

    def __init__(self, model: nn.Module, *, input_size: int, device: torch.device, precision: str) -> None:
        self._dtype = DTYPES[precision]
        self._input_size = input_size
        self._model = model.to(device) if precision == "float32" else copy.deepcopy(model).to(device, self._dtype)
        # Float32 stays with convolutions that round as they always did; a network of another kind has no such blocks.
        if precision == "float16" and runtime_cuda.can_fuse(model, device):
            self._model = runtime_cuda.FusedResNet(self._model)

    def __call__(self, patches: torch.Tensor) -> torch.Tensor:
        """Return the probability of output 1 for patches (N, 3, size, size) on the device, shape (N,) float32."""
        with torch.inference_mode():
            logits = self._model(to_network_input(patches, self._input_size).to(self._dtype))
            return torch.softmax(logits.float(), dim=1)[:, 1]


@contextmanager
def exact_convolutions() -> Iterator[None]:
    """Compute float32 convolutions of GPUs as such, not in TF32 with its 10 bits, and by the same method every time."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield
