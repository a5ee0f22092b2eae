"""Weights on disk: safetensors files, and the manifest that says what each must contain."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from mbseg_bids.contrasts import CHANNELS
from mbseg_bids.data import WEIGHTS_FOLDER
from mbseg_bids.detection.network.resnet import build_network, identity_blocks, to_network_input
from mbseg_bids.errors import CannotWriteError, UnreadableDataError, UsageError

MANIFEST = "manifest.json"

LICENCE = "Apache-2.0"
"""Of the package, and so of weights that come with it."""

_REMEDY = "install the package again, or give another file to --weights"


@dataclass(frozen=True)
class WeightsMetadata:
    """What must be known to use a network, kept in the header of its file.

    Attributes
    ----------
    name
        Short name, written into every result.
    task
        ``microbleed`` or ``csf``: what output 1 means; output 0 is everything else.
    patch_size
        Side of a patch, voxels of 1 mm.
    input_size
        Side to which the network's patches are resized.
    channels
        Contrasts in the order of the channels.
    training
        How it was trained, as plain values: data, settings, rounds.
    sha256
        Of the file; empty while it is not written.
    """

    name: str
    task: str = "microbleed"
    patch_size: int = 28
    input_size: int = 224
    channels: tuple[str, ...] = CHANNELS
    training: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""


def save_weights(path: Path, model: nn.Module, metadata: WeightsMetadata) -> WeightsMetadata:
    """Write a network: convolutions and the last layer in half precision, batch norms in single.

    Blocks that are still the identity they started as hold nothing that was learned and are not written;
    :func:`load_weights` makes them anew.

    Returns
    -------
    The metadata with the SHA-256 of the file.
    """
    untrained = tuple(f"{block}." for block in identity_blocks(model))
    tensors = {
        name: (value.half() if value.ndim > 1 else value.float()).contiguous()
        for name, value in model.state_dict().items()
        if value.is_floating_point() and not name.startswith(untrained)
    }
    header = {key: json.dumps(value) for key, value in asdict(metadata).items() if key != "sha256"}
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(_in_order(save(tensors, metadata=header)))
        Path(path).chmod(0o644)  # installed for everybody, whatever the writer's umask
    except (OSError, SafetensorError) as error:
        raise CannotWriteError(
            f"cannot write weights {path}: {error}", "check the folder and the space left"
        ) from error
    return _with_hash(metadata, sha256(path))


def _in_order(content: bytes) -> bytes:
    """Return a safetensors file with its metadata sorted: the library writes them in another order every time."""
    n = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + n])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data begin at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text + content[8 + n :]


def load_weights(name_or_path: str | Path = "default", *, task: str | None = None) -> tuple[nn.Module, WeightsMetadata]:
    """Read a network for inference.

    Parameters
    ----------
    name_or_path
        ``default``, a name of the manifest, or the path of a file that :func:`save_weights` wrote. A file listed in a
        ``manifest.json`` beside it must have the SHA-256 given there.
    task
        What output 1 must mean; None for anything.

    Returns
    -------
    The network in evaluation mode, single precision, and its metadata.

    Raises
    ------
    UnreadableDataError
        If the file is missing, truncated, not what the manifest says, or not of this network.
    UsageError
        If the name is neither in the manifest nor a file, or the weights are of another task.

    Examples
    --------
    >>> from mbseg_bids.steps import load_weights
    >>> model, metadata = load_weights()
    >>> metadata.task, metadata.patch_size
    ('microbleed', 28)
    """
    path, expected = _find(name_or_path)
    if not path.is_file():
        raise UnreadableDataError(f"no weights file {path}", _REMEDY)
    found = sha256(path)
    if expected is not None and found != expected:
        raise UnreadableDataError(
            f"weights {path} are damaged: SHA-256 is {found[:12]}..., not {expected[:12]}...", _REMEDY
        )
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, ValueError) as error:
        raise UnreadableDataError(f"cannot read weights {path}: {error}", _REMEDY) from error
    metadata = _with_hash(_parse_header(header, path), found)
    if task not in (None, metadata.task):
        raise UsageError(
            f"weights {path} were trained for the task {metadata.task}, not {task}",
            f"give the file that mbseg train {task} wrote",
        )
    return _fill(tensors, path).eval(), metadata


@dataclass(frozen=True)
class WeightsEntry:
    """What the manifest says about a weights file of the package.

    Attributes
    ----------
    name, task, patch_size, input_size
        As in :class:`WeightsMetadata`.
    path, n_bytes, sha256
        The file as it should be.
    licence
        SPDX identifier.
    is_default
        Whether the BIDS App uses it unless told otherwise.
    """

    name: str
    task: str
    patch_size: int
    input_size: int
    path: Path
    n_bytes: int
    sha256: str
    licence: str
    is_default: bool


def list_weights(folder: Path | None = None) -> list[WeightsEntry]:
    """Return the weights that the manifest of a folder lists, by default that of the package.

    Raises
    ------
    UnreadableDataError
        If the manifest cannot be read.
    """
    folder = WEIGHTS_FOLDER if folder is None else Path(folder)
    manifest = _read_manifest(folder)
    try:
        return [
            WeightsEntry(
                name,
                entry["task"],
                int(entry["patch_size"]),
                int(entry["input_size"]),
                folder / entry["file"],
                int(entry["bytes"]),
                entry["sha256"],
                entry.get("licence", LICENCE),
                name == manifest["default"],
            )
            for name, entry in manifest["weights"].items()
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableDataError(f"cannot read {folder / MANIFEST}: {error!r} is amiss", _REMEDY) from error


def try_weights(name_or_path: str | Path = "default") -> tuple[WeightsMetadata, float]:
    """Load weights, as :func:`load_weights` does, and ask the network about a fixed patch.

    The patch is drawn, of no scan: a dark disc of 4 mm in an even surrounding.

    Returns
    -------
    The metadata, and the probability of output 1. The same file gives the same probability but for rounding.

    Raises
    ------
    UnreadableDataError
        As :func:`load_weights`; or the network's answer is no number.
    """
    model, metadata = load_weights(name_or_path)
    i, j = np.indices((metadata.patch_size,) * 2) - metadata.patch_size // 2
    patch = np.where(i**2 + j**2 <= 4, 0.1, 0.6).astype(np.float32)
    patches = torch.from_numpy(np.broadcast_to(patch, (1, 3, *patch.shape)).copy())
    with torch.inference_mode():
        probability = float(torch.softmax(model(to_network_input(patches, metadata.input_size)), dim=1)[0, 1])
    if not 0 <= probability <= 1:
        raise UnreadableDataError(f"weights {name_or_path} answer {probability} to a fixed patch", _REMEDY)
    return metadata, probability


def write_manifest(folder: Path, default: str, licence: str = LICENCE) -> None:
    """List every weights file of a folder with size, SHA-256 and metadata; ``default`` is the name used by default."""
    entries = {}
    for path in sorted(Path(folder).glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            metadata = _parse_header(file.metadata() or {}, path)
        facts = {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)}
        described = {k: v for k, v in asdict(metadata).items() if k not in ("name", "sha256", "training")}
        entries[metadata.name] = facts | described | {"licence": licence}
    if default not in entries:
        raise UsageError(f"no weights called {default} in {folder}", f"one of: {', '.join(entries) or 'none'}")
    text = json.dumps({"default": default, "weights": entries}, indent=2) + "\n"
    (Path(folder) / MANIFEST).write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _find(name_or_path: str | Path) -> tuple[Path, str | None]:
    manifest = _read_manifest(WEIGHTS_FOLDER)
    name = manifest["default"] if name_or_path == "default" and manifest["default"] else str(name_or_path)
    if name in manifest["weights"]:
        entry = manifest["weights"][name]
        return WEIGHTS_FOLDER / entry["file"], entry["sha256"]
    path = Path(name_or_path)
    if not path.is_file():
        known = ", ".join(["default", *manifest["weights"]]) if manifest["weights"] else "none are installed"
        raise UsageError(f"no weights {name_or_path}", f"give the path of a file or a name: {known}")
    beside = _read_manifest(path.parent)["weights"].values()
    return path, next((entry["sha256"] for entry in beside if entry["file"] == path.name), None)


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        return {"default": "", "weights": {}}
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if all("file" in e and "sha256" in e for e in manifest["weights"].values()) and "default" in manifest:
            return manifest
        raise ValueError("an entry lacks its file or SHA-256")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableDataError(f"cannot read {path}: {error}", _REMEDY) from error


def _parse_header(header: Mapping[str, str], path: Path) -> WeightsMetadata:
    names = {f.name for f in fields(WeightsMetadata)} - {"sha256"}
    try:
        values = {key: json.loads(value) for key, value in header.items() if key in names}
        metadata = WeightsMetadata(**(values | {"channels": tuple(values["channels"])}))
        if metadata.patch_size < 1 or metadata.input_size < 1:
            raise ValueError("a size is not positive")
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableDataError(f"weights {path} lack their metadata: {error}", _REMEDY) from error
    return metadata


def _fill(tensors: dict[str, torch.Tensor], path: Path) -> nn.Module:
    try:
        model = build_network(tensors["fc.weight"].shape[0], seed=0)
        # A new network's blocks without projection are the identity: those of which the file has nothing stay so.
        left_out = set(identity_blocks(model)) - {_block(name) for name in tensors}
        made = {
            name: value
            for name, value in model.state_dict().items()
            if not value.is_floating_point() or _block(name) in left_out
        }
        model.load_state_dict(made | {name: value.float() for name, value in tensors.items()})
    except (KeyError, RuntimeError) as error:
        raise UnreadableDataError(f"weights {path} are not of a ResNet-50: {str(error)[:200]}", _REMEDY) from error
    return model


def _block(parameter: str) -> str:
    """Return the name of the residual block of a parameter: ``layer1.2`` for ``layer1.2.conv1.weight``."""
    return ".".join(parameter.split(".")[:2])


def _with_hash(metadata: WeightsMetadata, digest: str) -> WeightsMetadata:
    return WeightsMetadata(**{f.name: getattr(metadata, f.name) for f in fields(metadata)} | {"sha256": digest})
