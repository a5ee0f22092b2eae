"""The optimiser of every training here, and the refusal to go on from a loss that is no number."""

import math
from collections.abc import Iterable
from typing import Protocol

import torch
from torch import nn

from mbseg_bids.errors import MbsegError


class OptimiserSettings(Protocol):
    """Settings of a training, as far as they decide its optimiser."""

    @property
    def optimiser(self) -> str:
        """``sgd`` or ``adamw``."""

    @property
    def learning_rate(self) -> float:
        """The largest."""

    @property
    def momentum(self) -> float:
        """Of stochastic gradient descent; the first decay of AdamW."""

    @property
    def weight_decay(self) -> float:
        """Of all weights."""


def make_optimiser(parameters: Iterable[nn.Parameter], settings: OptimiserSettings) -> torch.optim.Optimizer:
    """Return the optimiser of some parameters."""
    if settings.optimiser == "adamw":
        return torch.optim.AdamW(
            parameters, settings.learning_rate, betas=(settings.momentum, 0.999), weight_decay=settings.weight_decay
        )
    return torch.optim.SGD(
        parameters, settings.learning_rate, momentum=settings.momentum, weight_decay=settings.weight_decay
    )


def check_loss(loss: float, step: int) -> None:
    """Raise a MbsegError if the loss of a step (counted from 0) is not finite."""
    if not math.isfinite(loss):
        raise MbsegError(f"training diverged: the loss is {loss} at step {step + 1}", "set a smaller --learning-rate")
