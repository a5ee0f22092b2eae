"""Pictures of docs/method.md: every step on a participant of `make demo`, each computed or read by the real code.

python scripts/method_pictures.py [demo] [--participant 01] [--session 01] [--out docs/figures]
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from scipy import ndimage

from mbseg_bids.detection.geometry.components import TOUCHING
from mbseg_bids.detection.rules.intensity_ratio import apply_intensity_ratio
from mbseg_bids.detection.search.mask import search_region
from mbseg_bids.imaging.grids import detection_grid, to_detection_grid
from mbseg_bids.imaging.labels import DEEP_GM, REGIONS
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.settings import DetectionSettings

COLOURS = ("#e69f00", "#d55e00", "#0072b2", "#cc79a7", "#56b4e9", "#009e73")
"""Of the regions, in their order; told apart by most colour-blind readers."""

WINDOW_MM = 28


class Steps:
    """What the demo's output says of one participant, on the detection grid, and what the code makes of it again."""

    def __init__(self, demo: Path, participant: str, session: str | None) -> None:
        labels = [f"sub-{participant}", *([f"ses-{session}"] if session else [])]
        place, name = Path(*labels, "anat"), "_".join(labels)
        self._stem = demo / "derivatives" / place / f"{name}_space-T2starw"
        self.raw = read(demo / "bids" / place / f"{name}_T2starw.nii.gz")
        self.grid = detection_grid(self.raw.shape, self.raw.affine)
        self.scanned = to_detection_grid(self.raw, self.grid).data
        self.t2star = self._native("desc-preproc_T2starw")
        self.t2w, self.t1w = (read(f"{self._stem}_desc-preproc_{name}.nii.gz").data for name in ("T2w", "T1w"))
        self.brain = self._native("desc-brain_mask", order=0) > 0
        self.regions = self._native("seg-regions_dseg", order=0).astype(int)
        self.probability = self._native("label-CMB_probseg")
        self.candidates = self._native("seg-CMBcandidates_dseg", order=0).astype(int)
        self.lesions = self._native("seg-CMB_dseg", order=0).astype(int)
        truth = demo / "bids" / "derivatives" / "truth" / place / f"{name}_space-T2starw_seg-CMB_dseg.nii.gz"
        self.truth = self._on_grid(truth, order=0) > 0
        self.table = pd.read_csv(f"{self._stem}_seg-CMBcandidates_dseg.tsv", sep="\t").set_index("index")
        self.certainty = pd.read_csv(f"{self._stem}_seg-CMB_dseg.tsv", sep="\t").set_index("index")["certainty"]
        self.spacing = Volume(self.t2star, self.grid.affine).spacing
        csf = self.brain & (self.regions == 0)
        self.mask, self.seeds = search_region(
            self.t2star, self.brain, csf.astype(int), self.spacing, DetectionSettings()
        )

    def _native(self, name: str, order: int = 1) -> np.ndarray:
        return self._on_grid(f"{self._stem}_{name}.nii.gz", order=order)

    def _on_grid(self, path: Path | str, order: int) -> np.ndarray:
        return to_detection_grid(read(path), self.grid, order=order).data

    def fate(self) -> np.ndarray:
        """Return 1 where a candidate fell to the ratio rule, 2 to the candidate classifier, 3 where it was kept."""
        order = {"intensity_ratio": 1, "second_look": 2}
        fates = np.zeros(self.candidates.shape, int)
        for index, row in self.table.iterrows():
            fates[self.candidates == index] = 3 if row["status"] == "kept" else order.get(row["reason"], 1)
        return fates

    def trimmed(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the components of the map, and what the ratio rule leaves of them."""
        settings = DetectionSettings()
        labels, _ = ndimage.label((self.probability >= settings.probability_threshold) & self.brain, TOUCHING)
        thresholds = dict.fromkeys(range(1, labels.max() + 1), settings.ratio_threshold)
        for label in thresholds:
            if np.bincount(self.regions[labels == label], minlength=7).argmax() == DEEP_GM:
                thresholds[label] = settings.ratio_threshold_deep_gm
        return labels, apply_intensity_ratio(self.t2star, labels, self.brain, self.spacing, thresholds).labels


def read(path: Path | str) -> Volume:
    """Read an image."""
    image = nib.load(path)
    return Volume(np.asarray(image.dataobj, dtype=np.float32), image.affine)


def main() -> None:
    """Draw both pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, nargs="?", default=Path("demo"), help="folder that make demo wrote")
    parser.add_argument("--participant", default="01")
    parser.add_argument("--session", default="01", help="of the participant; an empty text for none")
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    args = parser.parse_args()
    plt.switch_backend("Agg")
    steps = Steps(args.demo, args.participant, args.session)
    height = telling_slice(steps)
    args.out.mkdir(parents=True, exist_ok=True)
    deepest = int((steps.regions == DEEP_GM).sum(axis=(0, 1)).argmax())
    anatomy(steps, deepest, args.out / "method_anatomy.png")
    detection(steps, height, args.out / "method_detection.png")


