"""How fast the network is asked, by which library and precision, and whether that changes what is found.

On simulated scans, in one run, so that ratios hold on a busy machine too:

- each runtime and precision against PyTorch in float32: patches a second, largest difference of a probability, voxels
  that change sides at the thresholds that decide;
- the whole of :class:`Classifier`, patches and all, against its network alone;
- the search of a run against an exhaustive one: lesions of both, differing voxels, share of the brain asked.

    python benchmarks/inference.py LABELMAP_FOLDER [--weights FILE] [--anatomies 1 2 3] [--voxels 400] [--box 30]

``--box 0`` searches the whole brain exhaustively: minutes on a GPU, hours on a CPU. ``--box 30`` takes the brain within
a box of 30 mm about a microbleed.
"""

import argparse
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import torch

from mbseg_bids.detection.lesions.segment import segment_lesions
from mbseg_bids.detection.network.classify import Classifier, classifier
from mbseg_bids.detection.network.resnet import fuse_batch_norms
from mbseg_bids.detection.network.runtime_openvino import OpenVinoNetwork, openvino
from mbseg_bids.detection.network.runtime_pytorch import TorchNetwork
from mbseg_bids.detection.network.weights import load_weights
from mbseg_bids.detection.search.mask import search_region
from mbseg_bids.detection.search.region_growing import grow_from_seeds
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.learning.examples.simulated import simulate
from mbseg_bids.settings import DetectionSettings
from mbseg_bids.simulation.case import Case
from mbseg_bids.simulation.protocol import draw_protocol

SPACINGS = ((1.0, 1.0, 3.0), (0.5, 0.5, 0.8), (0.9, 0.9, 5.0))
"""Voxels, mm: usual, thin and thick slices."""
INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "avx512_f", "avx2")
"""What decides how fast a processor is at this; the first of them that it has is named."""


@dataclass(frozen=True)
class Asked:
    """A classifier that counts what it computes and how long that takes."""

    ask: Classifier
    n: list[int]
    seconds: list[float]

    def __call__(self, voxels: np.ndarray) -> np.ndarray:
        """Ask, and take note."""
        started = time.perf_counter()
        probability = self.ask(voxels)
        self.n.append(len(voxels))
        self.seconds.append(time.perf_counter() - started)
        return probability


def main() -> None:
    """Simulate, measure, print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelmaps", type=Path)
    parser.add_argument("--weights", default="default")
    parser.add_argument("--anatomies", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--lesions", type=int, default=20)
    parser.add_argument("--voxels", type=int, default=400, help="of each scan, for the comparison of runtimes")
    parser.add_argument("--box", type=float, default=30.0, metavar="MM", help="0: the whole brain")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    network = load_weights(args.weights, task="microbleed")
    options = {"n_workers": args.workers}
    print(f"machine: {machine()}; workers {args.workers}; network {network[1].name}, input {network[1].input_size}")
    rates, searches = [], []
    for name, case in scans(args.labelmaps, args.anatomies, args.lesions):
        voxels = deciding_voxels(case, args.voxels)
        of_scan = [{"scan": name, **row} for row in compare_runtimes(network, case, voxels, args.device, options)]
        brain = case.brain if args.box == 0 else near_a_lesion(case, args.box)
        options_of_run: dict[str, Any] = {"device": args.device, **options}
        searches.append({"scan": name, **compare_searches(network, replace(case, brain=brain), options_of_run)})
        rates += of_scan
        show(of_scan)
        show(searches[-1:])
    print("\nmeans, and the worst of all scans")
    table = pd.DataFrame(rates).groupby(["runtime", "precision"], sort=False)
    print(table[["ratio", "product_of_network"]].mean().round(2).to_string())
    print(table[["largest_difference"]].max().round(5).to_string())
    print(table[["crossed_0.2", "crossed_0.5", "voxels"]].sum().to_string())


def machine() -> str:
    """Say in general terms what computes."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    best = next((name for name in INSTRUCTIONS if capabilities.get(name)), "no vector instructions known")
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{platform.machine()}, {best}, {torch.get_num_threads()} threads{gpu}"


def scans(
    folder: Path, anatomies: list[int], n_lesions: int, spacings: Sequence[tuple[float, float, float]] = SPACINGS
) -> Iterator[tuple[str, Case]]:
    """Simulate one scan of each anatomy, of one geometry after the other."""
    for n, anatomy in enumerate(anatomies):
        image = nib.load(folder / f"labelmap_{anatomy:02d}.nii.gz")
        spacing = spacings[n % len(spacings)]
        protocol = replace(draw_protocol(np.random.default_rng([anatomy, 7])), spacing=spacing)
        labelmap = Volume(np.asanyarray(image.dataobj), image.affine)
        case, _ = simulate(labelmap, anatomy, 7, n_lesions=n_lesions, protocol=protocol)
        yield f"anatomy {anatomy}, {spacing[0]:g} x {spacing[2]:g} mm", case


