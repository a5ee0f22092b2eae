"""What the parts of the training are worth: stage 1 (CSF) and rotations, each left out, at a reduced scale.

    python scripts/ablation.py WORK [--steps 300] [--repetitions 2] [--jobs 2]

after ``scripts/train_weights.py`` has made the patches and stage 1 in WORK. Every variant trains stage 2 with the
settings of the first round but for the number of steps, and is scored on patches of the test anatomies. What the ratio
rule and the second look are worth needs no training: ``scripts/finish_weights.py`` writes those trees.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from train_weights import LESION_SHARE, MICROBLEED, NEGATIVES, TEST, TRAINING, few, patch_sets

from mbseg_bids.detection.network import build_network, leave_out_identity_blocks
from mbseg_bids.detection.weights import load_weights
from mbseg_bids.learning.stages import Sets, train_stage

TEST_PATCHES = {"lesion": 1200, "background": 300, "candidate": 1200, "mimic": 800, "surround": 300}
VARIANTS = {
    "everything": {"csf": True, "rotations": True},
    "without CSF": {"csf": False, "rotations": True},
    "without rotations": {"csf": True, "rotations": False},
}


def main() -> None:
    """Train what is not done yet, print the scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=2, help="trained side by side")
    args = parser.parse_args()
    runs = product(range(args.repetitions), VARIANTS)
    with ProcessPoolExecutor(args.jobs) as pool:
        for row in pool.map(partial(repeat_variant, args.work, args.steps), runs):
            print(json.dumps(row), flush=True)


def repeat_variant(work: Path, steps: int, of: tuple[int, str]) -> dict[str, Any]:
    """Train one repetition of one variant, if it is not done yet; return its scores on the test patches."""
    torch.set_num_threads(1)
    repetition, name = of
    folder = work / "ablation" / f"{name.replace(' ', '_')}_{steps}_{repetition}"
    done = folder / "test.json"
    if not done.is_file():
        test = few(patch_sets(work, "microbleed", TEST), TEST_PATCHES, 0)
        sets = Sets(patch_sets(work, "microbleed", TRAINING), few(test, {"lesion": 50, "mimic": 50}, 1), test)
        row = run(work, folder, sets, VARIANTS[name], steps=steps, seed=31 + repetition)
        row |= {"variant": name, "steps": steps, "repetition": repetition}
        done.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
    return json.loads(done.read_text(encoding="utf-8"))


def run(work: Path, folder: Path, sets: Sets, parts: dict[str, bool], *, steps: int, seed: int) -> dict[str, Any]:
    """Train one variant; return its scores on the test patches."""
    model = load_weights(work / "csf.safetensors")[0] if parts["csf"] else build_network(seed=seed)
    leave_out_identity_blocks(model)
    augmentation = MICROBLEED.augmentation
    if not parts["rotations"]:
        augmentation = replace(augmentation, rotations=0, mirror=False)
    shares = {kind: share * (1 - LESION_SHARE) for kind, share in NEGATIVES.items()}
    settings = replace(
        MICROBLEED,
        fractions={"lesion": LESION_SHARE, **shares},
        augmentation=augmentation,
        steps=steps,
        learning_rate=6e-4,
        seed=seed,
        validate_every=steps,
    )
    return train_stage(sets, settings, folder, initial=model, resume=True)[2].as_row()


if __name__ == "__main__":
    main()
