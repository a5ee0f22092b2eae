"""What a GPU makes of this network: how much of the card is used, what of that reaches a user, and which switch pays.

All ratios are of one run. Made for a card that is at hand for minutes: every section has a time limit, may fail without
the others, and is written at once.

    python -m benchmarks.gpu --out DIR [--labelmaps FOLDER] [--weights default] [--sections matrix network ...]

``--device cpu --toy`` tries the same code, at sizes that say nothing about speed. A scan is simulated meanwhile, in a
process of its own, for the section ``scan``. "network" is the fused ResNet-50, all 16 blocks, in half precision on
inputs that lie on the card; "product" is :class:`Classifier` from voxels to probabilities.
"""

import argparse
import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.gpu_record import SWITCHES, Record, Row, seconds_each, switched, timed_on, whole_network
from benchmarks.gpu_scan import Add, scan_section, simulated_case
from benchmarks.gpu_training import training_section
from benchmarks.inference import deciding_voxels, machine
from mbseg_bids.detection.network import runtime_cuda
from mbseg_bids.detection.network.classify import Classifier
from mbseg_bids.detection.network.resnet import fuse_batch_norms
from mbseg_bids.detection.network.runtime_pytorch import TorchNetwork, exact_convolutions
from mbseg_bids.detection.network.weights import WeightsMetadata, load_weights
from mbseg_bids.settings import DetectionSettings
from mbseg_bids.simulation.case import Case

SECTIONS = {"matrix": 12, "network": 30, "product": 30, "training": 18, "difference": 12, "scan": 45}
"""Most seconds of each."""


@dataclass(frozen=True)
class Sizes:
    """What is measured.

    Attributes
    ----------
    inputs, batch
        Sides of the network's input; patches a batch.
    matrix
        Side of the matrix product.
    budget
        Seconds of one measurement.
    most
        Voxels of the product, at most.
    shape
        Of the volume these lie in.
    """

    inputs: tuple[int, ...] = (224, 112, 64)
    batch: int = 512
    matrix: int = 8192
    budget: float = 0.5
    most: int = 400_000
    shape: tuple[int, int, int] = (160, 200, 160)


TOY = Sizes((48, 32), 8, 256, 0.02, 100, (40, 50, 4))


