"""The network of the first pass: patches, the stage of CSF, the stages of microbleeds."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mbseg_bids.detection.network.resnet import build_network, identity_blocks
from mbseg_bids.detection.network.weights import WeightsMetadata, load_weights, save_weights
from mbseg_bids.learning.examples.augmentation import Augmentation
from mbseg_bids.learning.examples.labelled_scan import LabelledScan, load_scan
from mbseg_bids.learning.examples.patch_set import KINDS, PatchSet, concatenate, load_patch_set
from mbseg_bids.learning.examples.sampling import MicrobleedCounts
from mbseg_bids.learning.examples.simulated import cut_case
from mbseg_bids.learning.stages.stage import (
    CSF_STAGE,
    MICROBLEED_STAGE,
    Sets,
    mark_false_positives,
    train_stage,
    with_false_positives,
)
from mbseg_bids.learning.training.trainer import TrainingSettings
from recipe.plans import TRAINING, VALIDATION, ScanPlan, read_scan, scan_file
from recipe.real import numbers

NAME = "mbseg-simulated-4"
INPUT_SIZE = 64
"""Side of the network's input; the paper's 224 shows the same 28 mm and takes more than ten times as long."""

COUNTS = MicrobleedCounts(voxels_per_lesion=16, background=250, candidate=1200, mimic=600, surround=200)
"""Of patches of a scan: mostly what is dark, since the network is asked about little else."""

UNCERTAIN = {"gain": 0.15, "noise": 0.03, "gamma": 0.45, "blur": 0.6, "shift": 1.0, "drop": (0.2, 0.15)}
"""What the network must not rely on: exact contrast, exact registration, every contrast being there."""

COMMON: dict[str, Any] = {
    "input_size": INPUT_SIZE,
    "optimiser": "adamw",
    "weight_decay": 0.02,
    "schedule": "cosine",
    "precision": "bfloat16",
}
MEANS: dict[str, dict[str, Any]] = {
    "cuda": {"batch_size": 512, "checkpoint_every": 500, "validate_every": 1000},
    "cpu": {"batch_size": 64, "workers": 2, "checkpoint_every": 100, "validate_every": 200},
}
"""What suits where it is trained."""

LESION_SHARE = 0.36
NEGATIVES = {"background": 0.08, "candidate": 0.36, "mimic": 0.42, "surround": 0.14}

CSF = replace(CSF_STAGE, **COMMON, augmentation=Augmentation(rotations=3, mirror=True, exact=1.0, **UNCERTAIN))
MICROBLEED = replace(
    MICROBLEED_STAGE,
    **COMMON,
    fractions={"lesion": LESION_SHARE} | {kind: share * (1 - LESION_SHARE) for kind, share in NEGATIVES.items()},
    augmentation=Augmentation(rotations=19, mirror=True, exact=0.5, **UNCERTAIN),
)


@dataclass(frozen=True)
class Round:
    """One round of the stage of microbleeds.

    Attributes
    ----------
    patches
        Shown in all, at the scales that train for good.
    learning_rate, seed, fixed_statistics
        Of the training.
    false_positive
        Share of a batch for what the network before took for microbleeds.
    pool
        Training patches searched for these.
    """

    patches: int
    learning_rate: float
    seed: int
    false_positive: float = 0.0
    pool: int = 0
    fixed_statistics: bool = False


CSF_PATCHES, CSF_RATE = 280_000, 1.2e-3
ROUNDS = {
    "first": Round(1_800_000, 1.2e-3, 21),
    "second": Round(1_800_000, 8e-4, 22, false_positive=0.22, pool=100_000),
    "third": Round(1_800_000, 4e-4, 24, false_positive=0.22, pool=150_000),
    "tuned": Round(76_800, 5e-4, 23),
}
"""``first`` to ``third`` from random weights, each on the scans there are by then; ``tuned``: on from a whole network,
where there is no GPU."""

VALIDATION_PATCHES = {"lesion": 240, "background": 60, "candidate": 240, "mimic": 240, "surround": 60}


def cut_patches(work: Path, scan: LabelledScan, participant: int, seed: int) -> None:
    """Cut the patches of both stages out of a scan, unless they are there."""
    if patch_file(work, scan.name, "microbleed").is_file():
        return
    rng = np.random.default_rng([participant, seed, 3])
    cut_case(scan.as_case(), participant, rng, counts=COUNTS, n_tissue=700).save(work / "sets", scan.name)


def cut_plan(work: Path, plan: ScanPlan) -> None:
    """:func:`cut_patches` of a simulated scan."""
    cut_patches(work, read_scan(work, plan), plan.anatomy, plan.seed)


def cut_planting(work: Path, name: str) -> None:
    """:func:`cut_patches` of a scan with planted microbleeds."""
    cut_patches(work, load_scan(scan_file(work, name)), *numbers(name))


def patch_file(work: Path, name: str, stage: str) -> Path:
    """Return the file with the patches of a scan."""
    return work / "sets" / f"{name}_{stage}.npz"


def patch_sets(work: Path, stage: str, names: Collection[str]) -> PatchSet:
    """Read the patches of scans."""
    return concatenate([load_patch_set(patch_file(work, name, stage)) for name in names])


def scans_for(work: Path, round_: str) -> list[str]:
    """Return the training scans of a stage or round: those there are when it begins, the same when it is resumed."""
    stored = work / f"{round_}.scans.json"
    if not stored.is_file():
        names = [path.stem.removesuffix("_microbleed") for path in sorted((work / "sets").glob("*_microbleed.npz"))]
        stored.write_text(json.dumps([name for name in names if name.startswith(("train", "real"))]))
    return json.loads(stored.read_text(encoding="utf-8"))


def validation_scans(work: Path) -> list[str]:
    """Return the scans whose patches the training is looked at with."""
    return [path.stem.removesuffix("_microbleed") for path in sorted((work / "sets").glob("val_*_microbleed.npz"))]


def few(patches: PatchSet, counts: Mapping[str, int]) -> PatchSet:
    """Draw so many patches of each kind."""
    rng = np.random.default_rng(0)
    members = [rng.permutation(np.flatnonzero(patches.kinds == KINDS[kind]))[:n] for kind, n in counts.items()]
    return patches.select(np.concatenate(members))


def train_csf(work: Path, device: torch.device, share: float) -> None:
    """Stage 1, from random weights; ``share`` of the patches that are shown for good."""
    path = work / "csf.safetensors"
    if path.is_file():
        return
    settings = _settings(CSF, device, round(CSF_PATCHES * share), CSF_RATE, seed=1)
    patches = patch_sets(work, "csf", [name for name in scans_for(work, "csf") if name.startswith("train")])
    validation = few(patch_sets(work, "csf", validation_scans(work)), {"csf": 300, "tissue": 300})
    model, scores, _ = train_stage(
        Sets(patches, validation, validation),
        *(settings, work / "csf"),
        initial=build_network(seed=1),
        device=device,
        resume=True,
    )
    facts = {"settings": asdict(settings), "validation": scores.as_row(), "patches": len(patches)}
    metadata = WeightsMetadata("mbseg-simulated-csf", "csf", input_size=INPUT_SIZE, training=facts)
    save_weights(path, model.cpu(), metadata)


def train_round(work: Path, name: str, before: Path, device: torch.device, share: float) -> None:
    """One round of stage 2, on from the weights in a file; ``share`` of the patches that are shown for good."""
    path = work / f"{name}.safetensors"
    if path.is_file():
        return
    model, metadata = load_weights(before)
    model = model.to(device)
    recipe, keep = ROUNDS[name], metadata.task == "microbleed"
    settings = _settings(MICROBLEED, device, round(recipe.patches * share), recipe.learning_rate, recipe.seed)
    settings = replace(settings, fixed_statistics=recipe.fixed_statistics)
    names = scans_for(work, name)
    training = patch_sets(work, "microbleed", names)
    if recipe.pool:
        training, found = search_false_positives(work, model, training, settings, round(recipe.pool * share), device)
        print(f"{name}: {found} false positives", flush=True)
        settings = with_false_positives(settings, recipe.false_positive if found else 0.0)
    validation = few(patch_sets(work, "microbleed", validation_scans(work)), VALIDATION_PATCHES)
    sets = Sets(training, validation, validation)
    options = {"initial": model, "keep_last_layer": keep, "device": device, "resume": True}
    model, scores, _ = train_stage(sets, settings, work / name, **options)
    history = dict(metadata.training.get("rounds", {})) if keep else {"csf": metadata.training}
    if keep and not history:
        history["before"] = dict(metadata.training)
    history[name] = {"settings": asdict(settings), "validation": scores.as_row(), "before": metadata.sha256}
    n_learned = 16 - len(identity_blocks(model))
    facts = {
        "rounds": history,
        "patches": {kind: int((training.kinds == number).sum()) for kind, number in KINDS.items()},
        "scans": sum(name.startswith("train") for name in names),
        "real_backgrounds": sorted({name.split("_")[1] for name in names if name.startswith("real")}),
        "planted_scans": sum(name.startswith("real") for name in names),
        "anatomies": {"training": list(TRAINING), "validation": list(VALIDATION), "test": [12, 13, 14]},
        "blocks": f"{n_learned} of its 16 blocks learned",
    }
    save_weights(path, model.cpu(), WeightsMetadata(NAME, input_size=INPUT_SIZE, training=facts))


def search_false_positives(
    work: Path, model: nn.Module, training: PatchSet, settings: TrainingSettings, n: int, device: torch.device
) -> tuple[PatchSet, int]:
    """Let a network judge ``n`` not-microbleeds of the training scans; mark those it takes for microbleeds."""
    stored = work / f"false_positives_{settings.seed}.npy"
    if stored.is_file():
        kinds = np.load(stored)
        return training.relabel(kinds), int((kinds == KINDS["false_positive"]).sum())
    rng = np.random.default_rng([settings.seed, 1])
    chosen = [
        rng.permutation(np.flatnonzero(training.kinds == KINDS[kind]))[: int(share * n)]
        for kind, share in {"candidate": 0.5, "mimic": 0.4, "surround": 0.1}.items()
    ]
    pool = np.concatenate(chosen)
    kinds = training.kinds.copy()
    kinds[pool] = mark_false_positives(model, training.select(pool), settings, device=device).kinds
    np.save(stored, kinds)
    return training.relabel(kinds), int((kinds == KINDS["false_positive"]).sum())


def _settings(
    stage: TrainingSettings, device: torch.device, n_patches: int, rate: float, seed: int
) -> TrainingSettings:
    means = MEANS[device.type]
    steps = max(2, n_patches // means["batch_size"])
    return replace(stage, **means, steps=steps, learning_rate=rate, seed=seed, warmup=min(100, steps // 10))
