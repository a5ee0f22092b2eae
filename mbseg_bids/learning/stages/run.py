"""One stage from patch sets on disk to a weights file."""

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from mbseg_bids.detection.network.classify import choose_device
from mbseg_bids.detection.network.weights import WeightsMetadata, save_weights
from mbseg_bids.errors import TemporaryError, UsageError
from mbseg_bids.learning.examples.augmentation import NONE
from mbseg_bids.learning.examples.patch_set import PatchSet, concatenate, load_patch_set, narrow
from mbseg_bids.learning.stages.initial import Start, starting_network
from mbseg_bids.learning.stages.stage import (
    CSF_SPLIT,
    CSF_STAGE,
    MICROBLEED_SPLIT,
    MICROBLEED_STAGE,
    Sets,
    as_in_training,
    check_sets,
    split,
    train_stage,
    with_hard_negatives,
)
from mbseg_bids.learning.training.batches import Batches, Precision, TrainingSettings
from mbseg_bids.learning.training.checkpoint import make_writable
from mbseg_bids.learning.training.distributed import join_processes
from mbseg_bids.learning.training.gradients import Arithmetic
from mbseg_bids.learning.training.interruption import StopRequest
from mbseg_bids.learning.training.log import Display, check_display

LAYERS = 177
"""Of MATLAB's ResNet-50, in which frozen ones are counted."""


@dataclass(frozen=True)
class StageRequest:
    """What a user asks of ``mbseg train csf`` or ``microbleed``.

    Attributes
    ----------
    stage
        ``csf`` or ``microbleed``.
    patches
        Patch sets, or folders of them.
    out
        Folder for weights, log and checkpoint.
    name
        Of the weights.
    init
        As in :func:`mbseg_bids.learning.stages.initial.starting_network`.
    patch_size, input_size
        None takes those of the initial weights, else the paper's.
    hard_negatives
        Share of the not-microbleeds.
    new_last_layer
        Also where the initial weights are of the same task.
    device, precision
        ``auto`` chooses.
    resume, time_limit, tensorboard
        Go on at the checkpoint; minutes; curves.
    changes, augmentation
        Fields of :class:`TrainingSettings`, and of its augmentation, that differ from the stage's.
    """

    stage: str
    patches: tuple[Path, ...]
    out: Path
    name: str
    init: str = "random"
    patch_size: int | None = None
    input_size: int | None = None
    hard_negatives: float = 0.0
    new_last_layer: bool = False
    device: str = "auto"
    precision: Precision | Literal["auto"] = "auto"
    resume: bool = False
    time_limit: float | None = None
    tensorboard: bool = False
    changes: Mapping[str, Any] = field(default_factory=dict)
    augmentation: Mapping[str, Any] = field(default_factory=dict)


def run_stage(request: StageRequest) -> Path:
    """Train a stage and write its weights, ``<stage>.safetensors``; everything that can be wrong is tried first.

    Returns
    -------
    The weights file; ``mbseg-bids --weights`` takes one of the microbleed stage.

    Raises
    ------
    MbsegError
        See :func:`mbseg_bids.learning.training.trainer.train`, :func:`starting_network`, :func:`split` and
        :func:`mbseg_bids.learning.examples.patch_set.load_patch_set`.
    """
    display = Display(bar=sys.stderr.isatty(), tensorboard=request.tensorboard)
    check_display(display)
    make_writable(request.out)
    torch.set_num_threads(request.changes.get("workers", 1))
    with join_processes(choose_device(request.device)) as (distributed, device), StopRequest(_seconds(request)) as stop:
        start = starting_network(request.init, request.changes.get("seed", 0))
        settings = settings_of(request, start, device)
        Arithmetic(settings.precision, device)
        patches = read_patches(request.patches, request.stage)
        sets = split(patches, CSF_SPLIT if request.stage == "csf" else MICROBLEED_SPLIT, settings.seed)
        settings = with_hard_negatives(settings, request.hard_negatives, sets.training.kinds)
        narrow(sets.training, settings.patch_size, settings.augmentation != NONE)
        check_sets(sets, settings)
        sets = replace(
            sets, validation=as_in_training(sets.validation, settings), test=as_in_training(sets.test, settings)
        )
        say = print if distributed.is_first else _nothing
        _describe(request, start, sets, settings, say)
        model, validation, test = _catch_memory(
            train_stage,
            sets,
            settings,
            request.out,
            initial=start.model,
            keep_last_layer=start.keeps_last_layer(request.stage) and not request.new_last_layer,
            device=device,
            resume=request.resume,
            report=lambda line: say(line, flush=True),
            stop=stop,
            distributed=distributed,
            display=display,
        )
    path = request.out / f"{request.stage}.safetensors"
    if distributed.is_first:
        scores = {"validation": validation.as_row(), "test": test.as_row()}
        facts = {"patches": len(patches), "start": start.source, "settings": asdict(settings), **scores}
        metadata = WeightsMetadata(
            request.name, request.stage, settings.patch_size, settings.input_size, training=facts
        )
        save_weights(path, model.cpu(), metadata)
        print(f"validation: {validation}\ntest: {test}\nwrote {path}")
    return path


