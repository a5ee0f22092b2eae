"""Checkpoints: the whole state of a training between two steps."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from mbseg_bids.errors import CannotWriteError, UnreadableDataError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

NAME = "checkpoint.safetensors"


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes
    ----------
    step
        Steps done.
    losses
        Of the steps since the last look at validation, so that the log, too, is that of an uninterrupted training.
    scaler
        State of the gradient scaler of half precision.
    """

    step: int = 0
    losses: Sequence[float] = ()
    scaler: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint of a folder.

    Attributes
    ----------
    folder
        Where ``checkpoint.safetensors``, and ``checkpoint.json`` for readers, are.
    settings, steps, patches
        What the training must have in common with the one that wrote it: settings (a dataclass of plain values),
        number of steps, and a number that stands for the training patches.
    """

    folder: Path
    settings: "DataclassInstance"
    steps: int
    patches: int = 0

    @property
    def path(self) -> Path:
        """The file with the tensors."""
        return self.folder / NAME

    def write(self, model: nn.Module, optimiser: torch.optim.Optimizer, progress: Progress) -> None:
        """Replace the checkpoint; a killed process leaves the one before.

        Raises
        ------
        CannotWriteError
            If the file system refuses.
        """
        names = {p: name for name, p in model.named_parameters()}
        state = {f"model.{name}": value.contiguous() for name, value in model.state_dict().items()}
        for parameter, values in optimiser.state.items():
            for key, value in values.items():
                if isinstance(value, torch.Tensor):
                    state[f"optimiser.{key}.{names[parameter]}"] = value.contiguous()
        header = {"settings": self._key(), "progress": json.dumps(asdict(progress))}
        readable = {"step": progress.step, "steps": self.steps, "settings": asdict(self.settings)}
        part = self.folder / "checkpoint.part"
        try:
            save_file(state, part, metadata=header)
            part.replace(self.path)
            (self.folder / "checkpoint.json").write_text(json.dumps(readable, indent=2) + "\n", encoding="utf-8")
        except (OSError, SafetensorError) as error:
            raise CannotWriteError(f"cannot write {self.path}: {error}", "free space, or give another --out") from error

    def read(self, model: nn.Module, optimiser: torch.optim.Optimizer) -> Progress:
        """Fill network and optimiser; nothing is done, and no progress returned, where there is no checkpoint.

        Raises
        ------
        UnreadableDataError
            If it is damaged, or of another training or network.
        """
        if not self.path.is_file():
            return Progress()
        try:
            with safe_open(self.path, framework="pt") as file:
                header = file.metadata() or {}
            state = load_file(self.path)
        except (SafetensorError, ValueError, OSError) as error:
            raise UnreadableDataError(f"cannot read {self.path}: {error}", "delete it to start anew") from error
        if "settings" not in header or "progress" not in header:
            raise UnreadableDataError(f"{self.path} is no checkpoint of this program", "train into another folder")
        self._check(header["settings"])
        try:
            model.load_state_dict({k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")})
            self._fill(optimiser, dict(model.named_parameters()), state)
            return Progress(**json.loads(header["progress"]))
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            raise UnreadableDataError(
                f"checkpoint {self.path} is of another network: {str(error)[:300]}", "train into another folder"
            ) from error

    def _fill(
        self, optimiser: torch.optim.Optimizer, parameters: dict[str, nn.Parameter], state: dict[str, torch.Tensor]
    ) -> None:
        for full_name, value in state.items():
            kind, _, rest = full_name.partition(".")
            if kind == "optimiser":
                key, _, name = rest.partition(".")
                device = "cpu" if key == "step" else parameters[name].device
                optimiser.state[parameters[name]][key] = value.to(device)

    def _check(self, found: str) -> None:
        if found == self._key():
            return
        theirs, ours = json.loads(found), json.loads(self._key())
        differing = sorted(key for key in theirs.keys() | ours.keys() if theirs.get(key) != ours.get(key))
        raise UnreadableDataError(
            f"checkpoint {self.path} is of other settings: {', '.join(differing)}",
            "give those it was started with, or train into another folder",
        )

    def _key(self) -> str:
        return json.dumps(asdict(self.settings) | {"steps": self.steps, "patches": self.patches}, sort_keys=True)


def make_writable(folder: Path) -> None:
    """Make a folder, and write to it once: now, and not after hours of training.

    Raises
    ------
    CannotWriteError
        If the file system refuses.
    """
    trial = folder / f".writable-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial.write_bytes(b"")
        trial.unlink()
    except OSError as error:
        raise CannotWriteError(
            f"cannot write to {folder}: {error.strerror or error}", "give another folder to --out"
        ) from error