def deciding_voxels(case: Case, n: int) -> np.ndarray:
    """Draw voxels of lesions and mimics, beside them and elsewhere in the search mask, a third each at most."""
    rng = np.random.default_rng(0)
    mask = search_region(case.stack[0], case.brain, case.tissue, case.spacing, DetectionSettings())[0]
    kinds = ((case.lesions > 0) & case.brain, (case.mimics > 0) & case.brain, mask)
    return np.concatenate([rng.permutation(np.argwhere(kind))[: n // 3] for kind in kinds])


def compare_runtimes(
    network: tuple, case: Case, voxels: np.ndarray, device: str, options: dict[str, Any]
) -> list[dict[str, Any]]:
    """Measure each runtime and precision there is; the first row is PyTorch in float32."""
    wanted = [("pytorch", device)] + ([("openvino", "cpu")] if device != "cuda" and openvino() else [])
    rows: list[dict[str, Any]] = []
    exact = np.empty(0)
    for runtime, on in wanted:
        fast = classifier(*network, case.stack, device=on, runtime=runtime).runtime.fast
        for precision in ("float32", fast) if fast else ("float32",):
            # A limit that no probability reaches leaves everything in low precision.
            limit = None if precision == "float32" else 2.0
            ask = classifier(*network, case.stack, device=on, runtime=runtime, exact_from=limit, **options)
            ask(voxels[:1])  # makes it ready
            found, seconds = timed(lambda a=ask: a(voxels))
            alone = network_alone(network, ask, precision, -(-len(voxels) // ask.batch_size))
            exact = found if not len(exact) else exact
            row = {"runtime": runtime, "precision": precision, "voxels": len(voxels), "per_s": len(voxels) / seconds}
            row["ratio"] = row["per_s"] / (rows[0]["per_s"] if rows else row["per_s"])
            # The network alone is asked by one thread, whatever the number of workers.
            row["product_of_network"] = alone / seconds
            row["largest_difference"] = float(np.abs(found - exact).max())
            row |= {f"crossed_{t:g}": int(((found >= t) != (exact >= t)).sum()) for t in (0.2, 0.5)}
            rows.append(row)
    return rows


def network_alone(network: tuple, ask: Classifier, precision: str, n_batches: int) -> float:
    """Return the seconds that the bare network takes for as many batches, one after the other."""
    model, metadata = fuse_batch_norms(network[0]), network[1]
    sizes = {"patch_size": metadata.patch_size, "input_size": metadata.input_size, "batch_size": ask.batch_size}
    shape = (ask.batch_size, 3, metadata.patch_size, metadata.patch_size)
    patches = torch.rand(shape, device=ask.runtime.device)
    compute: Any = None
    if ask.runtime.name == "openvino":
        compiled = OpenVinoNetwork(model, **sizes, n_workers=1, precision=precision)
        compute = lambda x: torch.from_numpy(compiled(x.numpy()))  # noqa: E731
    else:
        device = torch.device(ask.runtime.device)
        compute = TorchNetwork(model, input_size=metadata.input_size, device=device, precision=precision)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    compute(patches).cpu()
    _, seconds = timed(lambda: [compute(patches) for _ in range(n_batches)][-1].cpu())
    torch.set_num_threads(before)
    return seconds


def compare_searches(network: tuple, case: Case, options: dict[str, Any]) -> dict[str, Any]:
    """Search as a run does, the same in float32, and exhaustively."""
    settings = DetectionSettings()
    default = search(network, case, settings, options | {"exact_from": settings.followed})
    exact = search(network, case, settings, options)
    everything = search(network, case, replace(settings, exhaustive=True), options | {"exact_from": settings.followed})
    n_brain = int(case.brain.sum())
    return {
        "brain": n_brain,
        "asked": default[1] / n_brain,
        "again": default[2],
        "voxels_unlike_float32": int((default[0] != exact[0]).sum()),
        "faster_than_float32": exact[3] / default[3],
        "lesions": len(np.unique(default[0][default[0] > 0])),
        "exhaustive": len(np.unique(everything[0][everything[0] > 0])),
        "in_both": len(np.unique(default[0][(default[0] > 0) & (everything[0] > 0)])),
        "voxels_unlike_exhaustive": int(((default[0] > 0) != (everything[0] > 0)).sum()),
        "faster_than_exhaustive": everything[3] / default[3],
    }


def search(
    network: tuple, case: Case, settings: DetectionSettings, options: dict[str, Any]
) -> tuple[np.ndarray, int, float, float]:
    """Return the lesions of the paper's rules, voxels asked, the share computed again, and seconds."""
    mask, seeds = search_region(case.stack[0], case.brain, case.tissue, case.spacing, settings)
    ask = Asked(classifier(*network, case.stack, **options), [], [])
    ask.ask(np.argwhere(case.brain)[:1])  # makes it ready
    probability, asked = grow_from_seeds(mask, seeds, ask, settings.followed)
    again = float((probability[asked] >= settings.followed - 0.1).mean()) if asked.any() else 0.0
    regions = case.regions.astype(np.int32)
    found = segment_lesions(case.stack, probability, case.brain, regions, case.spacing, case.affine, settings)
    return found.lesions, int(asked.sum()), again, sum(ask.seconds)


def near_a_lesion(case: Case, side: float) -> np.ndarray:
    """Return the brain within a box about the microbleed that has most others near it."""
    places = np.array([np.argwhere(case.lesions == n).mean(axis=0) for n in np.unique(case.lesions[case.lesions > 0])])
    apart = np.abs(places[:, None] - places) * case.spacing
    centre = places[(apart < side / 2).all(axis=2).sum(axis=1).argmax()]
    distance = np.abs(np.moveaxis(np.indices(case.brain.shape), 0, -1) - centre) * case.spacing
    return case.brain & (distance < side / 2).all(axis=-1)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what ``work`` returns, and the seconds it took."""
    started = time.perf_counter()
    return work(), time.perf_counter() - started


def show(rows: list[dict[str, Any]]) -> None:
    """Print rows as soon as they are known."""
    print(pd.DataFrame(rows).round(4).to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
