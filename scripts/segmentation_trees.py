"""Trees of segmentations that ``mbseg evaluate`` compares: what is found in simulated scans, and their truth."""

from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pandas as pd

from mbseg_bids.detection.geometry.location import locate
from mbseg_bids.detection.lesions.tables import measure, write_table
from mbseg_bids.learning.examples.labelled_scan import LabelledScan


def truth_table(scan: LabelledScan) -> pd.DataFrame:
    """Return size and region of the true microbleeds."""
    regions = locate(scan.lesions.astype(np.int32), scan.regions.astype(np.int32), scan.spacing)
    rows = measure(scan.lesions.astype(np.int32), scan.affine, 2)
    return pd.DataFrame([{"index": n, "region": regions[n].region, **row} for n, row in rows.items()]).reindex(
        columns=["index", "region", "volume_mm3", "n_voxels", "diameter_mm"]
    )


def write_segmentation(
    tree: Path, label: str, labels: npt.NDArray, table: pd.DataFrame, affine: npt.NDArray, segment: str = "CMB"
) -> None:
    """Write one segmentation with its table, as the BIDS App does."""
    stem = tree / label / "anat" / f"{label}_space-T2starw_seg-{segment}_dseg"
    stem.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(labels.astype(np.int16), affine), f"{stem}.nii.gz")
    write_table(table, Path(f"{stem}.tsv"))
