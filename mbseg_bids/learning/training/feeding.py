"""How the batches of a training reach the network: made on the host, or on the device that holds all patches."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from mbseg_bids.learning.examples.augmentation import Variation, augment, draw_variation, vary_patches
from mbseg_bids.learning.examples.patch_set import KINDS, PatchSet
from mbseg_bids.learning.training.batches import Batches, TrainingSettings
from mbseg_bids.learning.training.distributed import Distributed

AHEAD = 4
"""Batches made in advance, by as many threads, while a GPU computes."""

MEMORY_SHARE = 0.5
"""Patches stay on the device where they take no more than this share of its free memory."""

Fed = Iterator[tuple[int, torch.Tensor, torch.Tensor]]


class Feed(Protocol):
    """Gives a training its batches."""

    def __call__(self, steps: range) -> Fed:
        """Yield each step with its patches (N, 3, size, size), float32 0-1, and targets (N,), 0 or 1."""


class HostFeed:
    """Batches are cut and varied on the host, some in advance where a GPU computes meanwhile."""

    def __init__(
        self,
        training: PatchSet,
        settings: TrainingSettings,
        batches: Batches,
        distributed: Distributed,
        device: torch.device,
    ) -> None:
        """Keep patches and settings; ``distributed`` says which part of a batch is wanted here."""
        self._training, self._settings, self._batches = training, settings, batches
        self._distributed, self._device = distributed, device

    def __call__(self, steps: range) -> Fed:
        """Yield the batches of these steps."""
        if self._device.type != "cuda":
            yield from ((step, *self._make(step)) for step in steps)
            return
        with ThreadPoolExecutor(AHEAD) as pool:
            waiting: list[tuple[int, Future]] = []
            for step in steps:
                waiting.append((step, pool.submit(self._make, step)))
                if len(waiting) > AHEAD:
                    ready, future = waiting.pop(0)
                    yield (ready, *future.result())
            for ready, future in waiting:
                yield (ready, *future.result())

    def _make(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = self._distributed.share(self._batches[step])
        wide = self._training.patches[chosen]
        rng = _generator(self._settings, step, self._distributed)
        patches = augment(wide, self._settings.patch_size, self._settings.augmentation, rng)
        targets = _targets(self._training.kinds[chosen], self._settings)
        return (patches.pin_memory(), targets.pin_memory()) if self._device.type == "cuda" else (patches, targets)


class DeviceFeed:
    """All patches lie on the device as they are stored; batches are picked and varied there.

    The host only draws what is varied, from the same generator as :class:`HostFeed`: a batch is the same but for
    rounding, and for the noise added to it, which the device draws.
    """

    def __init__(
        self,
        training: PatchSet,
        settings: TrainingSettings,
        batches: Batches,
        distributed: Distributed,
        device: torch.device,
    ) -> None:
        """Copy the patches to the device."""
        self._settings, self._batches, self._distributed = settings, batches, distributed
        self._patches = torch.from_numpy(np.ascontiguousarray(training.patches)).to(device)
        self._targets = _targets(training.kinds, settings).to(device)
        self._noise = torch.Generator(device)

    def __call__(self, steps: range) -> Fed:
        """Yield the batches of these steps."""
        for step, chosen, variation in _ahead(self._draw, steps):
            rows = torch.from_numpy(chosen).to(self._patches.device, non_blocking=True)
            self._noise.manual_seed(
                self._settings.seed * 1_000_003 + step * self._distributed.size + self._distributed.rank
            )
            patches = vary_patches(self._patches[rows], self._settings.patch_size, variation, self._field)
            yield step, patches, self._targets[rows]

    def _draw(self, step: int) -> tuple[npt.NDArray[np.intp], Variation]:
        chosen = self._distributed.share(self._batches[step])
        rng = _generator(self._settings, step, self._distributed)
        return chosen, draw_variation(len(chosen), self._settings.augmentation, rng)

    def _field(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.randn(shape, generator=self._noise, device=self._patches.device)


def _ahead(draw: Callable[[int], tuple[Any, ...]], steps: range) -> Iterator[tuple[Any, ...]]:
    """Yield each step with what is drawn for it, drawn in a thread while the step before is computed."""
    with ThreadPoolExecutor(1) as pool:
        coming = [pool.submit(draw, step) for step in steps[:1]]
        for step in steps:
            future = coming.pop()
            if step + steps.step in steps:
                coming.append(pool.submit(draw, step + steps.step))
            yield (step, *future.result())


def make_feed(
    training: PatchSet, settings: TrainingSettings, batches: Batches, distributed: Distributed, device: torch.device
) -> Feed:
    """Return a :class:`DeviceFeed` on a GPU whose memory holds the patches, else a :class:`HostFeed`."""
    kind = DeviceFeed if device.type == "cuda" and _fits(training.patches.nbytes, device) else HostFeed
    return kind(training, settings, batches, distributed, device)


def _fits(n_bytes: int, device: torch.device) -> bool:
    free, _ = torch.cuda.mem_get_info(device)
    return n_bytes <= MEMORY_SHARE * free


def _generator(settings: TrainingSettings, step: int, distributed: Distributed) -> np.random.Generator:
    """Return the generator of a step: it depends on nothing before, so that a resumed training repeats it."""
    return np.random.default_rng(
        [settings.seed, 1_000_003, step] + ([distributed.rank] if distributed.size > 1 else [])
    )


def _targets(kinds: npt.NDArray[np.uint8], settings: TrainingSettings) -> torch.Tensor:
    return torch.from_numpy((kinds == KINDS[settings.target]).astype(np.int64))
