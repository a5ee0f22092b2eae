"""Train the network of the second look, which sees a candidate with the slices around it.

    python scripts/train_lesion_network.py LABELMAPS WORK [--steps sample train] [--jobs 2]

after ``scripts/train_weights.py LABELMAPS WORK`` and before ``scripts/finish_weights.py``, which fits the second look
on other scans. Finished scans are kept in WORK/neighbourhoods and not made again; the network is written to
WORK/lesion-network.safetensors.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from train_weights import TRAINING, labelmap

from mbseg_bids.detection.classify import classifier
from mbseg_bids.detection.lesion_network import LesionNetwork, save_lesion_network
from mbseg_bids.detection.second_look import NETWORK_FILE
from mbseg_bids.detection.weights import load_weights
from mbseg_bids.imaging.labels import BRAINSTEM, CEREBELLAR_GM, CEREBELLAR_WM, CEREBRAL_WM, CORTICAL_GM, DEEP_GM
from mbseg_bids.learning.lesion_network import LesionNetworkSettings, train_lesion_network
from mbseg_bids.learning.neighbourhood_set import cut_neighbourhoods, load_neighbourhoods
from mbseg_bids.learning.simulated import simulate
from mbseg_bids.settings import DetectionSettings
from mbseg_bids.simulation.lesions import REGION_SHARES

SEEDS = range(500, 550)
"""Of the simulated scans of each anatomy that is trained on: no seed of any other part."""

EVEN_SHARES = {CORTICAL_GM: 0.34, DEEP_GM: 0.22, CEREBRAL_WM: 0.24, CEREBELLAR_GM: 0.07, CEREBELLAR_WM: 0.06}
EVEN_SHARES[BRAINSTEM] = 0.07
"""Of microbleeds by region, in most scans: more than people have where they are rare, so that those are learned too."""

SETTINGS = LesionNetworkSettings()
STEPS = ("sample", "train")


def main() -> None:
    """Do the steps asked for that are not done yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelmaps", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--jobs", type=int, default=2, help="scans simulated side by side")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if "sample" in args.steps:
        scans = [(anatomy, seed) for seed in SEEDS for anatomy in TRAINING]
        with ProcessPoolExecutor(args.jobs) as pool:
            list(pool.map(sample_scan, repeat(args.labelmaps), repeat(args.work), scans))
    if "train" in args.steps:
        train(args.work)


def sample_scan(labelmaps: Path, work: Path, scan: tuple[int, int]) -> None:
    """Simulate one scan and cut examples out of it."""
    anatomy, seed = scan
    path = work / "neighbourhoods" / f"anatomy-{anatomy:02d}_seed-{seed:03d}.npz"
    if path.is_file():
        return
    rng = np.random.default_rng([anatomy, seed, 5])
    shares = EVEN_SHARES if rng.random() < 0.6 else REGION_SHARES
    n_lesions, vary_contrast = int(rng.choice([0, 30, 60])), bool(rng.random() < 0.5)
    options = {"n_lesions": n_lesions, "vary_contrast": vary_contrast, "shares": shares}
    mimic_load = float(rng.choice([0.7, 1.0, 1.6]))
    case, _ = simulate(labelmap(labelmaps, anatomy), anatomy, seed, mimic_load=mimic_load, **options)
    ask = classifier(*load_weights(work / "second.safetensors"), case.stack)
    examples = cut_neighbourhoods(case, ask, rng, DetectionSettings())
    examples.save(path)
    print(path.stem, int(examples.is_microbleed.sum()), "microbleeds,", len(examples), "examples", flush=True)


def train(work: Path) -> None:
    """Train, and write the weights and what they were trained with."""
    paths = [work / "neighbourhoods" / f"anatomy-{a:02d}_seed-{s:03d}.npz" for s in SEEDS for a in TRAINING]
    examples = load_neighbourhoods(paths)
    log: list[dict[str, float]] = []
    path = work / NETWORK_FILE
    network = train_lesion_network(examples, SETTINGS, partial(_report, path, log))
    facts = {"settings": asdict(SETTINGS), "scans": len(paths), "examples": len(examples), "loss": log}
    facts |= {"microbleeds": int(examples.is_microbleed.sum()), "sha256": save_lesion_network(path, network)}
    path.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _report(path: Path, log: list[dict[str, float]], step: int, loss: float, network: LesionNetwork) -> None:
    save_lesion_network(path.with_suffix(".part"), network)
    log.append({"step": step, "loss": round(loss, 4)})
    print(f"step {step}: mean loss {loss:.4f}", flush=True)


if __name__ == "__main__":
    main()
