"""Make the weights that come with mbseg_bids from nothing but label maps.

Simulated scans of nine anatomies -> patches -> stage 1 (CSF) -> stage 2 (microbleeds), in rounds, each of which sees
more of what the round before got wrong -> choice of the operating point on two anatomies -> file, manifest and model
card, with figures from whole scans of three anatomies never used before.

    python scripts/train_first_weights.py LABELMAPS WORK [--steps sample csf A B C D calibrate test export]

LABELMAPS holds labelmap_01.nii.gz to labelmap_14.nii.gz (FreeSurfer numbers, whole head, 1 mm), for instance those of
the SynthSeg repository. Finished steps are kept in WORK and not done again. Two CPU cores take about two hours.
"""

import argparse
import json
import os
from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from torch import nn

from mbseg_bids.detection.network import build_network, leave_out_identity_blocks, put_back_blocks
from mbseg_bids.detection.weights import WEIGHTS_FOLDER, WeightsMetadata, load_weights, save_weights, write_manifest
from mbseg_bids.evaluation.lesion import Score
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.learning.patch_set import KINDS, PatchSet, concatenate, load_patch_set
from mbseg_bids.learning.rotation import Augmentation
from mbseg_bids.learning.scan_scores import ScanScore, probability_map, score_scan
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
from mbseg_bids.settings import DetectionSettings
from mbseg_bids.simulation.case import Case, simulate_training_case
from mbseg_bids.simulation.protocol import draw_protocol

NAME = "mbseg-simulated-1"
TRAINING, VALIDATION, TEST = range(1, 10), (10, 11), (12, 13, 14)
"""Numbers of the label maps. Nobody is in two of these."""

SCANS = [(anatomy, seed) for seed in range(4) for anatomy in (*TRAINING, *VALIDATION)][:38]
"""Anatomy and seed of the simulated scans that patches are cut from; each has a protocol and lesions of its own."""

EARLY_SCANS = 32
"""Stage 1 and the first round were trained while the rest were still being simulated: on so many."""

INPUT_SIZE = 48
"""Side of the network's input; the paper's 224 shows the same 28 mm and takes 20 times as long on a CPU."""

VARIED = Augmentation(rotations=9, mirror=True, exact=0.6, gain=0.12, noise=0.02)
COMMON = {
    "input_size": INPUT_SIZE,
    "optimiser": "adamw",
    "weight_decay": 0.01,
    "schedule": "cosine",
    "augmentation": VARIED,
    "workers": 2,
}
CSF = replace(CSF_STAGE, **COMMON, steps=240, learning_rate=6e-4, warmup=20, seed=1, validate_every=60)

DARK = {"background": 0.1, "candidate": 0.52, "mimic": 0.24, "surround": 0.14}
"""Shares of the not-microbleeds: mostly dark voxels, since the network is asked about nothing else."""

MIMICS = {"background": 0.08, "candidate": 0.35, "mimic": 0.42, "surround": 0.15}
"""The same once dark voxels are told apart and vessels are what remains."""

ROUNDS = {
    "A": {
        "steps": 400,
        "learning_rate": 6e-4,
        "lesion": 0.4,
        "false_positive": 0.0,
        "pool": 0,
        "seed": 11,
        "negatives": DARK,
    },
    "B": {
        "steps": 600,
        "learning_rate": 4e-4,
        "lesion": 0.3,
        "false_positive": 0.3,
        "pool": 12000,
        "seed": 12,
        "negatives": DARK,
    },
    "C": {
        "steps": 600,
        "learning_rate": 5e-4,
        "lesion": 0.4,
        "false_positive": 0.1,
        "pool": 14000,
        "seed": 13,
        "negatives": MIMICS,
    },
    "D": {
        "steps": 1000,
        "learning_rate": 6e-4,
        "lesion": 0.36,
        "false_positive": 0.2,
        "pool": 12000,
        "seed": 14,
        "negatives": MIMICS,
    },
}
"""Stage 2. ``lesion``, ``false_positive``: shares of a batch; ``pool``: patches searched for false positives."""

VALIDATION_PATCHES = {"lesion": 160, "background": 60, "candidate": 240, "mimic": 120, "surround": 60}
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99)
SCAN_LESIONS = 25
SETTINGS = DetectionSettings()
"""Of the whole scans: those of the BIDS App."""

SCANS_TO_SCORE = {
    "validation": ((10, 0, 3.0), (11, 0, 4.0)),
    "test": ((12, 0, 3.0), (13, 0, 3.0), (14, 0, 4.0)),
}
"""Anatomy, seed, slice thickness (mm) of whole scans."""

STEPS = ("sample", "csf", *ROUNDS, "calibrate", "test", "export")


