"""Statistics of simulated microbleeds beside those of VALDO: figure and table of docs/simulation.md.

    python scripts/simulated_statistics.py [--labelmaps DIR] [--lesions 1500] [--cases 4] [--out docs/figures]

Volumes and counts are drawn in large numbers, lesions one at a time in uniform tissue. With label maps, whole scans
are simulated for the regions, as their truth has them, and for the share of microbleeds that is seen.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
import pandas as pd

from mbseg_bids.imaging.labels import REGIONS
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation.case import simulate_training_case
from mbseg_bids.simulation.lesions import REGION_SHARES
from mbseg_bids.simulation.protocol import COHORT_GEOMETRIES, draw_protocol
from mbseg_bids.simulation.statistics import (
    COHORT_COUNTS,
    COHORT_REGIONS,
    COHORT_VOLUMES,
    cohort_counts,
    count_statistics,
    observed_volumes,
)

PLACES = {
    "cerebral white matter": ("cerebral_wm",),
    "cortex": ("cortical_gm",),
    "deep grey matter": ("deep_gm",),
    "cerebellum": ("cerebellar_gm", "cerebellar_wm"),
    "brainstem": ("brainstem",),
}


def main() -> None:
    """Draw, simulate, plot, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labelmaps", type=Path)
    parser.add_argument("--lesions", type=int, default=1500)
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    args = parser.parse_args()
    plt.switch_backend("Agg")
    rng = np.random.default_rng(args.seed)
    volumes = observed_volumes(args.lesions, rng)
    counts = cohort_counts(72 * 100, rng)
    regions = whole_scans(args.labelmaps, args.cases, args.seed) if args.labelmaps else pd.Series(dtype=str)
    args.out.mkdir(parents=True, exist_ok=True)
    plot(volumes, counts, regions, args.out / "simulated_statistics.png")
    print(table(volumes, counts, regions))


def whole_scans(folder: Path, cases: int, seed: int) -> pd.Series:
    """Return the region of every microbleed seen in whole simulated scans."""
    paths = sorted(folder.glob("*.nii.gz"))
    regions = []
    for number in range(cases):
        rng = np.random.default_rng([seed, number])
        image = nib.load(paths[number % len(paths)])
        labelmap = Volume(np.asanyarray(image.dataobj), image.affine)
        protocol = draw_protocol(rng, geometries=COHORT_GEOMETRIES, swi_share=0.0)
        case = simulate_training_case(labelmap, rng, protocol=protocol, n_lesions=70, mimic_load=0.1)
        regions.append(case.lesion_table["region"])
        print(f"{paths[number % len(paths)].name}: {len(case.lesion_table)} of at most 70 are seen", flush=True)
    return pd.concat(regions) if regions else pd.Series(dtype=str)


def shares(regions: pd.Series) -> dict[str, float]:
    """Return the share of each place: of whole scans, or as drawn if there are none."""
    if not len(regions):
        drawn = {REGIONS[number]: share for number, share in REGION_SHARES.items()}
        return {place: sum(drawn[name] for name in names) for place, names in PLACES.items()}
    return {place: float(regions.isin(names).mean()) for place, names in PLACES.items()}


def table(volumes: np.ndarray, counts: np.ndarray, regions: pd.Series) -> str:
    """Return the Markdown tables."""
    lines = ["| volume seen, mm3 | " + " | ".join(f"p{p}" for p in COHORT_VOLUMES) + " |"]
    lines.append("|---" * (len(COHORT_VOLUMES) + 1) + "|")
    lines.append("| VALDO | " + " | ".join(f"{v:g}" for v in COHORT_VOLUMES.values()) + " |")
    lines.append("| simulated | " + " | ".join(f"{np.percentile(volumes, p):.1f}" for p in COHORT_VOLUMES) + " |")
    diameters = np.cbrt(6 / np.pi * volumes)
    low, median, high = np.percentile(diameters, [5, 50, 95])
    lines.append(f"\nEqual-sphere diameter, simulated: median {median:.1f} mm, p5 {low:.1f}, p95 {high:.1f}\n")
    found = count_statistics(counts)
    lines.append("| microbleeds per scan | " + " | ".join(COHORT_COUNTS) + " |")
    lines.append("|---" * (len(COHORT_COUNTS) + 1) + "|")
    lines.append("| VALDO | " + " | ".join(f"{v:g}" for v in COHORT_COUNTS.values()) + " |")
    lines.append("| simulated | " + " | ".join(f"{found[name]:.2g}" for name in COHORT_COUNTS) + " |")
    lines.append("\n| place | " + " | ".join(COHORT_REGIONS) + " |")
    lines.append("|---" * (len(COHORT_REGIONS) + 1) + "|")
    lines.append("| VALDO | " + " | ".join(f"{v:.0%}" for v in COHORT_REGIONS.values()) + " |")
    lines.append("| simulated | " + " | ".join(f"{v:.0%}" for v in shares(regions).values()) + " |")
    return "\n".join(lines)


def plot(volumes: np.ndarray, counts: np.ndarray, regions: pd.Series, path: Path) -> None:
    """Draw volumes, diameters, places and counts, VALDO in black."""
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.2), layout="constrained")
    percentiles = np.arange(2, 99)
    axes[0].plot(np.percentile(volumes, percentiles), percentiles, label="simulated")
    axes[0].plot(list(COHORT_VOLUMES.values()), list(COHORT_VOLUMES), "ko", label="VALDO")
    axes[0].set(xscale="log", xlabel="volume seen (mm³)", ylabel="percentile")
    axes[0].legend()
    axes[1].plot(np.cbrt(6 / np.pi * np.percentile(volumes, percentiles)), percentiles)
    axes[1].plot((2.0, 2.7, 4.9), (5, 50, 95), "ko")
    axes[1].set(xlabel="equal-sphere diameter (mm)")
    places = shares(regions)
    y = np.arange(len(places))
    axes[2].barh(y, list(places.values()), height=0.6, alpha=0.7)
    axes[2].plot(list(COHORT_REGIONS.values()), y, "ko")
    axes[2].set(yticks=y, yticklabels=list(places), xlabel="share of microbleeds")
    axes[2].invert_yaxis()
    axes[3].plot(np.sort(counts), np.linspace(0, 100, len(counts)))
    axes[3].plot((0, 1, 2, 9, 83), (31, 50, 75, 90, 99.3), "ko")
    axes[3].set(xscale="symlog", xlim=(0, 110), xlabel="microbleeds per scan", ylabel="percentile of scans")
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
