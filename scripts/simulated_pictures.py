"""Pictures of docs/simulation.md: one simulated head, its microbleeds and every kind of mimic, zoomed.

python scripts/simulated_pictures.py LABELMAP [--seed 3] [--out docs/figures]
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np

from mbseg_bids.imaging.intensity import standardise
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation import acquisition as acq
from mbseg_bids.simulation import mimics, vessels
from mbseg_bids.simulation.anatomy import Anatomy, crop_to_brain, make_anatomy
from mbseg_bids.simulation.lesions import draw_microbleeds
from mbseg_bids.simulation.protocol import Protocol
from mbseg_bids.simulation.scan import acquire, paint_contrasts, render_features, white_matter_mean
from mbseg_bids.simulation.susceptibility import Feature

SCANS = {
    "T2*, 0.5 x 0.5 x 2 mm": Protocol(spacing=(0.5, 0.5, 2.0), echo_time=25, repetition_time=700),
    "SWI, 0.5 x 0.5 x 2 mm": Protocol(
        spacing=(0.5, 0.5, 2.0), swi=True, echo_time=20, repetition_time=30, flip_angle=15
    ),
    "T2*, 1 x 1 x 4 mm, ghosts": Protocol(spacing=(1.0, 1.0, 4.0), echo_time=28, motion=(0.8, 0, 0), kept=0.8),
}


def main() -> None:
    """Simulate, draw, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelmap", type=Path)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    args = parser.parse_args()
    plt.switch_backend("Agg")
    image = nib.load(args.labelmap)
    rng = np.random.default_rng(args.seed)
    labelmap = Volume(np.asanyarray(image.dataobj), image.affine)
    head = make_anatomy(labelmap, rng, age=74, atrophy=0.4, hyperintensities=0.5, n_lacunes=4)
    anatomy = crop_to_brain(head)
    features = one_of_each(anatomy, rng)
    args.out.mkdir(parents=True, exist_ok=True)
    scans = {name: scan(head, anatomy, features, protocol, args.seed) for name, protocol in SCANS.items()}
    slices(scans, args.out / "simulated_slices.png")
    zooms(next(iter(scans.values())), features, args.out / "simulated_lesions_and_mimics.png")


def one_of_each(anatomy: Anatomy, rng: np.random.Generator) -> list[Feature]:
    """Return microbleeds, and every kind of mimic at least once."""
    features = draw_microbleeds(anatomy, 14, rng)
    features += mimics.calcifications(anatomy, rng, probability=1.0) + mimics.cavernoma(anatomy, rng)
    features += mimics.superficial_siderosis(anatomy, rng) + mimics.old_haemorrhage(anatomy, rng)
    features += mimics.lacune_rims(anatomy, rng, probability=1.0)
    features += vessels.medullary_veins(anatomy, 25, rng) + vessels.sulcal_veins(anatomy, 50, rng)
    features += vessels.arteries(anatomy, 15, rng) + mimics.perivascular_spaces(anatomy, 12, rng)
    return features


def scan(head: Anatomy, anatomy: Anatomy, features: list[Feature], protocol: Protocol, seed: int) -> dict:
    """Return the three contrasts (0-100) on the native T2* grid, its affine, and what was rendered."""
    rng = np.random.default_rng(seed)
    contrasts = paint_contrasts(anatomy, protocol, features, rng)
    affine, shape = acq.scan_grid(anatomy, protocol.spacing)
    rendering = render_features(features, contrasts[0], affine, shape, protocol)
    dropout = acq.dropout_factor(acq.air_dephasing(head, protocol), affine, shape, protocol.echo_time)
    brain = acq.label_votes(anatomy.brain, anatomy.labels.affine, affine, shape) > 0
    images = []
    for number, contrast in enumerate(contrasts):
        taken = acquire(
            contrast, affine, shape, rng,
            sigma=white_matter_mean(contrast, anatomy) / 40, bias=0.05, ringing=0.3, kept=protocol.kept,
            motion=protocol.motion[number], modulation=rendering.ratio * dropout if number == 0 else None,
        )  # fmt: skip
        images.append(standardise(taken, brain))
    return {"images": images, "affine": affine, "rendering": rendering}


def show(axis: plt.Axes, image: np.ndarray, title: str = "") -> None:
    """Draw a slice (i, j) with the front up."""
    axis.imshow(image.T, cmap="gray", origin="lower", vmin=0, vmax=100)
    axis.set_title(title, fontsize=8)
    axis.axis("off")


def slices(scans: dict, path: Path) -> None:
    """Draw a slice of each scan at the height of the basal ganglia and one above the ventricles."""
    figure, axes = plt.subplots(2, len(scans), figsize=(2.6 * len(scans), 6.2), layout="constrained")
    for column, (name, made) in enumerate(scans.items()):
        image = made["images"][0]
        for row, height in enumerate((0.48, 0.68)):
            show(axes[row, column], image[..., int(height * image.shape[2])], name if row == 0 else "")
    figure.savefig(path, dpi=75)


def zooms(made: dict, features: list[Feature], path: Path, *, width: float = 28.0) -> None:
    """Draw windows about one feature of each kind, in T2*, T2w and T1w."""
    chosen = {feature.kind: feature for feature in reversed(features)}
    order = ["microbleed", *[kind for kind in mimics.MIMICS.values() if kind in chosen]]
    half = round(width / 2 / np.linalg.norm(made["affine"][:3, 0]))
    figure, axes = plt.subplots(3, len(order), figsize=(1.35 * len(order), 4.4), layout="constrained")
    for column, kind in enumerate(order):
        feature = chosen[kind]
        source = feature.sources[0]
        place = getattr(source, "centre", None) or source.points[len(source.points) // 2]
        i, j, k = np.rint(np.linalg.inv(made["affine"]) @ [*place, 1])[:3].astype(int)
        for row, image in enumerate(made["images"]):
            window = image[max(0, i - half) : i + half, max(0, j - half) : j + half, min(max(k, 0), image.shape[2] - 1)]
            show(axes[row, column], window, kind.replace("_", "\n") if row == 0 else "")
    for row, name in enumerate(("T2*", "T2w", "T1w")):
        axes[row, 0].text(-0.15, 0.5, name, transform=axes[row, 0].transAxes, rotation=90, va="center", fontsize=8)
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
