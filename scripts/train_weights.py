"""Make the weights that come with mbseg_bids from nothing but label maps.

Simulated scans of nine anatomies -> patches -> stage 1 (CSF) -> stage 2 (microbleeds), in two rounds, the second of
which sees more of what the first got wrong. What follows (the second look, the operating point, the figures) is in
``scripts/finish_weights.py``.

    python scripts/train_weights.py LABELMAPS WORK [--steps sample csf first second] [--jobs 2]

LABELMAPS holds labelmap_01.nii.gz to labelmap_14.nii.gz (FreeSurfer numbers, whole head, 1 mm), for instance those of
the SynthSeg repository. Finished steps are kept in WORK and not done again; an interrupted one goes on.
"""

import argparse
from collections.abc import Collection
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from itertools import repeat
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch import nn

from mbseg_bids.detection.network import build_network, leave_out_identity_blocks, put_back_blocks
from mbseg_bids.detection.weights import WeightsMetadata, load_weights, save_weights
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.learning.patch_set import KINDS, PatchSet, concatenate, load_patch_set
from mbseg_bids.learning.rotation import Augmentation
from mbseg_bids.learning.simulated import cut_case, simulate
from mbseg_bids.learning.stages import (
    CSF_STAGE,
    MICROBLEED_STAGE,
    Sets,
    mark_false_positives,
    train_stage,
    with_false_positives,
)
from mbseg_bids.learning.trainer import TrainingSettings

NAME = "mbseg-simulated-2"
TRAINING, VALIDATION, TEST = tuple(range(1, 10)), (10, 11), (12, 13, 14)
"""Numbers of the label maps. Nobody is in two of these."""

TRAINING_SEEDS, HELD_OUT_SEEDS = tuple(range(100, 109)), (100, 101)
"""Of the simulated scans of each anatomy that patches are cut from."""

INPUT_SIZE = 64
"""Side of the network's input; the paper's 224 shows the same 28 mm and takes more than ten times as long on a CPU."""

COMMON = {
    "input_size": INPUT_SIZE,
    "optimiser": "adamw",
    "weight_decay": 0.01,
    "schedule": "cosine",
    "workers": 2,
    "checkpoint_every": 100,
}
UNCERTAIN = {"gain": 0.15, "noise": 0.03, "gamma": 0.3, "blur": 0.6, "shift": 1.0, "drop": (0.2, 0.15)}
"""What the network must not rely on: exact contrast, exact registration, every contrast being there."""

CSF = replace(
    CSF_STAGE,
    **COMMON,
    augmentation=Augmentation(rotations=3, mirror=True, exact=1.0, **UNCERTAIN),
    steps=300,
    learning_rate=6e-4,
    warmup=20,
    seed=1,
    validate_every=100,
)
LESION_SHARE = 0.36
NEGATIVES = {"background": 0.08, "candidate": 0.35, "mimic": 0.42, "surround": 0.15}
"""Shares of the not-microbleeds: mostly dark voxels and vessels, since the network is asked about little else."""

MICROBLEED = replace(
    MICROBLEED_STAGE,
    **COMMON,
    fractions={"lesion": LESION_SHARE} | {kind: share * (1 - LESION_SHARE) for kind, share in NEGATIVES.items()},
    augmentation=Augmentation(rotations=9, mirror=True, exact=0.6, **UNCERTAIN),
    frozen_layers=0,
    warmup=20,
    validate_every=250,
)

ROUNDS = {
    "first": {"steps": 2400, "learning_rate": 6e-4, "seed": 21, "false_positive": 0.0, "pool": 0},
    "second": {"steps": 2000, "learning_rate": 5e-4, "seed": 22, "false_positive": 0.22, "pool": 20_000},
}
"""Stage 2. ``pool``: training patches searched for false positives; ``false_positive``: their share of a batch then."""

VALIDATION_PATCHES = {"lesion": 240, "background": 60, "candidate": 240, "mimic": 200, "surround": 60}
STEPS = ("sample", "csf", *ROUNDS)


