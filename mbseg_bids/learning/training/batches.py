"""How a stage is trained, and which patches it is shown at each step."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from mbseg_bids.errors import UsageError
from mbseg_bids.learning.examples.augmentation import Augmentation
from mbseg_bids.learning.examples.patch_set import KINDS

Precision = Literal["float32", "bfloat16", "float16"]


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
    fixed_statistics
        All batch norms keep and use the running statistics they come with: to go on from a trained network with
        batches too small, or too unlike those it was trained with, to measure their own.
    patch_size, input_size
        Side of a patch, and the side it is resized to.
    workers
        On a CPU, threads that share each batch (see :class:`GradientWorkers`).
    precision
        Of the convolutions: ``float32``, or mixed precision with ``bfloat16`` or ``float16`` (a GPU only).
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
    fixed_statistics: bool = False
    augmentation: Augmentation = field(default_factory=Augmentation)
    patch_size: int = 28
    input_size: int = 224
    workers: int = 1
    precision: Precision = "float32"
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
    patch comes again. So an epoch shows each patch of the target (rotations + 1) times, and as many different ones of
    the other kinds as there are: the paper's "matching numbers of novel background patches" where that is enough of
    them (see :meth:`showings`).

    Parameters
    ----------
    kinds
        Shape (N,), values of :data:`mbseg_bids.learning.examples.patch_set.KINDS`.
    settings
        Shares, batch size, rotations and seed.

    Raises
    ------
    UsageError
        If a kind is absent, or a batch cannot hold one patch of each.
    """

    def __init__(self, kinds: npt.NDArray[np.uint8], settings: TrainingSettings) -> None:
        self._seed = settings.seed
        self._orders: dict[str, tuple[int, npt.NDArray[np.intp]]] = {}
        shares = {kind: share for kind, share in settings.fractions.items() if share > 0}
        self._members = {kind: np.flatnonzero(kinds == KINDS[kind]) for kind in shares}
        empty = [kind for kind, members in self._members.items() if not len(members)]
        if empty:
            raise UsageError(f"no {', '.join(empty)} patches to train on", "give patch sets that hold them")
        if settings.batch_size < len(shares):
            raise UsageError(
                f"a batch of {settings.batch_size} cannot hold {len(shares)} kinds of patch: {', '.join(shares)}",
                f"set --batch-size to {len(shares)} or more",
            )
        self._counts = _whole_counts(shares, settings.batch_size)
        shown = len(self._members[settings.target]) * (settings.augmentation.rotations + 1)
        self.steps_per_epoch = max(1, round(shown / self._counts[settings.target]))

    def showings(self) -> dict[str, float]:
        """Return how often an epoch shows each patch of a kind: at most once where not-microbleeds are novel."""
        return {kind: self.steps_per_epoch * n / len(self._members[kind]) for kind, n in self._counts.items()}

    def __getitem__(self, step: int) -> npt.NDArray[np.intp]:
        chosen = np.concatenate([self._of_kind(kind, step * n, n) for kind, n in self._counts.items()])
        # Mixed, since threads that share a batch would otherwise get one class each: batch norms would give it away.
        return np.random.default_rng([self._seed, 2_000_003, step]).permutation(chosen)

    def _of_kind(self, kind: str, start: int, n: int) -> npt.NDArray[np.intp]:
        members = self._members[kind]
        rounds, places = np.divmod(np.arange(start, start + n), len(members))
        parts = [members[self._order(kind, int(r))[places[rounds == r]]] for r in np.unique(rounds)]
        return np.concatenate(parts).astype(np.intp, copy=False)

    def _order(self, kind: str, round_: int) -> npt.NDArray[np.intp]:
        if kind not in self._orders or self._orders[kind][0] != round_:
            rng = np.random.default_rng([self._seed, KINDS[kind], int(round_)])
            self._orders[kind] = (round_, rng.permutation(len(self._members[kind])))
        return self._orders[kind][1]


def _whole_counts(shares: Mapping[str, float], batch_size: int) -> dict[str, int]:
    """Return whole numbers in these proportions that add up to the batch size (largest remainder), each at least 1."""
    total = sum(shares.values())
    exact = {kind: share / total * batch_size for kind, share in shares.items()}
    counts = {kind: max(1, int(value)) for kind, value in exact.items()}
    for kind in sorted(exact, key=lambda k: int(exact[k]) - exact[k])[: max(0, batch_size - sum(counts.values()))]:
        counts[kind] += 1
    while sum(counts.values()) > batch_size:  # rare kinds were rounded up to one
        counts[max(counts, key=counts.__getitem__)] -= 1
    return counts
