"""The networks of the candidate classifier: neighbourhoods of microbleeds and of what is taken for them; training."""

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mbseg_bids.detection.candidates.classifier import NETWORK_FILE
from mbseg_bids.detection.candidates.network import LesionNetwork, load_lesion_networks, save_lesion_networks
from mbseg_bids.detection.network.classify import classifier
from mbseg_bids.detection.network.weights import load_weights, sha256
from mbseg_bids.learning.candidates.neighbourhood_set import cut_neighbourhoods, load_neighbourhoods
from mbseg_bids.learning.candidates.network import LesionNetworkSettings, train_lesion_network
from mbseg_bids.learning.examples.labelled_scan import LabelledScan
from recipe.plans import SETTINGS, ScanPlan, read_scan
from recipe.real import plant_again

FOLDER = "neighbourhoods"
PLANTED_AGAIN = 3
"""Times that further microbleeds are planted in each simulated training scan."""
FRESH = LesionNetworkSettings(epochs=7)
TUNED = LesionNetworkSettings(epochs=4, learning_rate=6e-4)
"""From random weights; on from trained ones."""
MEMBERS = (0, 1, 2, 3)
"""Seeds of the networks that answer together."""
KEPT = 2
"""So many of the networks to go on from stay in the ensemble beside as many that went on: those saw more scans, these
wider ones, and the mean of both ranks candidates of either kind as well as the better one."""


def sample_scan(work: Path, network: Path, scan: LabelledScan, name: str, seed: list[int]) -> None:
    """Cut the examples of a scan, the hard ones as the first network answers, unless they are there."""
    path = work / FOLDER / f"{name}.npz"
    if path.is_file():
        return
    case = scan.as_case()
    ask = classifier(*load_weights(network), case.stack)
    examples = cut_neighbourhoods(case, ask, np.random.default_rng(seed), SETTINGS)
    examples.save(path)
    print(name, int(examples.is_microbleed.sum()), "microbleeds,", len(examples), "examples", flush=True)


def sample_plan(work: Path, network: Path, plan: ScanPlan) -> None:
    """:func:`sample_scan` of a simulated scan, and of the same with further microbleeds planted in it."""
    torch.set_num_threads(1)
    scan = read_scan(work, plan)
    sample_scan(work, network, scan, plan.name, [plan.anatomy, plan.seed, 5])
    for repetition in range(PLANTED_AGAIN):
        name, seed = f"{plan.name}_{repetition}", [plan.anatomy, plan.seed, 5, repetition]
        if not (work / FOLDER / f"{name}.npz").is_file():
            planted = plant_again(scan, np.random.default_rng([*seed, 1]))
            sample_scan(work, network, planted, name, seed)


def train(work: Path, initial: Path | None, device: torch.device, share: float) -> None:
    """Train the members, put them together, and write what they were trained with.

    ``initial`` holds at least :data:`KEPT` networks to go on from, which stay members; ``share`` of the epochs.
    """
    path = work / NETWORK_FILE
    if path.is_file():
        return
    settings = TUNED if initial else FRESH
    settings = replace(settings, epochs=settings.epochs * share)
    before = list(load_lesion_networks(initial, sha256(initial)).members)[:KEPT] if initial else []
    seeds = MEMBERS[: len(before)] if before else MEMBERS
    scans = sorted((work / FOLDER).glob("*.npz"))
    examples = load_neighbourhoods(scans)
    members, losses = [], []
    for seed in seeds:
        own = work / f"{path.stem}-{seed}.safetensors"
        log: list[dict[str, float]] = []
        if own.is_file():
            facts = read_facts(own)
            members.append(load_lesion_networks(own, facts["sha256"]).members[0])
        else:
            start = deepcopy(before[seed]) if before else None  # training changes it in place
            member = train_lesion_network(
                *(examples, replace(settings, seed=seed), partial(_report, seed, log)), initial=start, device=device
            )
            write_facts(own, {"sha256": save_lesion_networks(own, [member]), "loss": log})
            members.append(member)
            facts = {"loss": log}
        losses.append(facts["loss"][-1] if facts["loss"] else {})
    about = {"settings": asdict(settings), "scans": len(scans), "examples": len(examples), "members": list(seeds)}
    about |= {"microbleeds": int(examples.is_microbleed.sum()), "loss": losses}
    about |= {"before": sha256(initial) if initial else "", "kept": len(before)}
    about["sha256"] = save_lesion_networks(path, [*before, *members])
    write_facts(path, about)


def write_facts(path: Path, facts: Mapping[str, Any]) -> None:
    """Write what a network was trained with beside it."""
    path.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def read_facts(path: Path) -> dict[str, Any]:
    """Return what :func:`write_facts` wrote."""
    return json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


def _report(seed: int, log: list[dict[str, float]], step: int, loss: float, _: LesionNetwork) -> None:
    log.append({"step": step, "loss": round(loss, 4)})
    print(f"network {seed}, step {step}: mean loss {loss:.4f}", flush=True)
