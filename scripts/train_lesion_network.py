"""Train the networks of the second look, which see a candidate with the slices around it.

    python scripts/train_lesion_network.py LABELMAPS WORK [--steps sample train] [--jobs 2]

after ``scripts/train_weights.py LABELMAPS WORK`` and before ``scripts/finish_weights.py``, which fits the second look
on other scans. Finished scans are kept in WORK/neighbourhoods and not made again, nor are finished networks
(WORK/lesion-network-N.safetensors, N the seed); WORK/lesion-network.safetensors holds them all.
"""

import argparse
import json
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from train_weights import TRAINING, labelmap

from mbseg_bids.detection.classify import classifier
from mbseg_bids.detection.lesion_network import LesionNetwork, load_lesion_networks, save_lesion_networks
from mbseg_bids.detection.second_look import NETWORK_FILE
from mbseg_bids.detection.weights import load_weights
from mbseg_bids.imaging.labels import BRAINSTEM, CEREBELLAR_GM, CEREBELLAR_WM, CEREBRAL_WM, CORTICAL_GM, DEEP_GM
from mbseg_bids.learning.lesion_network import LesionNetworkSettings, train_lesion_network
from mbseg_bids.learning.neighbourhood_set import cut_neighbourhoods, load_neighbourhoods
from mbseg_bids.learning.simulated import simulate
from mbseg_bids.settings import DetectionSettings
from mbseg_bids.simulation.lesions import REGION_SHARES

SEEDS = range(500, 575)
"""Of the simulated scans of each anatomy that is trained on: no seed of any other part."""

EVEN_SHARES = {CORTICAL_GM: 0.34, DEEP_GM: 0.22, CEREBRAL_WM: 0.24, CEREBELLAR_GM: 0.07, CEREBELLAR_WM: 0.06}
EVEN_SHARES[BRAINSTEM] = 0.07
"""Of microbleeds by region, in most scans: more than people have where they are rare, so that those are learned too."""

SETTINGS = LesionNetworkSettings(epochs=7)
MEMBERS = (0, 1)
"""Seeds of the networks that answer together."""

STEPS = ("sample", "train")


def main() -> None:
    """Do the steps asked for that are not done yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelmaps", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--jobs", type=int, default=2, help="scans simulated and networks trained side by side")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if "sample" in args.steps:
        scans = [(anatomy, seed) for seed in SEEDS for anatomy in TRAINING]
        with ProcessPoolExecutor(args.jobs) as pool:
            list(pool.map(sample_scan, repeat(args.labelmaps), repeat(args.work), scans))
    if "train" in args.steps:
        train(args.work, args.jobs)


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


def train(work: Path, jobs: int) -> None:
    """Train the members, put them together, and write what they were trained with."""
    with ProcessPoolExecutor(jobs) as pool:
        facts = list(pool.map(train_member, repeat(work), MEMBERS))
    members = [
        load_lesion_networks(member_file(work, seed), own["sha256"]).members[0]
        for seed, own in zip(MEMBERS, facts, strict=True)
    ]
    together = {**facts[0], "members": MEMBERS, "loss": [own["loss"][-1] for own in facts]}
    together["sha256"] = save_lesion_networks(work / NETWORK_FILE, members)
    write_facts(work / NETWORK_FILE, together)


def train_member(work: Path, seed: int) -> dict[str, Any]:
    """Train one network; return what it was trained with."""
    torch.set_num_threads(1)
    path = member_file(work, seed)
    if path.is_file():
        return json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    scans = [work / "neighbourhoods" / f"anatomy-{a:02d}_seed-{s:03d}.npz" for s in SEEDS for a in TRAINING]
    examples, log = load_neighbourhoods(scans), []
    settings = replace(SETTINGS, seed=seed)
    network = train_lesion_network(examples, settings, partial(_report, seed, log))
    facts = {"settings": asdict(settings), "scans": len(scans), "examples": len(examples)}
    facts |= {"microbleeds": int(examples.is_microbleed.sum()), "loss": log}
    part = path.with_suffix(".part")
    facts["sha256"] = save_lesion_networks(part, [network])
    write_facts(path, facts)
    part.rename(path)
    return facts


def member_file(work: Path, seed: int) -> Path:
    """Return the file of one network alone."""
    return work / f"{Path(NETWORK_FILE).stem}-{seed}.safetensors"


def write_facts(path: Path, facts: Mapping[str, Any]) -> None:
    """Write what a network was trained with beside it."""
    path.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _report(seed: int, log: list[dict[str, float]], step: int, loss: float, _: LesionNetwork) -> None:
    log.append({"step": step, "loss": round(loss, 4)})
    print(f"network {seed}, step {step}: mean loss {loss:.4f}", flush=True)


if __name__ == "__main__":
    main()
