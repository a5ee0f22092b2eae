"""What mixed precision gains in training on a CPU, as a ratio of times in one run.

Newer processors have units for matrices of bfloat16 (``amx_bf16`` in /proc/cpuinfo); on others it loses time. Patches
are noise, which takes the time that images take; making and turning patches is left out.

    python benchmarks/training.py [--input-size 64] [--batch-size 40] [--workers 2] [--rounds 10]
"""

import argparse
import statistics
import time

import torch
from torch import nn

from mbseg_bids.detection.network.resnet import build_network
from mbseg_bids.learning.training.batches import Precision
from mbseg_bids.learning.training.gradients import Arithmetic, GradientWorkers

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


def main() -> None:
    """Take turns between the precisions, print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input-size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = build_network(seed=1)
    inputs = torch.randn(args.batch_size, 3, args.input_size, args.input_size)
    targets = torch.arange(args.batch_size) % 2
    workers = {name: GradientWorkers(model, args.workers, Arithmetic(name)) for name in PRECISIONS}
    seconds: dict[str, list[float]] = {name: [] for name in PRECISIONS}
    for n in range(args.rounds + 1):
        for name in PRECISIONS:
            taken = step(workers[name], model, inputs, targets)
            if n:  # the first sets up
                seconds[name].append(taken)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for label, median in medians.items():
        print(f"{label}: {args.batch_size / median:.0f} patches a second, {median:.3f} s a step")
    print(f"float32 takes {medians['float32'] / medians['bfloat16']:.2f} times as long as bfloat16")


def step(workers: GradientWorkers, model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> float:
    """Return the seconds that the gradients of one batch take."""
    start = time.perf_counter()
    workers.gradients(inputs, targets, 0)
    taken = time.perf_counter() - start
    model.zero_grad(set_to_none=True)
    return taken


if __name__ == "__main__":
    main()