def telling_slice(steps: Steps) -> int:
    """Return the slice with most fates of candidates, and of these the one with most candidates."""
    fates = steps.fate()
    scores = []
    for k in range(fates.shape[2]):
        right = (steps.truth & (fates == 3))[..., k].any()
        n_fates = len(np.unique(fates[..., k]))
        scores.append((right, n_fates, len(np.unique(steps.candidates[..., k]))))
    return max(range(len(scores)), key=scores.__getitem__)


def anatomy(steps: Steps, k: int, path: Path) -> None:
    """Draw one slice through the steps from the scan to standardised images."""
    figure, axes = plt.subplots(2, 3, figsize=(7.5, 6.6), layout="constrained")
    crop = window_of(steps.brain[..., k], 8)
    show(axes[0, 0], steps.scanned[..., k], crop, "T2* as scanned", top=float(steps.scanned[..., k].max()))
    show(axes[0, 1], steps.scanned[..., k], crop, "brain mask", top=float(steps.scanned[..., k].max()))
    outline(axes[0, 1], steps.brain[..., k], crop, "#f0e442")
    show(axes[0, 2], steps.t2star[..., k], crop, "bias corrected, 0-100")
    show(axes[1, 0], steps.t2w[..., k], crop, "T2w, registered")
    show(axes[1, 1], steps.t1w[..., k], crop, "T1w, registered")
    for axis in (axes[1, 0], axes[1, 1]):
        outline(axis, steps.brain[..., k], crop, "#f0e442")
    show(axes[1, 2], steps.t2star[..., k], crop, "regions; CSF is what is left")
    overlay(axes[1, 2], steps.regions[..., k], crop, COLOURS, alpha=0.55)
    for number, name in REGIONS.items():
        if (steps.regions[..., k] == number).any():
            axes[1, 2].plot([], [], "s", color=COLOURS[number - 1], label=name.replace("_", " "))
    axes[1, 2].legend(fontsize=6, loc="upper left", frameon=True)
    figure.savefig(path, dpi=80)