def settings_of(request: StageRequest, start: Start, device: torch.device) -> TrainingSettings:
    """Return the settings of a stage with what the user changed."""
    frozen = request.changes.get("frozen_layers", 0)
    if not 0 <= frozen <= LAYERS:
        raise UsageError(f"--freeze {frozen}: the network has {LAYERS} layers", f"give 0 to {LAYERS}")
    stage = CSF_STAGE if request.stage == "csf" else MICROBLEED_STAGE
    known = start.metadata
    return replace(
        stage,
        **request.changes,
        augmentation=replace(stage.augmentation, **request.augmentation),
        patch_size=request.patch_size or (known.patch_size if known else stage.patch_size),
        input_size=request.input_size or (known.input_size if known else stage.input_size),
        precision=choose_precision(request.precision, device),
    )


def choose_precision(precision: Precision | Literal["auto"], device: torch.device) -> Precision:
    """Return the number format; ``auto`` is mixed precision on a GPU and single precision on a CPU."""
    if precision != "auto":
        return precision
    if device.type != "cuda":
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def read_patches(paths: tuple[Path, ...], stage: str) -> PatchSet:
    """Read all patch sets of a stage, given by file or folder.

    Raises
    ------
    UsageError
        If there is none.
    """
    files = [file for path in paths for file in (sorted(path.glob(f"*_{stage}.npz")) if path.is_dir() else [path])]
    if not files:
        raise UsageError(f"no *_{stage}.npz in {', '.join(map(str, paths))}", "make patches with mbseg train sample")
    return concatenate([load_patch_set(path) for path in files])


def _describe(request: StageRequest, start: Start, sets: Sets, settings: TrainingSettings, say: Any) -> None:
    sizes = ", ".join(
        f"{name} {len(patches)} of {len(np.unique(patches.participants))} participants"
        for name, patches in (("training", sets.training), ("validation", sets.validation), ("test", sets.test))
    )
    say(f"patches: {sizes}\nstarting from: {start.source}")
    batches = Batches(sets.training.kinds, settings)
    steps = settings.steps or settings.epochs * batches.steps_per_epoch
    say(f"{steps} mini-batches of {settings.batch_size}, {batches.steps_per_epoch} an epoch, {settings.precision}")
    for kind, times in batches.showings().items():
        if kind != settings.target and times > 1.05 and settings.augmentation.rotations:
            say(
                f"note: an epoch shows each {kind} patch {times:.1f} times; for novel ones sample with "
                f"--rotations {settings.augmentation.rotations}",
            )


def _seconds(request: StageRequest) -> float | None:
    return None if request.time_limit is None else 60 * request.time_limit


def _catch_memory(work: Any, *args: Any, **options: Any) -> Any:
    try:
        return work(*args, **options)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise TemporaryError(
            f"out of memory: {str(error)[:120]}", "set a smaller --batch-size or --input-size"
        ) from error


def _nothing(*_: Any, **__: Any) -> None:
    """Say nothing: another process does."""
