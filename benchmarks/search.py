"""How much of the brain the search looks at, and what it loses against an exhaustive one.

On simulated scans, with an oracle in place of the network: probability 1 in the true lesions, 0 elsewhere. A lesion
counts as lost if the exhaustive search with the oracle segments a part of it and the search of a run does not.
An oracle says yes to every seed in a lesion; a network may not.

    python benchmarks/search.py LABELMAP_FOLDER [--cases 6] [--seed 1] [--out FILE.tsv]
"""

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from mbseg_bids.detection.lesions.segment import segment_lesions
from mbseg_bids.detection.search.mask import search_region
from mbseg_bids.detection.search.region_growing import grow_from_seeds
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.settings import DetectionSettings
from mbseg_bids.simulation.case import Case, simulate_training_case


def main() -> None:
    """Simulate, search, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelmaps", type=Path)
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quotients", type=float, nargs="+", default=[1.1, 1.2])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    paths = sorted(args.labelmaps.glob("*.nii.gz"))
    rows = []
    for n, generator in enumerate(np.random.default_rng(args.seed).spawn(args.cases)):
        image = nib.load(paths[n % len(paths)])
        case = simulate_training_case(Volume(np.asanyarray(image.dataobj), image.affine), generator)
        rows += [{"case": n + 1, **compare(case, quotient)} for quotient in args.quotients]
        print(pd.DataFrame(rows[-len(args.quotients) :]).to_string(index=False, header=n == 0), flush=True)
    table = pd.DataFrame(rows)
    by_quotient = table.groupby("seed_quotient")
    print(by_quotient[["mask_fraction", "asked_fraction"]].agg(["min", "max"]))
    print(by_quotient[["asked_voxels", "true", "segmented", "lost_by_mask", "lost_by_search"]].sum())
    if args.out:
        table.to_csv(args.out, sep="\t", index=False)


def compare(case: Case, quotient: float) -> dict[str, float]:
    """Return the counts of one case: true lesions, those the rules keep, those that the search loses of these."""
    settings = DetectionSettings(seed_quotient=quotient)
    mask, seeds = search_region(case.stack[0], case.brain, case.tissue, case.spacing, settings)
    truth = case.lesions > 0
    found, asked = grow_from_seeds(mask, seeds, lambda voxels: truth[tuple(voxels.T)].astype(np.float32), 0.5)
    exhaustive, in_mask, outwards = (segmented(case, part) for part in (truth & case.brain, truth & mask, found > 0))
    return {
        "field_strength_t": case.protocol.field_strength,
        "echo_time_ms": round(case.protocol.echo_time, 1),
        "slice_mm": round(case.spacing[2], 2),
        "seed_quotient": quotient,
        "mask_fraction": round(float(mask[case.brain].mean()), 4),
        "asked_fraction": round(float(asked[case.brain].mean()), 4),
        "asked_voxels": int(asked.sum()),
        "true": int(case.lesions.max()),
        "segmented": len(exhaustive),
        "lost_by_mask": len(exhaustive - in_mask),
        "lost_by_search": len(exhaustive - outwards),
    }


def segmented(case: Case, positive: np.ndarray) -> set[int]:
    """Return the true lesions of which a part is segmented when the network says yes in ``positive``."""
    result = segment_lesions(
        case.stack,
        positive.astype(np.float32),
        case.brain,
        case.regions.astype(np.int32),
        case.spacing,
        case.affine,
        DetectionSettings(maximum_diameter=1e6),
    )
    return set(np.unique(case.lesions[(result.lesions > 0) & (case.lesions > 0)]).tolist())


if __name__ == "__main__":
    main()
