"""What the parts of the training are worth: stage 1 (CSF) and rotations, each left out, at a reduced scale.

    python scripts/ablation.py WORK [--steps 300] [--labelled 81 4] [--repetitions 2] [--precision bfloat16] [--jobs 2]

after ``scripts/make_weights.py`` has made the patches and stage 1 in WORK (at the scale ``gpu``). Every variant trains
stage 2 with the settings of the first round but for the number of steps, and is scored on patches of the test
anatomies. ``--labelled`` says in how many scans microbleeds are labelled: transfer is for those who have few. A
repetition draws its scans once, the same for every variant. What ratio rule, reader's criteria and candidate classifier
are worth needs no training: the step ``test`` of the recipe writes those trees.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from recipe.network import MEANS, MICROBLEED, ROUNDS, few, patch_sets
from recipe.plans import TEST, TRAINING

from mbseg_bids.detection.network.resnet import build_network
from mbseg_bids.detection.network.weights import load_weights
from mbseg_bids.evaluation.tables import markdown_table
from mbseg_bids.learning.examples.patch_set import PatchSet, concatenate, load_patch_set
from mbseg_bids.learning.stages.stage import Sets, train_stage
from mbseg_bids.learning.training.trainer import TrainingSettings

TEST_PATCHES = {"lesion": 1200, "background": 300, "candidate": 1200, "mimic": 800, "surround": 300}
VARIANTS = {
    "everything": {"csf": True, "rotations": True},
    "without CSF": {"csf": False, "rotations": True},
    "without rotations": {"csf": True, "rotations": False},
}
MEASURES = {"accuracy": "accuracy", "sensitivity": "sensitivity", "specificity": "specificity", "auc": "area under ROC"}
COLUMNS = {
    "n_labelled": "labelled scans",
    "n_steps": "mini-batches",
    "precision": "precision",
    "n_repetitions": "repetitions",
    "variant": "training",
    **MEASURES,
    "difference": "area, less everything's",
}
ABOUT = """\
Training at a reduced scale (`scripts/ablation.py`): stage 2 only, from as many scans with labelled microbleeds as the
first column says; mean and range of the repetitions, each with a draw of scans and a seed of its own that its variants
share; patches of the test anatomies, mimics among them. The last column is the difference within a repetition.

"""


def main() -> None:
    """Train what is not done yet, print the scores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--labelled", type=int, nargs="+", required=True, help="scans with labelled microbleeds")
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of the convolutions")
    parser.add_argument("--jobs", type=int, default=2, help="trained side by side")
    args = parser.parse_args()
    runs = product(range(args.repetitions), args.labelled, VARIANTS)
    settings = replace(
        MICROBLEED,
        steps=args.steps,
        **{**MEANS["cpu"], "workers": 1, "validate_every": args.steps},
        learning_rate=ROUNDS["first"].learning_rate / 3,  # batches are a tenth of those it was chosen for
        precision=args.precision,
    )
    with ProcessPoolExecutor(args.jobs) as pool:
        for row in pool.map(partial(repeat_variant, args.work, settings), runs):
            print(json.dumps(row), flush=True)


def repeat_variant(work: Path, settings: TrainingSettings, of: tuple[int, int, str]) -> dict[str, Any]:
    """Train one repetition of one variant, if it is not done yet; return its scores on the test patches."""
    torch.set_num_threads(1)
    repetition, labelled, name = of
    made_with = f"{settings.steps}_{labelled}_{settings.precision}_{repetition}"
    folder = work / "ablation" / f"{name.replace(' ', '_')}_{made_with}"
    done = folder / "test.json"
    if not done.is_file():
        test = few(patch_sets(work, "microbleed", "test", TEST), TEST_PATCHES)
        sets = Sets(draw_scans(work, labelled, repetition), few(test, {"lesion": 50, "mimic": 50}), test)
        row = run(work, folder, sets, VARIANTS[name], replace(settings, seed=31 + repetition))
        row |= {"variant": name, "labelled": labelled, "repetition": repetition}
        row |= {"steps": settings.steps, "precision": settings.precision}
        done.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
    return json.loads(done.read_text(encoding="utf-8"))


def draw_scans(work: Path, n: int, repetition: int) -> PatchSet:
    """Return the stage 2 patches of ``n`` training scans."""
    files = [path for a in TRAINING for path in sorted((work / "sets").glob(f"train_{a:02d}_*_microbleed.npz"))]
    drawn = np.random.default_rng([repetition, 7]).permutation(len(files))[:n]
    return concatenate([load_patch_set(files[i]) for i in sorted(drawn)])


def run(work: Path, folder: Path, sets: Sets, parts: dict[str, bool], settings: TrainingSettings) -> dict[str, Any]:
    """Train one variant; return its scores on the test patches."""
    model = load_weights(work / "csf.safetensors")[0] if parts["csf"] else build_network(seed=settings.seed)
    if not parts["rotations"]:
        settings = replace(settings, augmentation=replace(settings.augmentation, rotations=0, mirror=False))
    return train_stage(sets, settings, folder, initial=model, resume=True)[2].as_row()


def ablation_table(work: Path) -> str:
    """Return what is done in WORK as a Markdown table, the variants that can be compared one below the other."""
    files = sorted((work / "ablation").glob("*/test.json"))
    if not files:
        return "What stage 1 and rotations are worth was not measured.\n"
    runs = pd.DataFrame([json.loads(path.read_text(encoding="utf-8")) for path in files])
    shared = ["labelled", "steps", "precision", "repetition"]
    everything = runs[runs["variant"] == "everything"].set_index(shared)["auc"]
    runs["difference"] = runs["auc"] - runs.join(everything.rename("everything"), on=shared)["everything"]
    rows = []
    for (labelled, steps, precision, variant), group in runs.groupby([*shared[:3], "variant"]):
        row = {"n_labelled": labelled, "n_steps": steps, "precision": precision, "variant": variant}
        row |= {"n_repetitions": len(group)} | {measure: spread(group[measure], ".3f") for measure in MEASURES}
        rows.append(row | {"difference": "" if variant == "everything" else spread(group["difference"], "+z.3f")})
    return ABOUT + markdown_table(pd.DataFrame(rows), COLUMNS)


def spread(values: "pd.Series[float]", form: str) -> str:
    """Return mean and range."""
    return "{} ({} to {})".format(*(format(value, form) for value in (values.mean(), values.min(), values.max())))


if __name__ == "__main__":
    main()
