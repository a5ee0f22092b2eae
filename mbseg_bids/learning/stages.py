"""The two stages of training: CSF against tissue, then microbleed against not, each with a new last layer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mbseg_bids.detection.network import build_network, new_last_layer
from mbseg_bids.evaluation.patch import PatchScores
from mbseg_bids.learning.patch_set import KINDS, PatchSet
from mbseg_bids.learning.rotation import NONE
from mbseg_bids.learning.splits import split_participants
from mbseg_bids.learning.trainer import TrainingSettings, predict, train, validate

CSF_SPLIT = (0.5, 0.25, 0.25)
MICROBLEED_SPLIT = (0.6, 0.2, 0.2)
"""Shares of the participants for training, validation and test (paper)."""

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
    """Deal patches by participant, lesion sizes in like proportion."""
    volumes = {int(p): _lesion_volumes(patches, p) for p in np.unique(patches.participants)}
    dealt = split_participants(volumes, fractions, np.random.default_rng(seed))
    return Sets(*(patches.select(np.isin(patches.participants, members)) for members in dealt))


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
    device, resume, report
        As in :func:`mbseg_bids.learning.trainer.train`.

    Returns
    -------
    The network, and its scores on the validation and the test patches.
    """
    model = build_network(seed=settings.seed) if initial is None else initial
    if not keep_last_layer:
        new_last_layer(model, seed=settings.seed)
    validation = train(
        model, patches.training, patches.validation, settings, folder, device=device, resume=resume, report=report
    )
    return model, validation, validate(model, patches.test, settings, device)


def mark_false_positives(
    model: nn.Module, patches: PatchSet, settings: TrainingSettings, *, threshold: float = 0.3
) -> PatchSet:
    """Relabel the not-microbleeds that a network takes for microbleeds as kind ``false_positive``.

    Done on training participants between two rounds, so that the next round sees more of what this one got wrong.
    """
    negative = patches.kinds != KINDS[settings.target]
    wrong = np.zeros(len(patches), bool)
    wrong[negative] = predict(model, patches.select(negative), settings.patch_size, settings.input_size) >= threshold
    return patches.relabel(np.where(wrong, KINDS["false_positive"], patches.kinds))


def with_false_positives(settings: TrainingSettings, share: float) -> TrainingSettings:
    """Return settings that give this share of a batch to false positives, taken from the other not-microbleeds."""
    negatives = {k: v for k, v in settings.fractions.items() if k not in (settings.target, "false_positive")}
    scale = (sum(negatives.values()) - share) / sum(negatives.values())
    fractions = {k: v * scale for k, v in negatives.items()} | {"false_positive": share}
    return replace(settings, fractions={settings.target: settings.fractions[settings.target]} | fractions)


def _lesion_volumes(patches: PatchSet, participant: int) -> list[float]:
    """Return the different volumes of lesions; patches of one lesion share its volume."""
    mine = (patches.participants == participant) & (patches.volumes > 0)
    return np.unique(patches.volumes[mine]).tolist()
