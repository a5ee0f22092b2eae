"""Training of one stage: stochastic gradient descent over patches, with checkpoints, a log and looks at validation."""

import csv
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from mbseg_bids.detection.network import freeze, to_network_input
from mbseg_bids.errors import MbsegError, UnreadableDataError, UsageError
from mbseg_bids.evaluation.patch import PatchScores, score_patches
from mbseg_bids.learning.gradients import GradientWorkers
from mbseg_bids.learning.patch_set import KINDS, PatchSet
from mbseg_bids.learning.rotation import Augmentation, augment, upright

EARLY_LOOK = 50
"""Step of the first look at validation, so that a stage that learns nothing is seen at once."""

Report = Callable[[str], None]


@dataclass(frozen=True)
class TrainingSettings:
    """How a stage is trained; the defaults are those of Dadar et al. 2022.

    Attributes
    ----------
    target
        Kind of patch that is output 1.
    fractions
        Share of each kind in every batch.
    epochs, steps
        One epoch shows the patches of the target (rotations + 1) times. ``steps``, where given, overrides epochs.
    batch_size, learning_rate, momentum, weight_decay
        Of stochastic gradient descent; the weight decay is MATLAB's default, the paper names none.
    optimiser
        ``sgd`` as in the paper, or ``adamw``, which learns in fewer steps from random weights.
    schedule
        ``constant`` learning rate, or ``cosine`` down to zero at the end.
    warmup
        Steps over which the rate rises to its value.
    frozen_layers
        First layers that stay as they are, counted in MATLAB's list.
    patch_size, input_size
        Side of a patch, and the side it is resized to.
    workers
        On a CPU, threads that share each batch (see :class:`GradientWorkers`).
    seed
        Decides batches and augmentation.
    validate_every, checkpoint_every
        Steps.
    """

    target: str = "lesion"
    fractions: Mapping[str, float] = field(default_factory=lambda: {"lesion": 0.5, "background": 0.5})
    epochs: int = 10
    steps: int | None = None
    batch_size: int = 40
    learning_rate: float = 0.006
    momentum: float = 0.9
    weight_decay: float = 1e-4
    optimiser: Literal["sgd", "adamw"] = "sgd"
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = 0
    frozen_layers: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)
    patch_size: int = 28
    input_size: int = 224
    workers: int = 1
    seed: int = 0
    validate_every: int = 200
    checkpoint_every: int = 200

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step."""
        rate = self.learning_rate * min(1.0, (step + 1) / (self.warmup + 1))
        return rate * (0.5 * (1 + math.cos(math.pi * step / steps)) if self.schedule == "cosine" else 1.0)


class Batches:
    """Which patches are shown at each step: a function of seed and step alone, so that a resumed run repeats it.

    Every kind has its fixed number of patches in a batch, and is gone through in random order, all of it before any
    patch comes again.
    """

    def __init__(self, kinds: npt.NDArray[np.uint8], settings: TrainingSettings) -> None:
        self._seed, self._orders = settings.seed, {}
        shares = {kind: share for kind, share in settings.fractions.items() if share > 0}
        self._members = {kind: np.flatnonzero(kinds == KINDS[kind]) for kind in shares}
        empty = [kind for kind, members in self._members.items() if not len(members)]
        if empty:
            raise UsageError(f"no {', '.join(empty)} patches to train on", "give patch sets that hold them")
        self._counts = _whole_counts(shares, settings.batch_size)
        shown = len(self._members[settings.target]) * (settings.augmentation.rotations + 1)
        self.steps_per_epoch = max(1, round(shown / self._counts[settings.target]))

    def __getitem__(self, step: int) -> npt.NDArray[np.intp]:
        chosen = np.concatenate([self._of_kind(kind, step * n, n) for kind, n in self._counts.items()])
        # Mixed, since threads that share a batch would otherwise get one class each: batch norms would give it away.
        return np.random.default_rng([self._seed, 2_000_003, step]).permutation(chosen)

    def _of_kind(self, kind: str, start: int, n: int) -> npt.NDArray[np.intp]:
        members = self._members[kind]
        places = np.arange(start, start + n)
        return np.array([members[self._order(kind, p // len(members))[p % len(members)]] for p in places], np.intp)

    def _order(self, kind: str, round_: int) -> npt.NDArray[np.intp]:
        if self._orders.get(kind, (None,))[0] != round_:
            rng = np.random.default_rng([self._seed, KINDS[kind], int(round_)])
            self._orders[kind] = (round_, rng.permutation(len(self._members[kind])))
        return self._orders[kind][1]


def train(
    model: nn.Module,
    training: PatchSet,
    validation: PatchSet,
    settings: TrainingSettings,
    folder: Path,
    *,
    device: torch.device | None = None,
    resume: bool = False,
    report: Report = print,
) -> PatchScores:
    """Train a network in place.

    Parameters
    ----------
    model
        Of :func:`mbseg_bids.detection.network.build_network`, with its last layer new.
    training, validation
        Patches; validation patches are shown upright and unchanged.
    settings
        How.
    folder
        Where the checkpoint (``checkpoint.safetensors``, ``checkpoint.json``) and ``log.csv`` are written.
    device
        Where to compute.
    resume
        Continue at the checkpoint of the folder where there is one.
    report
        Called with one line at each look at validation.

    Returns
    -------
    Scores on the validation patches at the end.

    Raises
    ------
    MbsegError
        If the loss is no longer a number.
    UnreadableDataError
        If the checkpoint cannot be read or is of other settings.
    """
    device = device or torch.device("cpu")
    batches = Batches(training.kinds, settings)
    steps = settings.steps or settings.epochs * batches.steps_per_epoch
    model.to(device)
    freeze(model, settings.frozen_layers)
    optimiser = _optimiser(model, settings)
    workers = GradientWorkers(model, settings.workers if device.type == "cpu" else 1)
    folder.mkdir(parents=True, exist_ok=True)
    first = _read_checkpoint(folder, model, optimiser, settings, steps) if resume else 0
    log = _Log(folder / "log.csv", keep=first)
    for step in range(first, steps):
        log.losses.append(_step(workers, optimiser, training, batches[step], settings, step, steps, device))
        done = step + 1
        if done in (EARLY_LOOK, steps) or done % settings.validate_every == 0:
            scores = validate(model, validation, settings, device)
            report(log.write(done, steps, settings.rate(step, steps), scores))
        if done == steps or done % settings.checkpoint_every == 0:
            _write_checkpoint(folder, model, optimiser, settings, steps, done)
    return validate(model, validation, settings, device) if first == steps else scores


def validate(
    model: nn.Module, patches: PatchSet, settings: TrainingSettings, device: torch.device | None = None
) -> PatchScores:
    """Score a network on patches shown upright and unchanged; its mode is evaluation afterwards."""
    probability = predict(model, patches, settings.patch_size, settings.input_size, device)
    names = {number: name for name, number in KINDS.items()}
    kinds = np.array([names[k] for k in patches.kinds.tolist()])
    return score_patches(probability, kinds == settings.target, kinds)


def predict(
    model: nn.Module, patches: PatchSet, patch_size: int, input_size: int, device: torch.device | None = None
) -> npt.NDArray[np.float32]:
    """Return the probability of output 1 for upright patches, shape (N,)."""
    model.eval()
    found = [np.empty(0, np.float32)]
    with torch.inference_mode():
        for start in range(0, len(patches), 128):
            batch = upright(patches.patches[start : start + 128], patch_size).to(device or torch.device("cpu"))
            found.append(torch.softmax(model(to_network_input(batch, input_size)), dim=1)[:, 1].cpu().numpy())
    return np.concatenate(found)


def _optimiser(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    learned = [p for p in model.parameters() if p.requires_grad]
    if settings.optimiser == "adamw":
        return torch.optim.AdamW(
            learned, settings.learning_rate, betas=(settings.momentum, 0.999), weight_decay=settings.weight_decay
        )
    return torch.optim.SGD(
        learned, settings.learning_rate, momentum=settings.momentum, weight_decay=settings.weight_decay
    )


def _step(
    workers: GradientWorkers,
    optimiser: torch.optim.Optimizer,
    training: PatchSet,
    chosen: npt.NDArray[np.intp],
    settings: TrainingSettings,
    step: int,
    steps: int,
    device: torch.device,
) -> float:
    rng = np.random.default_rng([settings.seed, 1_000_003, step])
    patches = augment(training.patches[chosen], settings.patch_size, settings.augmentation, rng).to(device)
    targets = torch.from_numpy((training.kinds[chosen] == KINDS[settings.target]).astype(np.int64)).to(device)
    for group in optimiser.param_groups:
        group["lr"] = settings.rate(step, steps)
    optimiser.zero_grad(set_to_none=True)
    value = workers.gradients(to_network_input(patches, settings.input_size), targets, settings.frozen_layers)
    if not math.isfinite(value):
        raise MbsegError(f"training diverged: the loss is {value} at step {step + 1}", "set a smaller --learning-rate")
    optimiser.step()
    return value


def _whole_counts(shares: Mapping[str, float], batch_size: int) -> dict[str, int]:
    """Return whole numbers in these proportions that add up to the batch size (largest remainder), each at least 1."""
    total = sum(shares.values())
    exact = {kind: share / total * batch_size for kind, share in shares.items()}
    counts = {kind: max(1, int(value)) for kind, value in exact.items()}
    for kind in sorted(exact, key=lambda k: int(exact[k]) - exact[k])[: max(0, batch_size - sum(counts.values()))]:
        counts[kind] += 1
    return counts


class _Log:
    """``log.csv``: one row for each look at validation."""

    _columns = ("step", "learning_rate", "training_loss", "steps_per_second")

    def __init__(self, path: Path, keep: int) -> None:
        self.losses: list[float] = []
        self._path, self._start = path, time.monotonic()
        rows = []
        if keep and path.is_file():
            with open(path, newline="", encoding="utf-8") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) <= keep]
        self._rows: list[dict] = rows

    def write(self, step: int, steps: int, rate: float, scores: PatchScores) -> str:
        loss, seconds = float(np.mean(self.losses)), time.monotonic() - self._start
        speed = len(self.losses) / seconds
        self.losses, self._start = [], time.monotonic()
        row = dict(zip(self._columns, (step, f"{rate:.6f}", f"{loss:.5f}", f"{speed:.2f}"), strict=True))
        self._rows.append(row | {f"validation_{name}": f"{value:.5f}" for name, value in scores.as_row().items()})
        with open(self._path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(self._rows[-1]))
            writer.writeheader()
            writer.writerows(self._rows)
        return f"step {step}/{steps} loss {loss:.4f} {speed:.2f} steps/s; validation {scores}"


def _write_checkpoint(
    folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer, settings: TrainingSettings, steps: int, done: int
) -> None:
    names = {p: name for name, p in model.named_parameters()}
    state = {f"model.{name}": value.contiguous() for name, value in model.state_dict().items()}
    for parameter, values in optimiser.state.items():
        for key, value in values.items():
            if isinstance(value, torch.Tensor):
                state[f"optimiser.{key}.{names[parameter]}"] = value.contiguous()
    part = folder / "checkpoint.part"
    save_file(state, part, metadata={"step": str(done), "settings": _settings_key(settings, steps)})
    part.replace(folder / "checkpoint.safetensors")
    progress = {"step": done, "steps": steps, "settings": asdict(settings)}
    (folder / "checkpoint.json").write_text(json.dumps(progress, indent=2) + "\n", encoding="utf-8")


def _read_checkpoint(
    folder: Path, model: nn.Module, optimiser: torch.optim.Optimizer, settings: TrainingSettings, steps: int
) -> int:
    """Fill the network and the momentum from the checkpoint; return the number of steps done (0 without one)."""
    path = folder / "checkpoint.safetensors"
    if not path.is_file():
        return 0
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
        state = load_file(path)
        if header["settings"] != _settings_key(settings, steps):
            raise UnreadableDataError(f"checkpoint {path} is of other settings", "train into another folder")
        model.load_state_dict({k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")})
        parameters = dict(model.named_parameters())
        for full_name, value in state.items():
            kind, _, rest = full_name.partition(".")
            if kind == "optimiser":
                key, _, name = rest.partition(".")
                device = "cpu" if key == "step" else parameters[name].device
                optimiser.state[parameters[name]][key] = value.to(device)
        return int(header["step"])
    except (SafetensorError, KeyError, ValueError, RuntimeError, OSError) as error:
        raise UnreadableDataError(f"cannot read checkpoint {path}: {error}", "delete it to start anew") from error


def _settings_key(settings: TrainingSettings, steps: int) -> str:
    return json.dumps(asdict(settings) | {"steps": steps}, sort_keys=True)