def detection(steps: Steps, k: int, path: Path) -> None:
    """Draw the same slice through the steps from images to lesions, and the ratio rule enlarged."""
    figure, axes = plt.subplots(2, 3, figsize=(7.5, 5.6), layout="constrained")
    crop = window_of(steps.brain[..., k], 8)
    fates, (labels, kept) = steps.fate(), steps.trimmed()
    show(axes[0, 0], steps.t2star[..., k], crop, "search mask (blue) and where it starts")
    overlay(axes[0, 0], steps.mask[..., k] * 1 + (steps.seeds & steps.mask)[..., k], crop, ("#56b4e9", "#d55e00"))
    show(axes[0, 1], steps.t2star[..., k], crop, "probability of the network")
    asked = np.ma.masked_less(steps.probability[..., k][crop], 0.02)
    drawn = axes[0, 1].imshow(asked.T, cmap="plasma", vmin=0, vmax=1, origin="lower", interpolation="nearest")
    figure.colorbar(drawn, ax=axes[0, 1], shrink=0.6, pad=0.01).ax.tick_params(labelsize=6)
    show(axes[0, 2], steps.t2star[..., k], crop, "candidates")
    overlay(axes[0, 2], fates[..., k], crop, ("#cc79a7", "#e69f00", "#009e73"), alpha=1)
    for colour, text in (("#cc79a7", "ratio rule"), ("#e69f00", "candidate classifier"), ("#009e73", "kept")):
        axes[0, 2].plot([], [], "s", color=colour, label=text)
    axes[0, 2].legend(fontsize=6, loc="upper left", frameon=True)
    ratio_rule(axes[1, 0], steps, labels, kept)
    show(axes[1, 1], steps.t2star[..., k], crop, "lesions: definite, possible (dashed)")
    for index, certainty in steps.certainty.items():
        style = "-" if certainty == "definite" else ":"
        outline(
            axes[1, 1], ndimage.binary_dilation(steps.lesions[..., k] == index, iterations=2), crop, "#009e73", style
        )
    show(axes[1, 2], steps.t2star[..., k], crop, "simulated truth")
    outline(axes[1, 2], ndimage.binary_dilation(steps.truth[..., k], iterations=2), crop, "#f0e442")
    figure.savefig(path, dpi=80)


def ratio_rule(axis: plt.Axes, steps: Steps, labels: np.ndarray, kept: np.ndarray) -> None:
    """Draw the candidate that lost most of its voxels and stayed: its ring, what was removed, what is left."""
    sizes = np.bincount(labels.ravel(), minlength=labels.max() + 1)
    left = np.bincount(labels[kept > 0], minlength=labels.max() + 1)
    lost = np.where(left > 0, sizes - left, 0)
    lost[0] = 0
    chosen = int(lost.argmax())
    where = np.argwhere(labels == chosen)
    k = int(np.median(where[:, 2]))
    i, j = np.rint(where[:, :2].mean(axis=0)).astype(int)
    half = WINDOW_MM // 2
    crop = np.s_[max(0, i - half) : i + half, max(0, j - half) : j + half]
    own = labels[..., k] == chosen
    ring = ndimage.binary_dilation(own, ndimage.generate_binary_structure(2, 1), iterations=2)
    ring &= (labels[..., k] == 0) & steps.brain[..., k]
    show(
        axis, steps.t2star[..., k], crop, "ratio rule: ring, removed, kept", top=float(steps.t2star[..., k][crop].max())
    )
    picture = ring * 1 + (own & (kept[..., k] == 0)) * 2 + (own & (kept[..., k] > 0)) * 3
    overlay(axis, picture, crop, ("#56b4e9", "#d55e00", "#009e73"), alpha=0.5)


def window_of(mask: np.ndarray, margin: int) -> tuple[slice, ...]:
    """Return the box of a mask with a margin."""
    (box,) = ndimage.find_objects(mask.astype(int))
    return tuple(slice(max(0, side.start - margin), side.stop + margin) for side in box)


def show(axis: plt.Axes, image: np.ndarray, crop: tuple[slice, ...], title: str, top: float = 100) -> None:
    """Draw a part of a slice (i, j), front up."""
    axis.imshow(image[crop].T, cmap="gray", vmin=0, vmax=top, origin="lower", interpolation="nearest")
    axis.set_title(title, fontsize=8)
    axis.axis("off")


def overlay(
    axis: plt.Axes, labels: np.ndarray, crop: tuple[slice, ...], colours: tuple[str, ...], alpha: float = 0.8
) -> None:
    """Paint labels 1, 2, ... in their colours."""
    shown = np.ma.masked_equal(labels[crop].T, 0)
    axis.imshow(
        shown, cmap=ListedColormap(list(colours)), vmin=1, vmax=len(colours), alpha=alpha, origin="lower",
        interpolation="nearest",
    )  # fmt: skip


def outline(axis: plt.Axes, mask: np.ndarray, crop: tuple[slice, ...], colour: str, style: str = "-") -> None:
    """Draw the edge of a mask."""
    if mask[crop].any():
        axis.contour(mask[crop].T, levels=[0.5], colors=colour, linewidths=1.0, linestyles=style)


if __name__ == "__main__":
    main()