def main() -> None:
    """Do the steps asked for that are not done yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelmaps", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--jobs", type=int, default=2, help="scans simulated side by side")
    args = parser.parse_args()
    torch.set_num_threads(1)  # the workers of training are threads of their own
    for step in args.steps:
        if step == "sample":
            sample(args.labelmaps, args.work, args.jobs)
        elif step == "csf":
            train_csf(args.work)
        else:
            train_round(args.work, step)


def sample(labelmaps: Path, work: Path, jobs: int) -> None:
    """Simulate scans and cut the patches of both stages."""
    scans = [(anatomy, seed) for seed in TRAINING_SEEDS for anatomy in TRAINING]
    scans += [(anatomy, seed) for seed in HELD_OUT_SEEDS for anatomy in (*VALIDATION, *TEST)]
    with ProcessPoolExecutor(jobs) as pool:
        list(pool.map(sample_scan, repeat(labelmaps), repeat(work), scans))


def sample_scan(labelmaps: Path, work: Path, scan: tuple[int, int]) -> None:
    """Simulate one scan; only those that are trained on get contrasts of their own."""
    anatomy, seed = scan
    stem = f"anatomy-{anatomy:02d}_seed-{seed:03d}"
    if not (work / "sets" / f"{stem}_microbleed.npz").is_file():
        case, rng = simulate(labelmap(labelmaps, anatomy), anatomy, seed, vary_contrast=anatomy in TRAINING)
        cut_case(case, anatomy, rng).save(work / "sets", stem)
        print(stem, len(case.lesion_table), "microbleeds", flush=True)


def train_csf(work: Path) -> None:
    """Stage 1, from random weights; blocks that start as the identity are left as that throughout."""
    if (work / "csf.safetensors").is_file():
        return
    patches, validation = patch_sets(work, "csf", TRAINING), patch_sets(work, "csf", VALIDATION)
    validation = few(validation, {"csf": 300, "tissue": 300}, 0)
    model = build_network(seed=1)
    leave_out_identity_blocks(model)
    model, scores, _ = train_stage(Sets(patches, validation, validation), CSF, work / "csf", initial=model, resume=True)
    facts = {"settings": asdict(CSF), "validation": scores.as_row(), "patches": len(patches)}
    metadata = WeightsMetadata("mbseg-simulated-csf", "csf", input_size=INPUT_SIZE, training=facts)
    save_weights(work / "csf.safetensors", put_back_blocks(model), metadata)


def train_round(work: Path, name: str) -> None:
    """One round of stage 2, on from stage 1 or from the round before."""
    if (work / f"{name}.safetensors").is_file():
        return
    first = name == next(iter(ROUNDS))
    model, metadata = load_weights(work / ("csf.safetensors" if first else "first.safetensors"))
    left_out = leave_out_identity_blocks(model)
    recipe = ROUNDS[name]
    settings = replace(MICROBLEED, **{key: recipe[key] for key in ("steps", "learning_rate", "seed")})
    training = patch_sets(work, "microbleed", TRAINING)
    if recipe["pool"]:
        training, found = search_false_positives(work, model, training, settings, recipe["pool"])
        print(f"{name}: {found} false positives among {recipe['pool']} training patches", flush=True)
        settings = with_false_positives(settings, recipe["false_positive"])
    validation = few(patch_sets(work, "microbleed", VALIDATION), VALIDATION_PATCHES, 0)
    sets = Sets(training, validation, validation)
    model, scores, _ = train_stage(sets, settings, work / name, initial=model, keep_last_layer=not first, resume=True)
    history = {"csf": metadata.training} if first else dict(metadata.training["rounds"])
    history[name] = {"settings": asdict(settings), "validation": scores.as_row()}
    facts = {
        "rounds": history,
        "patches": {kind: int((training.kinds == number).sum()) for kind, number in KINDS.items()},
        "scans": len(TRAINING) * len(TRAINING_SEEDS),
        "anatomies": {"training": list(TRAINING), "validation": list(VALIDATION), "test": list(TEST)},
        "blocks": f"{len(left_out)} of its 16 blocks are still the identity they started as",
    }
    metadata = WeightsMetadata(NAME, input_size=INPUT_SIZE, training=facts)
    save_weights(work / f"{name}.safetensors", put_back_blocks(model), metadata)


def search_false_positives(
    work: Path, model: nn.Module, training: PatchSet, settings: TrainingSettings, n: int
) -> tuple[PatchSet, int]:
    """Let a network judge ``n`` not-microbleeds of the training anatomies; mark those it takes for microbleeds."""
    stored = work / f"false_positives_{settings.seed}.npy"
    if stored.is_file():
        kinds = np.load(stored)
        return training.relabel(kinds), int((kinds == KINDS["false_positive"]).sum())
    rng = np.random.default_rng([settings.seed, 1])
    chosen = [
        rng.permutation(np.flatnonzero(training.kinds == KINDS[kind]))[: int(share * n)]
        for kind, share in {"candidate": 0.55, "mimic": 0.35, "surround": 0.1}.items()
    ]
    pool = np.concatenate(chosen)
    kinds = training.kinds.copy()
    kinds[pool] = mark_false_positives(model, training.select(pool), settings).kinds
    np.save(stored, kinds)
    return training.relabel(kinds), int((kinds == KINDS["false_positive"]).sum())


def labelmap(folder: Path, anatomy: int) -> Volume:
    """Read a label map by number."""
    image = nib.load(folder / f"labelmap_{anatomy:02d}.nii.gz")
    return Volume(np.asarray(image.dataobj), image.affine)


def patch_sets(work: Path, stage: str, anatomies: Collection[int]) -> PatchSet:
    """Read the patches of these anatomies."""
    return concatenate([load_patch_set(path) for path in patch_files(work, stage, anatomies)])


def patch_files(work: Path, stage: str, anatomies: Collection[int]) -> list[Path]:
    """Return the files with the patches of these anatomies, one for each simulated scan."""
    return [path for a in anatomies for path in sorted((work / "sets").glob(f"anatomy-{a:02d}_*_{stage}.npz"))]


def few(patches: PatchSet, counts: dict[str, int], seed: int) -> PatchSet:
    """Draw so many patches of each kind."""
    rng = np.random.default_rng(seed)
    members = [rng.permutation(np.flatnonzero(patches.kinds == KINDS[kind]))[:n] for kind, n in counts.items()]
    return patches.select(np.concatenate(members))


if __name__ == "__main__":
    main()