def main() -> None:
    """Do the steps asked for that are not done yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelmaps", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    args = parser.parse_args()
    torch.set_num_threads(1)  # the workers of training are threads of their own
    actions = {"sample": sample, "csf": train_csf, "calibrate": calibrate, "test": test, "export": export}
    for step in args.steps:
        if step in ROUNDS:
            train_round(args.work, step)
        else:
            actions[step](args.labelmaps, args.work)


def sample(labelmaps: Path, work: Path) -> None:
    """Simulate scans and cut the patches of both stages."""
    for anatomy, seed in SCANS:
        stem = f"anatomy-{anatomy:02d}_seed-{seed:03d}"
        if not (work / "sets" / f"{stem}_microbleed.npz").is_file():
            case, rng = simulate(labelmap(labelmaps, anatomy), anatomy, seed)
            cut_case(case, anatomy, rng).save(work / "sets", stem)
            print(stem, len(case.lesion_table), "microbleeds", flush=True)


def train_csf(_: Path, work: Path) -> None:
    """Stage 1, from random weights; blocks that start as the identity are left as that throughout."""
    if (work / "csf.safetensors").is_file():
        return
    patches = patch_sets(work, "csf", TRAINING, EARLY_SCANS)
    validation = patch_sets(work, "csf", VALIDATION, EARLY_SCANS)
    validation = validation.select(np.random.default_rng(0).permutation(len(validation))[:300])
    model = build_network(seed=1)
    leave_out_identity_blocks(model)
    sets = Sets(patches, validation, validation)
    model, scores, _ = train_stage(sets, CSF, work / "csf", initial=model, resume=True)
    metadata = WeightsMetadata("csf", "csf", input_size=INPUT_SIZE, training={"validation": scores.as_row()})
    save_weights(work / "csf.safetensors", put_back_blocks(model), metadata)


def train_round(work: Path, name: str) -> None:
    """One round of stage 2, on from the round before."""
    if (work / f"round_{name}.safetensors").is_file():
        return
    names = list(ROUNDS)
    first = name == names[0]
    before = work / ("csf.safetensors" if first else f"round_{names[names.index(name) - 1]}.safetensors")
    model, metadata = load_weights(before)
    recipe = ROUNDS[name]
    left_out = leave_out_identity_blocks(model)
    shares = {kind: share * (1 - recipe["lesion"]) for kind, share in recipe["negatives"].items()}
    settings = replace(
        MICROBLEED_STAGE,
        **COMMON,
        fractions={"lesion": recipe["lesion"], **shares},
        frozen_layers=0,
        steps=recipe["steps"],
        learning_rate=recipe["learning_rate"],
        warmup=10,
        seed=recipe["seed"],
        validate_every=100,
    )
    n_scans = EARLY_SCANS if first else len(SCANS)
    training = patch_sets(work, "microbleed", TRAINING, n_scans)
    if recipe["pool"]:
        training, found = search_false_positives(model, training, settings, recipe["pool"], recipe["seed"])
        print(f"round {name}: {found} false positives among {recipe['pool']} training patches", flush=True)
        if found > 20:
            settings = with_false_positives(settings, recipe["false_positive"])
    validation = few(patch_sets(work, "microbleed", VALIDATION, n_scans), VALIDATION_PATCHES, 0)
    sets = Sets(training, validation, validation)
    folder = work / f"round_{name}"
    model, scores, _ = train_stage(sets, settings, folder, initial=model, keep_last_layer=not first, resume=True)
    history = {} if first else dict(metadata.training["rounds"])
    history[name] = {"settings": asdict(settings), "validation": scores.as_row()}
    counts = {kind: int((training.kinds == number).sum()) for kind, number in KINDS.items()}
    facts = {
        "rounds": history,
        "patches": counts,
        "scans": len(set_files(work, "microbleed", TRAINING, n_scans)),
        "anatomies": {"training": list(TRAINING), "validation": list(VALIDATION), "test": list(TEST)},
        "blocks": f"{len(left_out)} of its 16 blocks are still the identity they started as",
    }
    metadata = WeightsMetadata(NAME, input_size=INPUT_SIZE, training=facts)
    save_weights(work / f"round_{name}.safetensors", put_back_blocks(model), metadata)


def search_false_positives(
    model: nn.Module, training: PatchSet, settings: TrainingSettings, n: int, seed: int
) -> tuple[PatchSet, int]:
    """Let a network judge ``n`` not-microbleeds of the training anatomies; mark those it takes for microbleeds."""
    rng = np.random.default_rng([seed, 1])
    chosen = [
        rng.permutation(np.flatnonzero(training.kinds == KINDS[kind]))[: int(share * n)]
        for kind, share in {"candidate": 0.6, "mimic": 0.3, "surround": 0.1}.items()
    ]
    pool = np.concatenate(chosen)
    kinds = training.kinds.copy()
    kinds[pool] = mark_false_positives(model, training.select(pool), settings).kinds
    return training.relabel(kinds), int((kinds == KINDS["false_positive"]).sum())


def calibrate(labelmaps: Path, work: Path) -> None:
    """Find the probability that separates best on whole scans of the validation anatomies; make it 0.5."""
    path = work / "calibrated.safetensors"
    if path.is_file():
        return
    model, metadata = load_weights(work / f"round_{list(ROUNDS)[-1]}.safetensors")
    scores = score_scans(labelmaps, model, metadata, "validation")
    pooled = {t: sum((s.score for s in scores if s.threshold == t), Score()) for t in THRESHOLDS}
    best = max(THRESHOLDS, key=lambda t: (pooled[t].dice if pooled[t].n_predicted else 0, -abs(t - 0.5)))
    shift = float(np.log(best / (1 - best)))
    with torch.no_grad():
        model.fc.bias[1] -= shift  # a probability of `best` becomes 0.5
    report = {str(t): asdict(pooled[t]) | {"sensitivity": pooled[t].sensitivity} for t in THRESHOLDS}
    calibration = {"probability": best, "shift": shift, "validation": report}
    facts = {**metadata.training, "calibration": calibration}
    save_weights(path, model, replace(metadata, training=facts))
    print(f"probability {best} becomes 0.5", json.dumps(report, indent=1), flush=True)


def test(labelmaps: Path, work: Path) -> None:
    """Score whole scans of the test anatomies at a probability of 0.5."""
    if (work / "test.json").is_file():
        return
    model, metadata = load_weights(work / "calibrated.safetensors")
    scores = score_scans(labelmaps, model, metadata, "test", thresholds=(0.5,))
    rows = []
    for (anatomy, seed, slices), found in zip(SCANS_TO_SCORE["test"], scores, strict=True):
        case = scan_to_score(labelmaps, anatomy, seed, slices)
        protocol = case.protocol
        acquisition = {"slices_mm": slices, "field_t": protocol.field_strength, "echo_time_ms": protocol.echo_time}
        rows.append({"anatomy": anatomy, "seed": seed, **acquisition, **asdict(found.score), "dice": found.dice})
    (work / "test.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print((work / "test.json").read_text(), flush=True)


def export(_: Path, work: Path) -> None:
    """Write the file and the manifest of the package, and the model card."""
    from model_card import write_model_card

    model, metadata = load_weights(work / "calibrated.safetensors")
    test_rows = json.loads((work / "test.json").read_text(encoding="utf-8"))
    metadata = replace(metadata, training={**metadata.training, "test": test_rows})
    for old in WEIGHTS_FOLDER.glob("*.safetensors"):
        old.unlink()
    metadata = save_weights(WEIGHTS_FOLDER / f"{NAME}.safetensors", model, metadata)
    write_manifest(WEIGHTS_FOLDER, NAME)
    write_model_card(Path(__file__).parents[1] / "docs" / "model_card.md", metadata, metadata.training["anatomies"])


def score_scans(
    labelmaps: Path, model: nn.Module, metadata: WeightsMetadata, part: str, thresholds: tuple = THRESHOLDS
) -> list[ScanScore]:
    """Detect in each whole scan of a part, and score it at each threshold."""
    scores: list[ScanScore] = []
    for anatomy, seed, slices in SCANS_TO_SCORE[part]:
        case = scan_to_score(labelmaps, anatomy, seed, slices)
        probability = probability_map(
            model, metadata, case, SETTINGS, threshold=min(thresholds), n_workers=os.cpu_count() or 1
        )
        scores += [score_scan(case, probability, SETTINGS, threshold=t)[0] for t in thresholds]
        print(part, anatomy, seed, slices, *(f"{s.threshold}: {s.score} {s.dice:.2f};" for s in scores), flush=True)
    return scores


def scan_to_score(labelmaps: Path, anatomy: int, seed: int, slices: float) -> Case:
    """Simulate a whole scan that is never trained on."""
    rng = np.random.default_rng([anatomy, 1000 + seed])
    protocol = replace(draw_protocol(rng), spacing=(1.0, 1.0, slices))
    return simulate_training_case(labelmap(labelmaps, anatomy), rng, protocol=protocol, n_lesions=SCAN_LESIONS)


def labelmap(folder: Path, anatomy: int) -> Volume:
    """Read a label map by number."""
    image = nib.load(folder / f"labelmap_{anatomy:02d}.nii.gz")
    return Volume(np.asarray(image.dataobj), image.affine)


def set_files(work: Path, stage: str, anatomies: Collection[int], n_scans: int) -> list[Path]:
    """Return the patch sets of these anatomies among the first ``n_scans`` scans, by anatomy."""
    scans = sorted(scan for scan in SCANS[:n_scans] if scan[0] in anatomies)
    return [work / "sets" / f"anatomy-{anatomy:02d}_seed-{seed:03d}_{stage}.npz" for anatomy, seed in scans]


def patch_sets(work: Path, stage: str, anatomies: Collection[int], n_scans: int) -> PatchSet:
    """Read the patches of these anatomies."""
    return concatenate([load_patch_set(path) for path in set_files(work, stage, anatomies, n_scans)])


def few(patches: PatchSet, counts: dict[str, int], seed: int) -> PatchSet:
    """Draw so many patches of each kind."""
    rng = np.random.default_rng(seed)
    members = [rng.permutation(np.flatnonzero(patches.kinds == KINDS[kind]))[:n] for kind, n in counts.items()]
    return patches.select(np.concatenate(members))


if __name__ == "__main__":
    main()
