"""Output of the BIDS App, and manual masks, made of a few boxes."""

import nibabel as nib
import numpy as np

SHAPE, SPACING = (70, 80, 6), (0.5, 0.5, 3.0)
"""Of the T2*-weighted image; the detection grid has 35 x 40 x 6 voxels of 1 x 1 x 3 mm."""


class LabelledTree:
    """Output of the BIDS App, and masks, for scans made of a few boxes."""

    def __init__(self, root, rng):
        self.output, self.labels, self._rng = root / "output", root / "labels", rng
        self.affine = np.diag([*SPACING, 1.0])
        self.affine[:3, 3] = (-17.0, -20.0, 4.0)

    def add(self, participant, boxes=(), *, contrasts=("T2w", "T1w"), labelled=True, affine=None, shape=SHAPE):
        """Add a scan with a dark box (slices of native voxels) for each lesion; return the path of its mask."""
        from mbseg_bids.imaging.grids import detection_grid

        folder = self.output / f"sub-{participant}" / "anat"
        stem = f"sub-{participant}_space-T2starw"
        t2star = self._rng.uniform(60, 70, SHAPE).astype(np.float32)
        mask = np.zeros(shape, np.uint8)
        for box in boxes:
            t2star[box] = 5
            mask[box] = 1
        brain = np.zeros(SHAPE, np.uint8)
        brain[6:-6, 6:-6] = 1
        regions = np.where(brain, 3, 0).astype(np.uint8)
        regions[6:20] = 0  # CSF
        regions[20:30, 6:-6] = 1
        save(folder / f"{stem}_desc-preproc_T2starw.nii.gz", t2star, self.affine)
        save(folder / f"{stem}_desc-brain_mask.nii.gz", brain, self.affine)
        save(folder / f"{stem}_seg-regions_dseg.nii.gz", regions, self.affine)
        grid = detection_grid(SHAPE, self.affine)
        for level, contrast in enumerate(contrasts, start=1):
            values = np.full(grid.shape, 20 * level, np.float32)
            save(folder / f"{stem}_desc-preproc_{contrast}.nii.gz", values, grid.affine)
        path = self.labels / f"sub-{participant}" / "anat" / f"{stem}_label-CMB_mask.nii.gz"
        if labelled:
            save(path, mask, self.affine if affine is None else affine)
        return path


def save(path, data, affine):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)
