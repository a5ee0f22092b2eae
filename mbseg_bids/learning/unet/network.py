"""The U-Net that Dadar et al. 2022 compare their patch classifier with: MONAI's, in two dimensions, and its files."""

import importlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from mbseg_bids.contrasts import CHANNELS
from mbseg_bids.errors import CannotWriteError, UnreadableDataError, UsageError

LAST_BLOCK = "model.2"
"""The block of MONAI's U-Net whose channels are the classes: what a new task starts anew."""

_REMEDY = "train one with mbseg baseline train"


@dataclass(frozen=True)
class UNetShape:
    """How wide and how deep the network is.

    Attributes
    ----------
    features
        Channels of each level, the full resolution first. Each level but the first and the last halves the side.
    units
        Convolutions of a level's residual unit.
    """

    features: tuple[int, ...] = (16, 32, 64, 128, 256)
    units: int = 2

    def __post_init__(self) -> None:
        if len(self.features) < 3 or min(self.features) < 1 or self.units < 1:
            raise UsageError(
                f"no U-Net has features {self.features} and {self.units} units",
                "give three or more positive numbers, and one unit or more",
            )

    @property
    def strides(self) -> tuple[int, ...]:
        """Reduction of the side at each level.

        The first keeps the resolution: with MONAI's usual 2 there is no connection at full resolution, and a microbleed
        has 1-15 voxels.
        """
        return (1,) + (2,) * (len(self.features) - 2)

    @property
    def divisor(self) -> int:
        """The side of an image must be a multiple of it."""
        return 2 ** (len(self.features) - 2)


@dataclass(frozen=True)
class UNetMetadata:
    """What must be known to use a U-Net, kept in the header of its file.

    Attributes
    ----------
    name
        Short name.
    task
        ``csf`` or ``microbleed``: what output 1 means; output 0 is the rest of the brain.
    patch_size
        Side of the windows it was trained on, voxels of 1 mm.
    shape
        Of the network.
    channels
        Contrasts in the order of the input channels.
    training
        How it was trained, as plain values.
    """

    name: str
    task: str
    patch_size: int
    shape: UNetShape = field(default_factory=UNetShape)
    channels: tuple[str, ...] = CHANNELS
    training: Mapping[str, Any] = field(default_factory=dict)


def monai_module(name: str) -> ModuleType:
    """Import a module of MONAI, which only the baseline needs.

    Raises
    ------
    UsageError
        If MONAI is not installed.
    """
    try:
        return importlib.import_module(f"monai.{name}")
    except ImportError as error:
        raise UsageError(
            f"the U-Net baseline needs MONAI, which cannot be imported: {error}",
            'pip install "mbseg-bids[baseline]"',
        ) from error


def build_unet(shape: UNetShape | None = None, *, seed: int = 0) -> nn.Module:
    """Return MONAI's U-Net with random weights; the global random state of torch is left as it was.

    Batch norm rather than MONAI's instance norm: a voxel's result then depends on its surroundings alone, not on what
    else is in the window, so that windows of different places can be put together.

    Returns
    -------
    A module that maps (N, 3, S, S) float32, values 0-1, to (N, 2, S, S) logits; S a multiple of ``shape.divisor``.
    """
    shape = shape or UNetShape()
    nets = monai_module("networks.nets")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nets.UNet(
            spatial_dims=2,
            in_channels=len(CHANNELS),
            out_channels=2,
            channels=shape.features,
            strides=shape.strides,
            num_res_units=shape.units,
            norm="batch",
        )


def transfer(model: nn.Module, shape: UNetShape, *, seed: int = 0) -> nn.Module:
    """Return a network for another task: the weights of ``model``, and a new last block."""
    new = build_unet(shape, seed=seed)
    kept = {name: value for name, value in model.state_dict().items() if not name.startswith(f"{LAST_BLOCK}.")}
    new.load_state_dict(new.state_dict() | kept)
    return new


def save_unet(path: Path, model: nn.Module, metadata: UNetMetadata) -> None:
    """Write a U-Net as safetensors, single precision, with its metadata in the header."""
    tensors = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    header = {key: json.dumps(value) for key, value in asdict(metadata).items()} | {"architecture": '"monai.UNet"'}
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, path, metadata=header)
    except (OSError, SafetensorError) as error:
        raise CannotWriteError(f"cannot write {path}: {error}", "check the folder and the space left") from error


def load_unet(path: Path) -> tuple[nn.Module, UNetMetadata]:
    """Read a U-Net for inference.

    Raises
    ------
    UnreadableDataError
        If the file is missing, truncated, or holds another network.
    """
    if not Path(path).is_file():
        raise UnreadableDataError(f"no U-Net weights {path}", _REMEDY)
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        metadata = _parse(header)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableDataError(f"cannot read U-Net weights {path}: {error}", _REMEDY) from error
    model = build_unet(metadata.shape)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise UnreadableDataError(f"{path} is not the U-Net it says it is: {str(error)[:200]}", _REMEDY) from error
    return model.eval(), metadata


def _parse(header: Mapping[str, str]) -> UNetMetadata:
    if json.loads(header.get("architecture", "null")) != "monai.UNet":
        raise ValueError("the file holds another network")
    values = {f.name: json.loads(header[f.name]) for f in fields(UNetMetadata)}
    shape = UNetShape(tuple(values["shape"]["features"]), values["shape"]["units"])
    return UNetMetadata(**(values | {"shape": shape, "channels": tuple(values["channels"])}))
