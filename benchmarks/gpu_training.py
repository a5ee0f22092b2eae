"""Training on a GPU: patches a second of the trainer's own steps, and of their parts."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import torch

from benchmarks.gpu_record import Row, seconds_each
from mbseg_bids.detection.network.resnet import build_network
from mbseg_bids.learning.examples.augmentation import Augmentation
from mbseg_bids.learning.examples.patch_set import KINDS, PatchSet, wide_size
from mbseg_bids.learning.stages.stage import MICROBLEED_STAGE
from mbseg_bids.learning.training.batches import Batches, TrainingSettings
from mbseg_bids.learning.training.distributed import ALONE
from mbseg_bids.learning.training.feeding import DeviceFeed, Fed
from mbseg_bids.learning.training.trainer import _Run

VARIED = Augmentation(mirror=True, exact=0.5, gain=0.15, noise=0.03, gamma=0.45, blur=0.6, shift=1.0, drop=(0.2, 0.15))
FRACTIONS = {"lesion": 0.36, "background": 0.05, "candidate": 0.23, "mimic": 0.27, "surround": 0.09}
EVERYTHING = replace(
    MICROBLEED_STAGE,
    fractions=FRACTIONS,
    augmentation=VARIED,
    optimiser="adamw",
    schedule="cosine",
    warmup=100,
    precision="bfloat16",
)
STEPS = 1_000_000


def training_section(
    _: object, device: torch.device, sizes: Any, __: object, ___: object, add: Callable[[Row], None]
) -> None:
    """Measure feed, network and both together, all augmentation on."""
    patches = synthetic_patches(20_000 if device.type == "cuda" else 200)
    for size in [s for s in sizes.inputs if s < 200]:
        settings = replace(EVERYTHING, input_size=size, batch_size=sizes.batch)
        work = parts(patches, settings, device)
        for what, one in work.items():
            seconds = seconds_each(device, one, 2 * sizes.budget)
            add({"input": size, "what": what, "per_s": sizes.batch / seconds, "ms": 1e3 * seconds})


def parts(patches: PatchSet, settings: TrainingSettings, device: torch.device) -> dict[str, Callable[[], object]]:
    """Return the whole of a step, what feeds it, what is drawn for that on the host, and what the network takes."""
    batches = Batches(patches.kinds, settings)
    feed = DeviceFeed(patches, settings, batches, ALONE, device)
    # The trainer's own step, with its checks and optimiser.
    run = _Run(build_network(seed=1), settings, STEPS, device, ALONE)
    whole: Iterator = feed(range(STEPS))
    fed: Fed = DeviceFeed(patches, settings, Batches(patches.kinds, settings), ALONE, device)(range(STEPS))
    drawn, again = count(), count()
    _, *one = next(fed)

    def step() -> None:
        run.step(*next(whole))

    def network() -> None:
        run.step(next(again), *one)

    return {
        "step": step,
        "network alone": network,
        "feed alone": lambda: next(fed),
        "drawn on the host": lambda: feed._draw(next(drawn)),
    }


def synthetic_patches(n: int) -> PatchSet:
    """Return noise of every kind."""
    rng = np.random.default_rng(0)
    side = wide_size(28)
    kinds = np.array([KINDS[name] for name in FRACTIONS], np.uint8)[np.arange(n) % len(FRACTIONS)]
    values = rng.integers(0, 256, (n, 3, side, side), dtype=np.uint8)
    return PatchSet(values, kinds, np.zeros(n, np.int32), np.zeros(n, np.float32))