def main() -> None:
    """Measure, write, go on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--labelmaps", type=Path, help="folder of label maps; without it no scan")
    parser.add_argument("--weights", default="default", help="trained network for the sections difference and scan")
    parser.add_argument("--sections", nargs="+", default=list(SECTIONS), choices=list(SECTIONS))
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--patience", type=float, default=1.0, help="factor of the time limits of all sections")
    args = parser.parse_args()
    device, sizes = torch.device(args.device), TOY if args.toy else Sizes()
    record = Record(args.out, f"{machine()}, torch {torch.__version__}, batches of {sizes.batch}")
    # Another process, begun by a fresh interpreter: one that holds a GPU must not be forked.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        case = pool.submit(simulated_case, args.labelmaps, toy=args.toy) if wants_scan(args) else None
        for name, limit in SECTIONS.items():
            if name in args.sections:
                record.section(
                    name, limit * args.patience, partial(SECTION_WORK[name], record, device, sizes, args, case)
                )
                record.bars(bars(record))


def wants_scan(args: argparse.Namespace) -> bool:
    """Return whether a scan is to be simulated."""
    return args.labelmaps is not None and bool({"scan", "difference"} & set(args.sections))


def half(device: torch.device) -> str:
    """Return the precision that is measured; half precision on a CPU would only take time."""
    return "float16" if device.type == "cuda" else "float32"


def matrix_section(record: Record, device: torch.device, sizes: Sizes, _: object, __: object, add: Add) -> None:
    """Measure the matrix product that the network is held against."""
    for dtype in (torch.bfloat16, torch.float16):
        factors = [torch.randn(sizes.matrix, sizes.matrix, device=device).to(dtype) for _ in range(2)]
        seconds = seconds_each(device, partial(torch.mm, *factors), sizes.budget)
        add({"type": str(dtype), "side": sizes.matrix, "tflops": 2 * sizes.matrix**3 / seconds / 1e12})


def network_section(record: Record, device: torch.device, sizes: Sizes, _: object, __: object, add: Add) -> None:
    """Measure the network alone: switches first, then flags of cuDNN, then sizes of batches."""
    fused = fuse_batch_norms(whole_network())
    operations = {size: flops(fused, size) for size in sizes.inputs}
    best = max((row["tflops"] for row in record.rows("matrix")), default=float("nan"))
    wanted = [(size, sizes.batch, switch, False) for size in sizes.inputs for switch in SWITCHES]
    wanted += [(size, sizes.batch, switch, True) for size in sizes.inputs for switch in ("fused", "eager")]
    others = (sizes.batch * 2, sizes.batch // 2)
    wanted += [
        (size, batch, switch, False) for size in sizes.inputs for batch in others for switch in ("fused", "eager")
    ]
    reference: dict[tuple[int, int], torch.Tensor] = {}
    for size, batch, switch, free in wanted:
        row: Row = {"input": size, "batch": batch, "switch": switch, "cudnn": "free" if free else "as product"}
        try:
            found, facts = network_alone(fused, size, batch, switch, free, device, sizes.budget)
        except (RuntimeError, MemoryError) as error:  # one of them may lack memory or an algorithm
            add(row | {"error": str(error).splitlines()[0][:120]})
            continue
        exact = reference.setdefault((size, batch), found)
        row |= {**facts, "tflops": facts["per_s"] * operations[size] / 1e12}
        row["of_matrix"] = row["tflops"] / best
        add(row | {"unlike_first": float((found - exact).abs().max())})


def network_alone(
    fused: nn.Module, size: int, batch: int, switch: str, free: bool, device: torch.device, budget: float
) -> tuple[torch.Tensor, Row]:
    """Return probabilities of the network alone, and patches a second; ``free``: cuDNN may take any algorithm."""
    drawn = torch.rand(batch, 3, size, size, device=device, generator=torch.Generator(device).manual_seed(0))
    inputs = on_card(drawn, device)
    with switched(switch), torch.inference_mode(), exact_convolutions():
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = not free, free
        network = TorchNetwork(fused, input_size=size, device=device, precision=half(device))
        ask = runtime_cuda.graphed(network, inputs) if "graph" in switch else network
        found, again = ask(inputs).clone(), ask(inputs).clone()
        seconds = seconds_each(device, lambda: ask(inputs), budget)
    return found, {"per_s": batch / seconds, "same_twice": bool(torch.equal(found, again))}


def product_section(record: Record, device: torch.device, sizes: Sizes, _: object, __: object, add: Add) -> None:
    """Measure the product against the network alone, all in low precision and as a search asks."""
    rng = np.random.default_rng(0)
    model, limit = whole_network(), DetectionSettings().followed
    stack = rng.normal(60, 15, (3, *sizes.shape)).clip(0, 100).astype(np.float32)
    for size in sizes.inputs:
        for switch in SWITCHES:
            alone = network_rate(record, size, switch, sizes.batch)
            n = int(min(sizes.most, max(4 * sizes.batch, 3 * sizes.budget * (alone or sizes.batch))))
            n = -(-n // sizes.batch) * sizes.batch
            for exact_from in (2.0, limit) if switch == "eager" else (2.0,):
                # Random weights may put every voxel above the limit, and all is computed once more in float32.
                asked = n if exact_from > 1 else max(sizes.batch, n // 8 // sizes.batch * sizes.batch)
                voxels = rng.integers(0, sizes.shape, (asked, 3))
                with switched(switch):
                    options = {"input_size": size, "device": device.type, "runtime": "pytorch"}
                    ask = Classifier(model, stack, batch_size=sizes.batch, exact_from=exact_from, **options)
                    ask(voxels[: runtime_cuda.GRAPH_FROM * sizes.batch])  # makes it ready
                    found, seconds = timed_on(device, partial(ask, voxels))
                row: Row = {"input": size, "switch": switch, "float32_from": exact_from, "voxels": asked}
                row |= {"per_s": asked / seconds, "of_network": asked / seconds / alone if alone else float("nan")}
                row["again"] = float((found >= limit - 0.1).mean()) if exact_from <= 1 else 0.0
                add(row)


def network_rate(record: Record, size: int, switch: str, batch: int) -> float | None:
    """Return patches a second of the network alone, as the product asks it."""
    wanted = {"input": size, "switch": switch, "batch": batch, "cudnn": "as product"}
    rows = [row for row in record.rows("network") if wanted.items() <= row.items()]
    return rows[0]["per_s"] if rows and "per_s" in rows[0] else None


def difference_section(
    record: Record, device: torch.device, sizes: Sizes, args: argparse.Namespace, case: Future | None, add: Add
) -> None:
    """Compare half precision with float32, for trained weights: on a simulated scan where there is one, else noise."""
    model, metadata = load_weights(args.weights, task="microbleed")
    add(differences(device, sizes, (model, metadata), None, "noise"))
    if case is not None:
        add(differences(device, sizes, (model, metadata), case.result(), "simulated scan"))


def differences(
    device: torch.device, sizes: Sizes, network: tuple[nn.Module, WeightsMetadata], case: Case | None, name: str
) -> Row:
    """Return the largest differences of a probability to float32, one a switch."""
    model, metadata = network
    rng = np.random.default_rng(1)
    n = min(20_000, sizes.most)
    if case is None:
        stack, voxels = rng.uniform(0, 100, (3, 60, 60, 8)).astype(np.float32), rng.integers(0, (60, 60, 8), (n, 3))
    else:
        stack, voxels = case.stack, deciding_voxels(case, n)
    options = {"patch_size": metadata.patch_size, "input_size": metadata.input_size, "device": device.type}
    options |= {"runtime": "pytorch", "batch_size": sizes.batch}
    exact = Classifier(model, stack, **options)(voxels)
    row: Row = {"voxels of": name, "weights": metadata.name, "input": metadata.input_size, "voxels": len(voxels)}
    for switch in ("eager", "fused"):
        with switched(switch):
            found = Classifier(model, stack, exact_from=2.0, **options)(voxels)
        row[switch] = float(np.abs(found - exact).max())
        row[f"{switch} crossed"] = {f"{t:g}": int(((found >= t) != (exact >= t)).sum()) for t in (0.2, 0.5)}
    return row


def flops(model: nn.Module, size: int) -> int:
    """Count the operations of one input, a multiplication and an addition being two."""
    where = next(model.parameters())
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, size, size, device=where.device, dtype=where.dtype))
    return counter.get_total_flops()


def on_card(inputs: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return inputs as the network takes them without further ado."""
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    return inputs.to(device, dtype).contiguous(memory_format=torch.channels_last)


