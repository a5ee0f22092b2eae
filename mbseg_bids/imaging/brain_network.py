"""The network behind the brain mask: LinkNet in three dimensions, as trained by deepbet (Fisch et al. 2024, MIT).

deepbet itself brings a graphical program and TorchScript files along, which are pickles inside; here are its layers in
plain PyTorch and its weights as half-precision safetensors. ``scripts/convert_brain_network.py`` made and checked them.
"""

import hashlib
import json
from importlib import resources
from pathlib import Path

import torch
from torch import nn

from mbseg_bids.errors import UnreadableDataError

NETWORKS = ("locate", "segment")
"""``locate`` finds the brain in the whole image, ``segment`` outlines it in the box around it."""


class BrainNetwork(nn.Module):
    """LinkNet: a residual encoder and a decoder that adds the encoder's maps.

    Takes float32 of shape (n, 1, i, j, k), each side a multiple of 32; returns (n, 2, i, j, k): probability of
    background and of brain. Attribute names are those of deepbet's weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.init = nn.Sequential(
            nn.Conv3d(1, 16, 7, stride=2, padding=3, bias=False), *_norm_relu(16), nn.MaxPool3d(3, stride=2, padding=1)
        )
        self.down0 = _Down(16, 16, stride=1)
        self.down1 = _Down(16, 32, stride=2)
        self.down2 = _Down(32, 64, stride=2)
        self.down3 = _Down(64, 128, stride=2)
        self.up0 = _Up(128, 64, stride=2)
        self.up1 = _Up(64, 32, stride=2)
        self.up2 = _Up(32, 16, stride=2)
        self.up3 = _Up(16, 16, stride=1)
        self.tp_conv1 = nn.Sequential(
            nn.ConvTranspose3d(16, 8, 3, stride=2, padding=1, output_padding=1), *_norm_relu(8)
        )
        self.conv = nn.Sequential(nn.Conv3d(8, 8, 3, padding=1), *_norm_relu(8))
        self.tp_conv2 = nn.ConvTranspose3d(8, 2, 2, stride=2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the two probabilities at each voxel."""
        first = self.init(image)
        second = self.down0(first)
        third = self.down1(second)
        fourth = self.down2(third)
        decoded = self.up0(self.down3(fourth)) + fourth
        decoded = self.up1(decoded) + third
        decoded = self.up2(decoded) + second
        decoded = self.up3(decoded) + first
        return torch.softmax(self.tp_conv2(self.conv(self.tp_conv1(decoded))), dim=1)


def load_brain_network(name: str) -> BrainNetwork:
    """Load one of :data:`NETWORKS` with its shipped weights, on the CPU, ready for inference.

    Raises
    ------
    UnreadableDataError
        If the file is not the one on record.
    """
    from safetensors.torch import load_file

    with resources.as_file(resources.files("mbseg_bids.data").joinpath("brain")) as folder:
        weights = load_file(verified_file(folder, name))
    network = BrainNetwork()
    network.load_state_dict({key: value.float() for key, value in weights.items()})
    return network.eval()


def verified_file(folder: Path, name: str) -> Path:
    """Return the weights file of a network if its SHA-256 is that of ``provenance.json`` beside it.

    Raises
    ------
    UnreadableDataError
        If it is not, or a file is missing.
    """
    path, remedy = folder / f"{name}.safetensors", "install the package again"
    try:
        on_record = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["SHA256"][name]
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except (OSError, ValueError, KeyError) as error:
        raise UnreadableDataError(f"cannot read the brain network {name}: {error}", remedy) from error
    if found != on_record:
        raise UnreadableDataError(f"the brain network {name} is damaged: its SHA-256 differs", remedy)
    return path


class _Down(nn.Module):
    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.block1 = _Block(channels, out, stride)
        self.block2 = _Block(out, out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block2(self.block1(x))


class _Block(nn.Module):
    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv3d(channels, out, 3, stride=stride, padding=1, bias=False),
            *_norm_relu(out),
            nn.Conv3d(out, out, 3, padding=1, bias=False),
            nn.InstanceNorm3d(out),
        )
        if stride == 1:
            self.downsample = nn.Identity()
        else:
            self.downsample = nn.Sequential(
                nn.Conv3d(channels, out, 1, stride=stride, bias=False), nn.InstanceNorm3d(out)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.double_conv(x) + self.downsample(x))


class _Up(nn.Module):
    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        inner = channels // 4
        self.conv1 = nn.Sequential(nn.Conv3d(channels, inner, 1, bias=False), *_norm_relu(inner))
        self.tp_conv = nn.Sequential(
            nn.ConvTranspose3d(inner, inner, 3, stride=stride, padding=1, output_padding=stride - 1, bias=False),
            *_norm_relu(inner),
        )
        self.conv2 = nn.Sequential(nn.Conv3d(inner, out, 1, bias=False), *_norm_relu(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv2(self.tp_conv(self.conv1(x)))


def _norm_relu(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.InstanceNorm3d(channels), nn.ReLU()
