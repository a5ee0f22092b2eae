"""Training of the U-Net on windows of slices: steps, looks at validation, checkpoints without pickle."""

import contextlib
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from mbseg_bids.errors import TemporaryError
from mbseg_bids.learning.examples.labelled_scan import LabelledScan
from mbseg_bids.learning.training.checkpoint import Checkpoint, Progress, make_writable
from mbseg_bids.learning.training.log import TrainingLog
from mbseg_bids.learning.training.optimiser import check_loss, make_optimiser
from mbseg_bids.learning.unet.windows import IGNORED, Windows, WindowSampler

VALIDATION_STEP = 1_000_003
"""Step of the sampler that validation windows are drawn at: no training step has it."""


@dataclass(frozen=True)
class UNetTraining:
    """How a U-Net is trained; the defaults are what Dadar et al. 2022 print of theirs.

    Attributes
    ----------
    task
        ``csf`` or ``microbleed``.
    patch_size
        Side of the windows, voxels of 1 mm; 256 for whole slices.
    epochs, steps
        One epoch shows as many windows as the patch classifier sees patches: twice the target voxels, times
        (rotations + 1). ``steps``, where given, overrides epochs.
    batch_size, learning_rate, momentum
        Of stochastic gradient descent.
    optimiser
        ``sgd`` as in the paper, or ``adamw``, which learns in fewer steps.
    weight_decay
        MATLAB's default; the paper names none.
    target_weight
        Weight of target voxels in the cross-entropy; the paper names none, so 1.
    rotations
        Random rotations for each upright showing.
    validation_windows
        Windows for a look at validation, drawn once.
    validate_every
        Steps.
    seed
        Decides windows, rotations and the weights of the new last block.
    """

    task: Literal["csf", "microbleed"]
    patch_size: int = 32
    epochs: int = 10
    steps: int | None = None
    batch_size: int = 20
    learning_rate: float = 0.001
    momentum: float = 0.9
    optimiser: Literal["sgd", "adamw"] = "sgd"
    weight_decay: float = 1e-4
    target_weight: float = 1.0
    rotations: int = 0
    validation_windows: int = 200
    validate_every: int = 100
    seed: int = 0

    def total_steps(self, n_targets: int) -> int:
        """Return the number of steps for this number of target voxels."""
        shown = 2 * n_targets * (self.rotations + 1)
        return self.steps or self.epochs * max(1, round(shown / self.batch_size))


@dataclass(frozen=True)
class WindowScores:
    """Cross-entropy and voxel-wise agreement over the brain voxels of all windows."""

    loss: float
    dice: float
    sensitivity: float
    precision: float

    def as_row(self) -> dict[str, float]:
        """Return the scores as flat columns."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"loss {self.loss:.4f} Dice {self.dice:.3f} "
            f"sensitivity {self.sensitivity:.3f} precision {self.precision:.3f}"
        )


def train_unet(
    model: nn.Module,
    training: Sequence[LabelledScan],
    validation: Sequence[LabelledScan],
    settings: UNetTraining,
    folder: Path,
    *,
    device: torch.device | None = None,
    resume: bool = False,
    report: Callable[[str], None] = print,
) -> WindowScores:
    """Train a U-Net in place.

    Parameters
    ----------
    model
        Of :func:`mbseg_bids.learning.unet.network.build_unet` or :func:`mbseg_bids.learning.unet.network.transfer`.
    training, validation
        Scans; no participant in both.
    settings
        How.
    folder
        For the checkpoint (``checkpoint.safetensors``, ``checkpoint.json``) and ``log.csv``.
    device
        Where to compute.
    resume
        Go on at the checkpoint of the folder where there is one.
    report
        Called with one line at each look at validation.

    Returns
    -------
    Scores on the validation windows at the end.

    Raises
    ------
    UsageError
        If no scan of either set has a target voxel.
    MbsegError
        If the loss is no longer a number.
    UnreadableDataError
        If the checkpoint cannot be read, or is of other settings or another network.
    CannotWriteError
        If the folder cannot be written.
    """
    device = device or torch.device("cpu")
    sampler = WindowSampler(training, settings.task, settings.patch_size, seed=settings.seed)
    looks = WindowSampler(validation, settings.task, settings.patch_size, seed=settings.seed)
    looked_at = looks.draw(VALIDATION_STEP, settings.validation_windows)
    steps = settings.total_steps(len(sampler.targets))
    model.to(device)
    optimiser = make_optimiser(model.parameters(), settings)
    make_writable(folder)
    shown = zlib.crc32(" ".join(scan.name for scan in training).encode(), zlib.crc32(sampler.targets.tobytes()))
    checkpoint = Checkpoint(folder, settings, steps, patches=shown)
    progress = checkpoint.read(model, optimiser) if resume else Progress()
    scores = None
    with contextlib.closing(TrainingLog(folder, steps, progress.step)) as log:
        for step in range(progress.step, steps):
            batch = sampler.draw(step, settings.batch_size, rotations=settings.rotations)
            log.step(_step(model, optimiser, batch, settings, step, device))
            if step + 1 == steps or (step + 1) % settings.validate_every == 0:
                scores = score_windows(model, looked_at, settings.batch_size, device)
                line = log.look(step + 1, settings.learning_rate, scores)
                checkpoint.write(model, optimiser, Progress(step + 1))
                report(line)
    model.eval()
    return score_windows(model, looked_at, settings.batch_size, device) if scores is None else scores


def score_windows(
    model: nn.Module, windows: Windows, batch_size: int, device: torch.device | None = None
) -> WindowScores:
    """Score a network on windows at a probability of 0.5, over the brain voxels of all of them."""
    device = device or torch.device("cpu")
    model.eval()
    loss, n, both, found, true = 0.0, 0, 0, 0, 0
    with torch.inference_mode():
        for start in range(0, len(windows.images), batch_size):
            classes = windows.classes[start : start + batch_size].to(device)
            logits = model(windows.images[start : start + batch_size].to(device)).float()
            counted = classes != IGNORED
            loss += float(functional.cross_entropy(logits, classes, ignore_index=IGNORED, reduction="sum"))
            positive = (logits[:, 1] >= logits[:, 0]) & counted
            n += int(counted.sum())
            both += int((positive & (classes == 1)).sum())
            found += int(positive.sum())
            true += int((classes == 1).sum())
    return WindowScores(_part(loss, n), _part(2 * both, found + true), _part(both, true), _part(both, found))


def _step(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: Windows,
    settings: UNetTraining,
    step: int,
    device: torch.device,
) -> float:
    model.train()
    optimiser.zero_grad(set_to_none=True)
    weight = torch.tensor([1.0, settings.target_weight], device=device)
    try:
        logits = model(batch.images.to(device)).float()
        loss = functional.cross_entropy(logits, batch.classes.to(device), weight, ignore_index=IGNORED)
        loss.backward()
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise TemporaryError(f"out of memory on {device} in training", "set a smaller --batch-size") from error
    value = float(loss.detach())
    check_loss(value, step)
    optimiser.step()
    return value


def _part(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
