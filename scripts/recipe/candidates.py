"""The networks of the candidate classifier: neighbourhoods of microbleeds and of what is taken for them; training."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mbseg_bids.detection.candidates.classifier import NETWORK_FILE
from mbseg_bids.detection.candidates.network import LesionNetwork, load_lesion_networks, save_lesion_networks
from mbseg_bids.detection.network.resnet import fuse_batch_norms
from mbseg_bids.detection.network.runtime_pytorch import TorchNetwork, fast_precision
from mbseg_bids.detection.network.weights import load_weights, sha256
from mbseg_bids.learning.candidates.neighbourhood_set import choose, load_neighbourhoods, load_proposals, propose
from mbseg_bids.learning.candidates.network import LesionNetworkSettings, train_lesion_network
from mbseg_bids.learning.examples.labelled_scan import LabelledScan, load_scan
from recipe.plans import SETTINGS, ScanPlan, read_scan, scan_file
from recipe.real import numbers, plant_again

FOLDER, PROPOSED = "neighbourhoods", "proposals"
PLANTED_AGAIN = 3
"""Times that further microbleeds are planted in each simulated training scan."""
FRESH = LesionNetworkSettings(epochs=7)
TUNED = LesionNetworkSettings(epochs=4, learning_rate=6e-4)
"""From random weights; on from trained ones."""
ON_A_GPU = {"batch_size": 768, "learning_rate": 3e-3, "epochs": 18.0}
"""From random weights, where a large batch takes no longer than a small one."""
MEMBERS = (0, 1, 2, 3)
"""Seeds of the networks that answer together."""
KEPT = 2
"""So many of the networks to go on from stay in the ensemble beside as many that went on: those saw more scans, these
wider ones, and the mean of both ranks candidates of either kind as well as the better one."""
ASKED_AT_ONCE = 512


def propose_scan(work: Path, scan: LabelledScan, name: str, seed: list[int]) -> None:
    """Cut what may become examples out of a scan, unless it is there."""
    path = work / PROPOSED / f"{name}.npz"
    if path.is_file() or (work / FOLDER / path.name).is_file():
        return
    propose(scan.as_case(), np.random.default_rng(seed), SETTINGS).save(path)


def propose_plan(work: Path, plan: ScanPlan) -> None:
    """:func:`propose_scan` of a simulated scan, and of the same with further microbleeds planted in it."""
    scan = read_scan(work, plan)
    propose_scan(work, scan, plan.name, [plan.anatomy, plan.seed, 5])
    for repetition in range(PLANTED_AGAIN):
        seed = [plan.anatomy, plan.seed, 5, repetition]
        propose_scan(work, plant_again(scan, np.random.default_rng([*seed, 1])), f"{plan.name}_{repetition}", seed)


def is_proposed(work: Path, plan: ScanPlan) -> bool:
    """Return whether :func:`propose_plan` has done all of a scan."""
    last = f"{plan.name}_{PLANTED_AGAIN - 1}.npz"
    return any((work / folder / last).is_file() for folder in (PROPOSED, FOLDER))


def propose_planting(work: Path, name: str) -> None:
    """:func:`propose_scan` of a scan with planted microbleeds."""
    propose_scan(work, load_scan(scan_file(work, name)), name, [*numbers(name), 5])


def choose_examples(work: Path, network: Path, device: torch.device) -> None:
    """Ask the first network about all that was proposed; keep the examples, and forget the rest."""
    model, metadata = load_weights(network)
    ask = TorchNetwork(
        fuse_batch_norms(model),
        input_size=metadata.input_size,
        device=device,
        precision=fast_precision(device) or "float32",
    )
    for path in sorted((work / PROPOSED).glob("*.npz")):
        proposals = load_proposals(path)
        batches = torch.from_numpy(proposals.patches).split(ASKED_AT_ONCE)
        found = [ask(batch.to(device).float() / 255).cpu() for batch in batches]
        rng = np.random.default_rng(list(path.stem.encode()))
        choose(proposals, torch.cat(found).numpy(), rng).save(work / FOLDER / path.name)
        path.unlink()


def train(work: Path, initial: Path | None, device: torch.device, share: float) -> None:
    """Train the members one after the other and put them together, unless that was done."""
    if (work / NETWORK_FILE).is_file():
        return
    for seed in MEMBERS[:KEPT] if initial else MEMBERS:
        train_member(work, seed, initial, device, share)
    put_together(work, initial)


def train_member(work: Path, seed: int, initial: Path | None, device: torch.device, share: float) -> None:
    """Train one of the networks; ``initial`` holds those to go on from, ``share`` is of the epochs."""
    own = member_file(work, seed)
    if own.is_file():
        return
    settings = TUNED if initial else FRESH
    if not initial and device.type == "cuda":
        settings = replace(settings, **ON_A_GPU)
    settings = replace(settings, epochs=settings.epochs * share, seed=seed)
    scans = sorted((work / FOLDER).glob("*.npz"))
    examples = load_neighbourhoods(scans)
    log: list[dict[str, float]] = []
    start = _members(initial)[seed] if initial else None
    member = train_lesion_network(examples, settings, partial(_report, seed, log), initial=start, device=device)
    about = {"settings": asdict(settings), "scans": len(scans), "examples": len(examples)}
    about |= {"microbleeds": int(examples.is_microbleed.sum()), "loss": log}
    write_facts(own, about | {"sha256": save_lesion_networks(own, [member])})


def put_together(work: Path, initial: Path | None) -> None:
    """Write all members as one file, and what they were trained with; of ``initial``, :data:`KEPT` stay members."""
    before = _members(initial)[:KEPT] if initial else []
    seeds = MEMBERS[:KEPT] if initial else MEMBERS
    facts = [read_facts(member_file(work, seed)) for seed in seeds]
    members = [_members(member_file(work, seed))[0] for seed in seeds]
    about: dict[str, Any] = {key: facts[0][key] for key in ("settings", "scans", "examples", "microbleeds")}
    about |= {"members": list(seeds), "loss": [own["loss"][-1] if own["loss"] else {} for own in facts]}
    about |= {"before": sha256(initial) if initial else "", "kept": len(before)}
    about["sha256"] = save_lesion_networks(work / NETWORK_FILE, [*before, *members])
    write_facts(work / NETWORK_FILE, about)


def member_file(work: Path, seed: int) -> Path:
    """Return the file of one of the networks."""
    return work / f"{Path(NETWORK_FILE).stem}-{seed}.safetensors"


def _members(path: Path) -> list[LesionNetwork]:
    return list(load_lesion_networks(path, sha256(path)).members)


def write_facts(path: Path, facts: Mapping[str, Any]) -> None:
    """Write what a network was trained with beside it."""
    path.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def read_facts(path: Path) -> dict[str, Any]:
    """Return what :func:`write_facts` wrote."""
    return json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


def _report(seed: int, log: list[dict[str, float]], step: int, loss: float, _: LesionNetwork) -> None:
    log.append({"step": step, "loss": round(loss, 4)})
    print(f"network {seed}, step {step}: mean loss {loss:.4f}", flush=True)
