"""How much of the brain the search mask keeps, and what it loses against an exhaustive search.

On simulated scans, with an oracle in place of the network: probability 1 in the true lesions, 0 elsewhere. A lesion counts
as lost if the exhaustive search with the oracle segments a part of it and the masked search does not.

    python benchmarks/search_mask.py LABELMAP_FOLDER [--cases 6] [--seed 1] [--out FILE.tsv]
"""

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from mbseg_bids.detection.lesions import segment_lesions
from mbseg_bids.detection.search_mask import search_mask
from mbseg_bids.imaging.labels import CSF
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
    columns = ["true", "segmented", "lost", "true_voxels", "true_voxels_outside_mask"]
    print(table.groupby("quotient")[["kept_fraction"]].agg(["min", "max"]))
    print(table.groupby("quotient")[columns].sum())
    if args.out:
        table.to_csv(args.out, sep="\t", index=False)


def compare(case: Case, quotient: float) -> dict[str, float]:
    """Return the counts of one case: true lesions, those the rules keep, those that the mask loses of these."""
    mask = search_mask(case.stack[0], case.brain, case.tissue == CSF, spacing=case.spacing, quotient=quotient)
    exhaustive, masked = (segmented(case, (case.lesions > 0) & searched) for searched in (case.brain, mask))
    return {
        "field_T": case.protocol.field,
        "echo_ms": round(case.protocol.echo_time * 1000, 1),
        "slice_mm": round(case.spacing[2], 2),
        "quotient": quotient,
        "kept_fraction": round(float(mask[case.brain].mean()), 4),
        "true": int(case.lesions.max()),
        "segmented": len(exhaustive),
        "lost": len(exhaustive - masked),
        "true_voxels": int(np.count_nonzero(case.lesions)),
        "true_voxels_outside_mask": int(np.count_nonzero((case.lesions > 0) & ~mask)),
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
