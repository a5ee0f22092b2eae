"""Small derivative trees of lesion segmentations, made by hand."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

SPACING = (2.0, 2.0, 2.0)
"""mm: every voxel has 8 mm3."""
SHAPE = (4, 4, 4)


def write_image(tree, stem, ending, data, affine=None, spacing=SPACING) -> Path:
    """Write one image of a scan; ``stem`` is ``sub-X[_ses-Y]``, ``ending`` what follows ``space-T2starw_``."""
    folder = Path(tree).joinpath(*[p for p in stem.split("_") if p.startswith(("sub-", "ses-"))], "anat")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}_space-T2starw_{ending}.nii.gz"
    nib.save(nib.Nifti1Image(data, np.diag([*spacing, 1.0]) if affine is None else affine), path)
    return path


def write_lesions(tree, stem, voxels, regions=None, shape=SHAPE, ending="seg-CMB_dseg", **grid) -> Path:
    """Write a label map: ``voxels`` maps a label to its voxels; ``regions`` (label to name) makes a table beside it."""
    data = np.zeros(shape, dtype=np.uint16)
    for label, places in voxels.items():
        for place in places:
            data[place] = label
    path = write_image(tree, stem, ending, data, **grid)
    if regions is not None:
        rows = [{"index": label, "name": f"CMB-{label:03d}", "region": region} for label, region in regions.items()]
        write_table(path, pd.DataFrame(rows, columns=["index", "name", "region"]))
    return path


def write_table(image, table) -> Path:
    """Write the table beside an image."""
    path = Path(str(image).replace(".nii.gz", ".tsv"))
    table.to_csv(path, sep="\t", index=False, na_rep="n/a")
    return path
