"""How detection does on test scans without T2w, without T1w, and on T2* alone.

    python scripts/missing_contrasts.py WORK [--jobs 2]

after ``scripts/make_weights.py``, on its test scans with slices of 3 and 4 mm. The network is asked anew, with a
channel of zeros for what is missing, as in the BIDS App; its answers are kept in WORK/probability for another second
look. Writes WORK/missing/<contrasts> as derivative trees beside their truth; ``scripts/results.py`` scores them. Brain,
tissue and regions are the true ones, so what a missing T1w costs the anatomy steps is not in these figures.
"""

import argparse
import shutil
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from recipe.fit import read
from recipe.plans import SCALES, SETTINGS, ScanPlan, plans
from segmentation_trees import truth_table, write_segmentation

from mbseg_bids.detection.candidates.classifier import MODEL_FILE, load_candidate_classifier
from mbseg_bids.detection.lesions.segment import segment_lesions
from mbseg_bids.detection.network.weights import load_weights
from mbseg_bids.learning.stages.scan_scores import probability_map

CHANNELS = {"T2starw_T2w_T1w": (), "T2starw_T1w": (1,), "T2starw_T2w": (2,), "T2starw": (1, 2)}
"""Contrasts that are there, and the channels that are not."""
THICK_MM = 3.0
MADE_WITH = "second-look.json"
"""Beside the trees: the model of the candidate classifier that they were made with."""


def main() -> None:
    """Segment every scan with every set of contrasts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--jobs", type=int, default=2, help="scans computed side by side")
    args = parser.parse_args()
    chosen = [p for p in plans(SCALES["cpu"], "test", "free") if p.spacing is not None and p.spacing[2] >= THICK_MM]
    note = args.work / "missing" / MADE_WITH
    note.parent.mkdir(exist_ok=True)
    note.unlink(missing_ok=True)
    with ProcessPoolExecutor(args.jobs) as pool:
        list(pool.map(segment, repeat(args.work), chosen))
    shutil.copyfile(MODEL_FILE, note)


def segment(work: Path, plan: ScanPlan) -> None:
    """Write the truth of one scan, and what is found with each set of contrasts."""
    torch.set_num_threads(1)
    model, metadata = load_weights("default")
    look = load_candidate_classifier()
    scan, complete = read(work, plan.name)
    label = f"sub-{plan.anatomy}s{plan.seed}"
    write_segmentation(work / "missing" / "truth", label, scan.lesions, truth_table(scan), scan.affine)
    for name, absent in CHANNELS.items():
        case, probability = scan.as_case(), complete
        if absent:
            case.stack[list(absent)] = 0
            path = work / "probability" / f"{plan.name}_{name}.npz"
            if not path.is_file():
                np.savez_compressed(path, probability=probability_map(model, metadata, case, SETTINGS))
            with np.load(path, allow_pickle=False) as file:
                probability = file["probability"]
        result = segment_lesions(
            *(case.stack, probability, case.brain, case.regions, case.spacing, case.affine, SETTINGS),
            tissue=case.tissue,
            second_look=look,
        )
        write_segmentation(work / "missing" / name, label, result.lesions, result.lesion_table, case.affine)
    print(plan.name, flush=True)


if __name__ == "__main__":
    main()
