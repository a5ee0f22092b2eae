"""Which library computes the network, on what and how precisely."""

import importlib.metadata
import importlib.util
import platform
from dataclasses import dataclass

import torch
from torch import nn

from mbseg_bids.detection.network import runtime_openvino, runtime_pytorch
from mbseg_bids.errors import UsageError

_NAMES = {"pytorch": "torch", "openvino": "openvino"}
"""Runtimes, and the distributions they come in."""


@dataclass(frozen=True)
class Runtime:
    """What computes the network.

    Attributes
    ----------
    name
        ``pytorch`` or ``openvino``.
    device
        ``cpu`` or ``cuda``.
    fast
        Lower precision that is worth its error there, or None.
    """

    name: str
    device: str
    fast: str | None

    @property
    def version(self) -> str:
        """Version of the library."""
        return importlib.metadata.version(_NAMES[self.name])

    def describe(self) -> dict[str, str]:
        """Return what a reader of results should know, as plain values."""
        return {"runtime": f"{self.name} {self.version}", "device": self.device}


def choose_device(device: str) -> torch.device:
    """Return the device to compute on; ``auto`` takes the GPU where there is one."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda, but torch finds no GPU", "use --device auto or cpu, or check the driver")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def choose_runtime(runtime: str, device: str, model: nn.Module) -> Runtime:
    """Return what computes a network.

    Parameters
    ----------
    runtime
        ``pytorch``, ``openvino``, or ``auto``: OpenVINO on x86-64 processors where it is installed, PyTorch elsewhere
        and on GPUs.
    device
        ``auto``, ``cpu`` or ``cuda``; OpenVINO is used for CPUs only.
    model
        The network; what is no ResNet stays with PyTorch.

    Raises
    ------
    UsageError
        If what was asked for is not there.
    """
    if runtime == "openvino":
        if device == "cuda":
            raise UsageError("--runtime openvino computes on the CPU, not with --device cuda", "give one of them")
        if runtime_openvino.openvino() is None:
            raise UsageError("--runtime openvino, but it cannot be loaded", "install openvino, or use --runtime auto")
        return Runtime("openvino", "cpu", runtime_openvino.fast_precision())
    target = choose_device(device)
    suits = platform.machine().lower() in ("x86_64", "amd64") and hasattr(model, "layer4")
    if runtime == "auto" and target.type == "cpu" and suits and runtime_openvino.openvino() is not None:
        return Runtime("openvino", "cpu", runtime_openvino.fast_precision())
    return Runtime("pytorch", target.type, runtime_pytorch.fast_precision(target))
