"""Training of one stage: stochastic gradient descent over patches, with checkpoints, a log and looks at validation."""

import contextlib
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mbseg_bids.detection.network.resnet import freeze, to_network_input
from mbseg_bids.evaluation.patch import PatchScores, score_patches
from mbseg_bids.learning.examples.augmentation import NONE, upright
from mbseg_bids.learning.examples.patch_set import KINDS, PatchSet, narrow
from mbseg_bids.learning.training.batches import Batches, Precision, TrainingSettings
from mbseg_bids.learning.training.checkpoint import Checkpoint, Progress, make_writable
from mbseg_bids.learning.training.distributed import ALONE, Distributed, DistributedGradients
from mbseg_bids.learning.training.feeding import make_feed
from mbseg_bids.learning.training.gradients import Arithmetic, GradientWorkers
from mbseg_bids.learning.training.interruption import StopRequest, TrainingStoppedError
from mbseg_bids.learning.training.log import QUIET, Display, TrainingLog, check_display
from mbseg_bids.learning.training.optimiser import check_loss, make_optimiser

EARLY_LOOK = 50
"""Step of the first look at validation, so that a stage that learns nothing is seen at once."""

Report = Callable[[str], None]


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
    stop: StopRequest | None = None,
    distributed: Distributed = ALONE,
    display: Display = QUIET,
) -> PatchScores:
    """Train a network in place.

    Parameters
    ----------
    model
        Of :func:`mbseg_bids.detection.network.resnet.build_network`, with its last layer new.
    training, validation
        Patches; validation patches are shown upright and unchanged.
    settings
        How.
    folder
        Where the checkpoint (``checkpoint.safetensors``, ``checkpoint.json``) and ``log.csv`` are written.
    device
        Where to compute.
    resume
        Continue at the checkpoint of the folder where there is one. On a CPU, and in one process, the weights are to
        the bit those of an uninterrupted training.
    report
        Called with one line at each look at validation.
    stop
        Asked after every step whether to end early.
    distributed
        Processes that share each batch.
    display
        What else to show.

    Returns
    -------
    Scores on the validation patches at the end.

    Raises
    ------
    TrainingStoppedError
        If it was asked to stop; a checkpoint is written.
    MbsegError
        If the loss is no longer a number.
    UnreadableDataError
        If the checkpoint cannot be read, or is of other settings or another network.
    UsageError
        If patches are too small for the settings, a kind is missing, or a batch cannot hold them all.
    CannotWriteError
        If the folder cannot be written.
    """
    device = device or torch.device("cpu")
    training = narrow(training, settings.patch_size, turned=settings.augmentation != NONE)
    validation = narrow(validation, settings.patch_size, turned=False)
    check_display(display)
    make_writable(folder)
    batches = Batches(training.kinds, settings)
    steps = settings.steps or settings.epochs * batches.steps_per_epoch
    run = _Run(model, settings, steps, device, distributed)
    feed = make_feed(training, settings, batches, distributed, device)
    checkpoint = Checkpoint(folder, settings, steps, patches=_fingerprint(training))
    progress = run.restore(checkpoint) if resume else Progress()
    log = TrainingLog(folder, steps, progress.step, progress.losses, display) if distributed.is_first else None
    scores = None
    with contextlib.closing(log) if log is not None else contextlib.nullcontext():
        for step, patches, targets in feed(range(progress.step, steps)):
            loss = run.step(step, patches, targets)
            done = step + 1
            reason = stop.reason if stop is not None and done < steps else None
            stopping = distributed.any(reason is not None, device) if stop is not None else False
            if log is None:
                _end_if(stopping, reason, done, steps)
                continue
            log.step(loss)
            if done in (EARLY_LOOK, steps) or done % settings.validate_every == 0:
                scores = validate(model, validation, settings, device)
                report(log.look(done, settings.rate(step, steps), scores))
            if done == steps or stopping or done % settings.checkpoint_every == 0:
                checkpoint.write(model, run.optimiser, run.progress(done, log.losses))
            _end_if(stopping, reason, done, steps)
    return validate(model, validation, settings, device) if scores is None else scores


