"""The two stages of training: CSF against tissue, then microbleed against not, each with a new last layer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mbseg_bids.detection.network.resnet import build_network, new_last_layer
from mbseg_bids.errors import UsageError
from mbseg_bids.evaluation.patch import PatchScores
from mbseg_bids.learning.examples.augmentation import NONE
from mbseg_bids.learning.examples.patch_set import KINDS, PatchSet
from mbseg_bids.learning.examples.splits import split_participants
from mbseg_bids.learning.training.distributed import ALONE, Distributed
from mbseg_bids.learning.training.interruption import StopRequest
from mbseg_bids.learning.training.log import QUIET, Display
from mbseg_bids.learning.training.trainer import TrainingSettings, predict, train, validate

CSF_SPLIT = (0.5, 0.25, 0.25)
MICROBLEED_SPLIT = (0.6, 0.2, 0.2)
"""Shares of the participants for training, validation and test (paper)."""

HARD = {"candidate": 0.6, "mimic": 0.26, "surround": 0.14}
"""Proportion of the hard not-microbleeds: dark voxels of the search mask, mimics, voxels beside a lesion."""

CSF_STAGE = TrainingSettings(target="csf", fractions={"csf": 0.5, "tissue": 0.5}, augmentation=NONE)
"""Stage 1 as in the paper: all layers, no augmentation."""

MICROBLEED_STAGE = TrainingSettings(frozen_layers=5)
"""Stage 2 as in the paper: first five layers frozen, 19 random rotations."""


@dataclass(frozen=True)
class Sets:
    """Patches for training, validation and test; no participant is in two of them."""

    training: PatchSet
    validation: PatchSet
    test: PatchSet


def split(patches: PatchSet, fractions: Sequence[float], seed: int) -> Sets:
    """Deal patches by participant, lesion sizes in like proportion.

    Raises
    ------
    UsageError
        If there are fewer participants than sets.
    """
    n = len(np.unique(patches.participants))
    if n < len(fractions):
        raise UsageError(
            f"patches of {n} participants cannot make {len(fractions)} sets (training, validation, test)",
            f"sample at least {len(fractions)} participants",
        )
    volumes = {int(p): _lesion_volumes(patches, p) for p in np.unique(patches.participants)}
    dealt = split_participants(volumes, fractions, np.random.default_rng(seed))
    return Sets(*(patches.select(np.isin(patches.participants, members)) for members in dealt))


def as_in_training(patches: PatchSet, settings: TrainingSettings) -> PatchSet:
    """Return a validation or test set in which each kind has its share of a training batch, as far as there are any.

    All patches of the target are kept, and of the others as many as belong to them, drawn at random: half and half in
    the paper. Kinds that training does not show are left out.
    """
    rng = np.random.default_rng([settings.seed, 3_000_017])
    members = {kind: rng.permutation(np.flatnonzero(patches.kinds == KINDS[kind])) for kind in settings.fractions}
    n = len(members[settings.target])
    shares = {kind: share / settings.fractions[settings.target] for kind, share in settings.fractions.items()}
    kept = [members[kind][: round(n * share)] for kind, share in shares.items()]
    return patches.select(np.sort(np.concatenate(kept)))


def check_sets(sets: Sets, settings: TrainingSettings) -> None:
    """Raise a UsageError now if a set lacks one of the two classes, without which there is no score."""
    others = ", ".join(kind for kind, share in settings.fractions.items() if share and kind != settings.target)
    for name, patches in (("training", sets.training), ("validation", sets.validation), ("test", sets.test)):
        positive = patches.kinds == KINDS[settings.target]
        missing = settings.target if not positive.any() else others if positive.all() else None
        if missing:
            n = len(np.unique(patches.participants))
            raise UsageError(
                f"the {name} set ({len(patches)} patches of {n} participants) has no {missing} patches",
                f"sample more participants that have {missing}, or deal them anew with another --seed",
            )


def train_stage(
    patches: Sets,
    settings: TrainingSettings,
    folder: Path,
    *,
    initial: nn.Module | None = None,
    keep_last_layer: bool = False,
    device: torch.device | None = None,
    resume: bool = False,
    report: Callable[[str], None] = print,
    stop: StopRequest | None = None,
    distributed: Distributed = ALONE,
    display: Display = QUIET,
) -> tuple[nn.Module, PatchScores, PatchScores]:
    """Train one stage.

    Parameters
    ----------
    patches
        Of :func:`split`.
    settings
        :data:`CSF_STAGE`, :data:`MICROBLEED_STAGE` or a variation.
    folder
        For checkpoint and log.
    initial
        Network to go on with; None starts from random weights.
    keep_last_layer
        Go on with the last layer too: a further round of the same stage.
    device, resume, report, stop, distributed, display
        As in :func:`mbseg_bids.learning.training.trainer.train`.

    Returns
    -------
    The network, and its scores on the validation and the test patches.
    """
    model = build_network(seed=settings.seed) if initial is None else initial
    if not keep_last_layer:
        new_last_layer(model, seed=settings.seed)
    validation = train(
        model,
        patches.training,
        patches.validation,
        settings,
        folder,
        device=device,
        resume=resume,
        report=report,
        stop=stop,
        distributed=distributed,
        display=display,
    )
    return model, validation, validate(model, patches.test, settings, device)


def mark_false_positives(
    model: nn.Module,
    patches: PatchSet,
    settings: TrainingSettings,
    *,
    threshold: float = 0.3,
    device: torch.device | None = None,
) -> PatchSet:
    """Relabel the not-microbleeds that a network takes for microbleeds as kind ``false_positive``.

    Done on training participants between two rounds, so that the next round sees more of what this one got wrong.
    """
    negative = patches.kinds != KINDS[settings.target]
    wrong = np.zeros(len(patches), bool)
    sides = (settings.patch_size, settings.input_size)
    wrong[negative] = predict(model, patches.select(negative), *sides, device, settings.precision) >= threshold
    return patches.relabel(np.where(wrong, KINDS["false_positive"], patches.kinds))


def with_false_positives(settings: TrainingSettings, share: float) -> TrainingSettings:
    """Return settings that give this share of a batch to false positives, taken from the other not-microbleeds."""
    negatives = {k: v for k, v in settings.fractions.items() if k not in (settings.target, "false_positive")}
    scale = (sum(negatives.values()) - share) / sum(negatives.values())
    fractions = {k: v * scale for k, v in negatives.items()} | {"false_positive": share}
    return replace(settings, fractions={settings.target: settings.fractions[settings.target]} | fractions)


def with_hard_negatives(settings: TrainingSettings, share: float, kinds: npt.NDArray[np.uint8]) -> TrainingSettings:
    """Return settings that give a share of the not-microbleeds to what the network is asked about in a scan.

    Parameters
    ----------
    settings
        Of the microbleed stage.
    share
        0: random voxels of the brain alone, as in the paper; 1: none of these.
    kinds
        Of the training patches. Dark voxels, mimics and surroundings share in a fixed proportion as far as present:
        labelled scans have no mimics, and participants without lesions no surroundings.
    """
    present = {kind: weight for kind, weight in HARD.items() if (kinds == KINDS[kind]).any()}
    if not share or not present:
        return settings
    total = sum(present.values())
    negatives = {"background": 1 - share} | {kind: share * weight / total for kind, weight in present.items()}
    positive = settings.fractions[settings.target]
    return replace(
        settings, fractions={settings.target: positive} | {k: v * (1 - positive) for k, v in negatives.items()}
    )


def _lesion_volumes(patches: PatchSet, participant: int) -> list[float]:
    """Return the different volumes of lesions; patches of one lesion share its volume."""
    mine = (patches.participants == participant) & (patches.volumes > 0)
    return np.unique(patches.volumes[mine]).tolist()
