"""A page of the candidates that each step rejected, to be looked at: T2* crops with outline, reason and measure.

    python scripts/rejected_page.py OUTPUT_DIR PAGE.png [--reason not_in_parenchyma ...] [--most 12]

OUTPUT_DIR is of ``mbseg-bids``. One row for each reason; the kept ones come last.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
import numpy.typing as npt
import pandas as pd

from mbseg_bids.detection.geometry.components import middle_voxels
from mbseg_bids.detection.lesions.tables import REASONS
from mbseg_bids.imaging.grids import slice_axis

FIELD_MM = 30.0
"""Side of a crop."""
CANDIDATES = "_space-T2starw_seg-CMBcandidates_dseg.tsv"
MEASURES = {
    "not_in_parenchyma": ("parenchyma_share",),
    "bright_core": ("core_brightness",),
    "continues_as_vessel": ("vessel_in_plane", "vessel_across_slices"),
    "diamagnetic": ("susceptibility_moment", "moment_error"),
    "above_maximum_size": ("longest_diameter_mm",),
    "second_look": ("evidence_against", "lesion_probability"),
    "intensity_ratio": ("contrast_ratio",),
    "kept": ("parenchyma_share", "lesion_probability"),
}


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("--reason", nargs="+", choices=[*REASONS, "kept"], default=[*REASONS, "kept"])
    parser.add_argument("--most", type=int, default=12, help="crops in a row")
    args = parser.parse_args()
    crops = [crop for table in sorted(args.output_dir.glob(f"sub-*/**/*{CANDIDATES}")) for crop in session(table)]
    draw(crops, args.reason, args.most, args.page)


def session(table: Path) -> list[tuple[str, str, npt.NDArray, npt.NDArray, float]]:
    """Return the crops of one session, see :func:`crops_of`."""
    stem = table.name.removesuffix(CANDIDATES)
    t2star = nib.load(table.with_name(f"{stem}_space-T2starw_desc-preproc_T2starw.nii.gz"))
    labels = nib.load(table.with_name(table.name.replace(".tsv", ".nii.gz")))
    axis = slice_axis(t2star.affine)
    images = [np.moveaxis(np.asanyarray(image.dataobj), axis, 2) for image in (t2star, labels)]
    spacing = np.linalg.norm(t2star.affine[:3, :3], axis=0)
    in_plane = [float(spacing[a]) for a in range(3) if a != axis]
    rows = pd.read_csv(table, sep="\t", keep_default_na=False)
    return crops_of(images[0], images[1], rows, (in_plane[0], in_plane[1]), stem)


def crops_of(
    t2star: npt.NDArray, labels: npt.NDArray, table: pd.DataFrame, in_plane: tuple[float, float], name: str
) -> list[tuple[str, str, npt.NDArray, npt.NDArray, float]]:
    """Return (reason, caption, T2*, outline mask, aspect) of each candidate; arrays with the slices along axis 2."""
    middles, found = middle_voxels(labels), []
    half = [round(FIELD_MM / 2 / s) for s in in_plane]
    for row in table.to_dict("records"):
        label = int(row["index"])
        if label not in middles:
            continue
        i, j, k = middles[label]
        window = (slice(max(0, i - half[0]), i + half[0] + 1), slice(max(0, j - half[1]), j + half[1] + 1), k)
        reason = "kept" if row["status"] == "kept" else str(row["reason"])
        values = [row[measure] for measure in MEASURES.get(reason, ())]
        shown = ", ".join(v if isinstance(v, str) else f"{v:.2f}" for v in values)
        caption = f"{name} {row['name']}\n{shown}"
        found.append((reason, caption, t2star[window], labels[window] == label, in_plane[1] / in_plane[0]))
    return found


def draw(
    crops: list[tuple[str, str, npt.NDArray, npt.NDArray, float]], reasons: list[str], most: int, page: Path
) -> None:
    """Write one row of crops for each reason that there is."""
    rows = {reason: [crop for crop in crops if crop[0] == reason] for reason in reasons}
    rows = {reason: of_reason for reason, of_reason in rows.items() if of_reason}
    figure, axes = plt.subplots(max(1, len(rows)), most, figsize=(1.7 * most, 2.1 * max(1, len(rows))), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for line, (reason, of_reason) in zip(axes, rows.items(), strict=False):
        line[0].text(-0.1, 1.3, f"{reason}: {len(of_reason)}", transform=line[0].transAxes, weight="bold")
        for axis, (_, caption, image, own, aspect) in zip(line, of_reason, strict=False):
            axis.imshow(image.T, cmap="gray", origin="lower", aspect=aspect, vmin=0, vmax=100)
            axis.contour(own.T, [0.5], colors="orange", linewidths=0.8)
            axis.set_title(caption, fontsize=6)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.9, hspace=0.55)
    figure.savefig(page, dpi=110)


if __name__ == "__main__":
    main()