def bars(record: Record) -> list[tuple[str, float | None, float, bool]]:
    """Return what is asked of a GPU, of the fastest switch: that of the product against that of the network."""

    def best(section: str, column: str, **wanted: object) -> float | None:
        rows = [row for row in record.rows(section) if wanted.items() <= row.items() and column in row]
        values = [float(row[column]) for row in rows if row[column] == row[column]]
        return max(values, default=None)

    def seconds(search: str) -> float | None:
        rows = [row["whole_brain_s"] for row in record.rows("scan") if row["search"] == search]
        return min(rows, default=None)

    def of_network(size: int) -> float | None:
        product = best("product", "per_s", input=size)
        alone = best("network", "per_s", input=size, cudnn="as product")
        return product / alone if product and alone else None

    products = [
        (f"product of network alone, input {size}", of_network(size), bar, True)
        for size, bar in ((224, 0.7), (112, 0.7), (64, 0.5))
    ]
    return [
        *products,
        ("network of matrix product, input 224", best("network", "of_matrix", input=224), 0.25, True),
        ("detection in a 1 mm brain, s", seconds("default"), 3, False),
        ("exhaustive at 224, s", seconds("exhaustive 224"), 150, False),
        ("training at 112, patches/s", best("training", "per_s", input=112, what="step"), 12_000, True),
    ]


SECTION_WORK = {
    "matrix": matrix_section,
    "network": network_section,
    "product": product_section,
    "training": training_section,
    "difference": difference_section,
    "scan": scan_section,
}

if __name__ == "__main__":
    main()
