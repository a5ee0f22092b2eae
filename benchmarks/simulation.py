"""How fast training data is simulated: patches a second, and the rendering in torch against the same in numpy.

    python benchmarks/simulation.py LABELMAP [--cases 4] [--processes 2] [--device cuda] [--seed 1]

Every process computes on one thread. A patch counts when it has been cut from a simulated scan as for training. The
rendering is compared on the vessels and microbleeds of one head, in one process, each way once after a warm-up.
"""

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from mbseg_bids.imaging.phase import GYROMAGNETIC_RATIO
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.learning.examples.simulated import cut_case, simulate
from mbseg_bids.simulation.anatomy import crop_to_brain, make_anatomy
from mbseg_bids.simulation.lesions import draw_microbleeds
from mbseg_bids.simulation.mimics import draw_mimics
from mbseg_bids.simulation.rendering import bounding_box, render, sub_voxel_points
from mbseg_bids.simulation.susceptibility import Feature, Sphere


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelmap", type=Path)
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    labelmap = read(args.labelmap)
    rows = compare_rendering(labelmap, args.seed, args.device)
    for name, seconds in rows.items():
        print(f"rendering, {name}: {seconds:.2f} s ({rows['numpy'] / seconds:.1f} times numpy's speed)", flush=True)
    context = get_context("spawn")
    start = time.perf_counter()
    with ProcessPoolExecutor(args.processes, mp_context=context) as pool:
        jobs = [(args.labelmap, args.seed + n, args.device) for n in range(args.cases)]
        done = list(pool.map(one_case, *zip(*jobs, strict=True)))
    wall = time.perf_counter() - start
    patches, seconds = sum(n for n, _ in done), sum(s for _, s in done)
    print(f"{args.cases} scans, {patches} patches, {args.processes} processes, load {os.getloadavg()[0]:.1f}")
    print(f"{wall:.1f} s of wall clock: {patches / wall:.0f} patches a second")
    print(f"{seconds / args.cases:.1f} s of CPU a scan: {patches / seconds:.0f} patches a second on one free core")


def read(path: Path) -> Volume:
    """Return a label map."""
    image = nib.load(path)
    return Volume(np.asanyarray(image.dataobj), image.affine)


def one_case(path: Path, seed: int, device: str) -> tuple[int, float]:
    """Simulate a scan and cut its patches. Returns how many, and the CPU time."""
    torch.set_num_threads(1)
    labelmap = read(path)
    start = time.process_time()
    case, rng = simulate(labelmap, 1, seed, device=device)
    patches = cut_case(case, 1, rng)
    return len(patches.tissue) + len(patches.microbleed), time.process_time() - start


def compare_rendering(labelmap: Volume, seed: int, device: str) -> dict[str, float]:
    """Seconds of CPU (of wall clock on another device) for the features of one head, by implementation."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    anatomy = crop_to_brain(make_anatomy(labelmap, rng))
    features = draw_microbleeds(anatomy, 60, rng) + draw_mimics(anatomy, rng)
    grid = (anatomy.labels.affine @ np.diag([1.0, 1.0, 2.0, 1.0]), anatomy.labels.shape)

    def with_torch(feature: Feature, on: str) -> None:
        pitch = 0.25 if feature.kind == "microbleed" else 0.4
        render(feature.sources, *grid, echo_time=25, field_strength=3, pitch=pitch, device=on)

    ways = {"numpy": lambda f: dense_numpy(f, *grid), "torch": lambda f: with_torch(f, "cpu")}
    if device != "cpu":
        ways[device] = lambda f: with_torch(f, device)
    seconds = {}
    for name, way in ways.items():
        for feature in features[:3]:
            way(feature)
        clock = time.process_time if name in ("numpy", "torch") else time.perf_counter
        start = clock()
        for feature in features:
            way(feature)
        seconds[name] = clock() - start
    return seconds


def dense_numpy(feature: Feature, affine: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray | None:
    """Render all voxels of the box about a feature in numpy, as this package once did."""
    box = bounding_box(feature.sources, affine, shape)
    if box is None:
        return None
    voxels = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in box], indexing="ij"), axis=-1).reshape(-1, 3)
    pitch = 0.25 if feature.kind == "microbleed" else 0.4
    points = np.ascontiguousarray(sub_voxel_points(torch.from_numpy(voxels), affine, pitch).numpy())
    field, inner = np.zeros(points.shape[:2], np.float32), np.ones(points.shape[:2], np.float32)
    for source in feature.sources:
        inside, change = (sphere if isinstance(source, Sphere) else vessel)(source, points)
        field += change
        inner[inside] = np.minimum(inner[inside], source.density * np.exp(-25 / source.t2star + 0.5))
    phase = np.float32(GYROMAGNETIC_RATIO * 0.025) * field
    return (inner * np.cos(phase)).mean(axis=1) + 1j * (inner * np.sin(phase)).mean(axis=1)


def sphere(source: Sphere, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where points lie in a sphere, and its field at 3 T."""
    offsets = points - np.asarray(source.centre, np.float32)
    squared = np.einsum("...i,...i->...", offsets, offsets)
    inside = squared <= source.radius**2
    safe = np.where(inside, 1, squared)
    field = source.dchi * 1e-6 * (source.radius**2 / safe) ** 1.5 * (3 * offsets[..., 2] ** 2 / safe - 1)
    return inside, np.where(inside, 0, field)


def vessel(source: object, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where points lie in a vessel, and its field at 3 T."""
    corners = np.asarray(source.points, np.float32)
    best, field = np.full(points.shape[:2], np.inf, np.float32), np.zeros(points.shape[:2], np.float32)
    for start, end in pairwise(corners):
        axis = (end - start) / np.linalg.norm(end - start)
        offsets = points - start
        along = offsets @ axis
        foot = offsets - np.clip(along, 0, np.linalg.norm(end - start))[..., None] * axis
        across = offsets - along[..., None] * axis
        squared = np.einsum("...i,...i->...", foot, foot)
        rho = np.maximum(np.einsum("...i,...i->...", across, across), source.radius**2)
        outside = source.radius**2 / rho * (2 * across[..., 2] ** 2 / rho - (1 - axis[2] ** 2)) / 2
        values = np.where(rho > source.radius**2, outside, (3 * axis[2] ** 2 - 1) / 6) * source.dchi * 3e-6
        closer = squared < best
        best[closer], field[closer] = squared[closer], values[closer]
    return best <= source.radius**2, field


if __name__ == "__main__":
    main()