def validate(
    model: nn.Module, patches: PatchSet, settings: TrainingSettings, device: torch.device | None = None
) -> PatchScores:
    """Score a network on patches shown upright and unchanged; its mode is evaluation afterwards."""
    probability = predict(model, patches, settings.patch_size, settings.input_size, device, settings.precision)
    names = {number: name for name, number in KINDS.items()}
    kinds = np.array([names[k] for k in patches.kinds.tolist()])
    return score_patches(probability, kinds == settings.target, kinds)


def predict(
    model: nn.Module,
    patches: PatchSet,
    patch_size: int,
    input_size: int,
    device: torch.device | None = None,
    precision: Precision = "float32",
) -> npt.NDArray[np.float32]:
    """Return the probability of output 1 for upright patches, shape (N,)."""
    model.eval()
    found = [np.empty(0, np.float32)]
    arithmetic = Arithmetic(precision, device)
    with torch.inference_mode():
        for start in range(0, len(patches), 128):
            batch = upright(patches.patches[start : start + 128], patch_size).to(device or torch.device("cpu"))
            logits = arithmetic.logits(model, to_network_input(batch, input_size))
            found.append(torch.softmax(logits, dim=1)[:, 1].cpu().numpy())
    return np.concatenate(found)


class _Run:
    """Network and optimiser of one training, and its single steps."""

    def __init__(
        self, model: nn.Module, settings: TrainingSettings, steps: int, device: torch.device, distributed: Distributed
    ) -> None:
        # On a GPU weights lie as patches do, so that no step has to turn them round; on a CPU results stay to the bit.
        on_gpu = device.type == "cuda"
        self._model = model.to(device, memory_format=torch.channels_last) if on_gpu else model.to(device)
        self._settings, self._steps = settings, steps
        self._device, self._distributed = device, distributed
        self._arithmetic = Arithmetic(settings.precision, device)
        freeze(model, settings.frozen_layers)
        self.optimiser = make_optimiser([p for p in model.parameters() if p.requires_grad], settings)
        self._gradients: GradientWorkers | DistributedGradients | None = None

    def restore(self, checkpoint: Checkpoint) -> Progress:
        """Go on where the checkpoint is."""
        progress = checkpoint.read(self._model, self.optimiser)
        if progress.scaler:
            self._arithmetic.scaler.load_state_dict(progress.scaler)
        return progress

    def progress(self, step: int, losses: list[float]) -> Progress:
        """Return what a checkpoint must hold beside the weights."""
        return Progress(step, tuple(losses), self._arithmetic.scaler.state_dict())

    def step(self, step: int, patches: torch.Tensor, targets: torch.Tensor) -> float:
        """Learn from one batch; return its loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self._settings.rate(step, self._steps)
        self.optimiser.zero_grad(set_to_none=True)
        inputs = to_network_input(patches.to(self._device, non_blocking=True), self._settings.input_size)
        targets = targets.to(self._device, non_blocking=True)
        value = self._workers().gradients(inputs, targets, self._settings.frozen_layers)
        check_loss(value, step)
        self._arithmetic.scaler.step(self.optimiser)
        self._arithmetic.scaler.update()
        return value

    def _workers(self) -> GradientWorkers | DistributedGradients:
        # Made at the first step, after a checkpoint was read: replicas copy the statistics of frozen batch norms.
        if self._gradients is None:
            fixed = self._settings.fixed_statistics
            if self._distributed.size > 1:
                self._gradients = DistributedGradients(
                    self._model, self._distributed, self._device, self._arithmetic, fixed_statistics=fixed
                )
            else:
                n = self._settings.workers if self._device.type == "cpu" else 1
                self._gradients = GradientWorkers(self._model, n, self._arithmetic, fixed_statistics=fixed)
        return self._gradients


def _end_if(stopping: bool, reason: str | None, done: int, steps: int) -> None:
    if stopping:
        raise TrainingStoppedError(
            f"training stopped at step {done} of {steps} by {reason or 'another process'}; a checkpoint is written",
            "run the same command with --resume",
        )


def _fingerprint(patches: PatchSet) -> int:
    """Return a number that other training patches would hardly have."""
    return zlib.crc32(patches.participants.tobytes(), zlib.crc32(patches.kinds.tobytes()))
