"""Detection in a simulated scan on a GPU, from intensities to lesions: a run's search, and exhaustive ones."""

from argparse import Namespace
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu_record import Row, switched, timed_on, whole_network
from benchmarks.inference import near_a_lesion, scans, search
from mbseg_bids.detection.network.weights import load_weights
from mbseg_bids.settings import DetectionSettings
from mbseg_bids.simulation.case import Case

Add = Callable[[Row], None]

SLAB = 100_000
"""Voxels of the brain that are searched exhaustively at an input of 224; the time of all follows by their share."""


def simulated_case(labelmaps: Path, *, toy: bool = False) -> Case:
    """Simulate a scan of 1 mm voxels; for a toy, thick slices, and the brain about one microbleed."""
    torch.set_num_threads(2)
    spacing = (2.0, 2.0, 5.0) if toy else (1.0, 1.0, 1.0)
    _, case = next(scans(labelmaps, [1], 20, (spacing,)))
    return replace(case, brain=near_a_lesion(case, 16.0)) if toy else case


def scan_section(_: object, device: torch.device, sizes: Any, args: Namespace, case: Future | None, add: Add) -> None:
    """Search as a run does, exhaustively, and exhaustively at the paper's input in a slab."""
    if case is None:
        raise ValueError("no scan: give --labelmaps")
    scan: Case = case.result()
    network = load_weights(args.weights, task="microbleed")
    settings = DetectionSettings()
    every = replace(settings, exhaustive=True)
    options = {"device": device.type, "runtime": "pytorch", "exact_from": settings.followed}
    with switched("eager"):  # makes the GPU ready, too
        reference, row = measured(device, network, scan, settings, options)
    add({"search": "first", "switch": "eager", "input": network[1].input_size} | row | same(reference, reference))
    for switch in ("eager", "fused", "fused, graph"):
        with switched(switch):
            found, row = measured(device, network, scan, settings, options)
        add({"search": "default", "switch": switch, "input": network[1].input_size} | row | same(found, reference))
    wide = whole_at(network, sizes.inputs[0])
    slab = replace(scan, brain=middle(scan.brain, min(SLAB, sizes.most // 2)))
    for switch in ("fused, graph", "eager"):
        with switched(switch):
            found, row = measured(device, network, scan, every, options)
        add({"search": "exhaustive", "switch": switch, "input": network[1].input_size} | row | same(found, reference))
        with switched(switch):
            _, row = measured(device, wide, slab, every, options)
        row["whole_brain_s"] = row["seconds"] * scan.brain.sum() / slab.brain.sum()
        add({"search": f"exhaustive {wide[1].input_size}", "switch": switch, "input": wide[1].input_size} | row)


def measured(
    device: torch.device, network: tuple, scan: Case, settings: DetectionSettings, options: dict[str, Any]
) -> tuple[np.ndarray, Row]:
    """Return the lesions, and how long everything from intensities to lesions took."""
    (lesions, asked, again, network_s), seconds = timed_on(device, lambda: search(network, scan, settings, options))
    n_brain = int(scan.brain.sum())
    row = {"brain": n_brain, "asked": asked / n_brain, "again": again, "seconds": seconds, "network_s": network_s}
    return lesions, row | {"whole_brain_s": seconds}


def same(found: np.ndarray, reference: np.ndarray) -> Row:
    """Return how many lesions there are, and how many voxels differ from those of the first search."""
    n = len(np.unique(found[found > 0]))
    return {"lesions": n, "voxels_unlike_default": int(((found > 0) != (reference > 0)).sum())}


def whole_at(network: tuple, size: int) -> tuple:
    """Return a whole random ResNet-50 at this input, for the time it takes: it finds nothing, as in most of a brain."""
    model = whole_network()
    model.fc.bias.data[:] = torch.tensor([20.0, -20.0])
    return model, replace(network[1], input_size=size, sha256="")


def middle(brain: np.ndarray, n: int) -> np.ndarray:
    """Return the slices in the middle of a brain that hold about ``n`` of its voxels, one at least."""
    centre = int(np.median(np.argwhere(brain)[:, 2]))
    slab = np.zeros_like(brain)
    for half in range(brain.shape[2]):
        low = max(0, centre - half)
        slab[:, :, low : centre + half + 1] = brain[:, :, low : centre + half + 1]
        if slab.sum() >= n:
            break
    return slab
