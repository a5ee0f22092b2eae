"""A small scan of known content, and what a run leaves of it."""

import json
from dataclasses import dataclass

import nibabel as nib
import numpy as np

from mbseg_bids.imaging.labels import CORTICAL_GM, CSF, GM, WM
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.planting import places
from mbseg_bids.planting.plant import Acquisition, Site

SHAPE = (64, 60, 26)
SPACING = (1.0, 1.0, 2.0)
VESSEL = np.s_[12:36, 16, 12]
OLD = np.s_[44:47, 40:43, 12:14]
"""A lesion that the run reported."""
ACQUISITION = Acquisition(20.0, 3.0)


@dataclass
class Phantom:
    """Arrays of the T2* grid, axis 2 across slices, and its affine."""

    t2star: np.ndarray
    brain: np.ndarray
    regions: np.ndarray
    lesions: np.ndarray
    affine: np.ndarray

    @property
    def tissue(self):
        return np.where(self.regions == CORTICAL_GM, GM, np.where(self.regions > 0, WM, np.where(self.brain, CSF, 0)))

    @property
    def dark(self):
        return places.dark_structures(self.t2star, self.brain, self.tissue, SPACING)

    def site(self):
        ground = places.survey(self.regions, self.brain, self.dark, self.lesions, self.lesions, SPACING)
        dark = self.dark | (self.lesions > 0)
        return Site(Volume(self.t2star, self.affine), self.brain, self.regions > 0, dark, ground)


def make_phantom():
    """White matter with cortex on one side, CSF on the other, a vessel, and a lesion that was there before."""
    rng = np.random.default_rng(3)
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = (-30.0, -28.0, -20.0)
    t2star = rng.normal(60, 1, SHAPE).astype(np.float32)
    brain = np.zeros(SHAPE, bool)
    brain[3:-3, 3:-3, 1:-1] = True
    regions = np.where(brain, 3, 0).astype(np.int32)
    regions[50:] = np.where(brain[50:], 1, 0)
    regions[:, 48:] = 0
    t2star[:, 48:] = 95
    lesions = np.zeros(SHAPE, np.int32)
    lesions[OLD] = 1
    t2star[VESSEL], t2star[OLD] = 25, 10
    return Phantom(t2star, brain, regions, lesions, affine)


def write_session(root, label, phantom, **metadata):
    """Write what a run leaves of one session."""
    stem = root / f"sub-{label}" / "anat" / f"sub-{label}_space-T2starw"
    stem.parent.mkdir(parents=True, exist_ok=True)
    images = {
        "desc-preproc_T2starw": phantom.t2star,
        "desc-preproc_T1w": np.where(phantom.brain, 50, 0).astype(np.float32),
        "desc-brain_mask": phantom.brain.astype(np.uint8),
        "seg-regions_dseg": phantom.regions.astype(np.uint8),
        "seg-CMB_dseg": phantom.lesions.astype(np.uint8),
        "seg-CMBcandidates_dseg": phantom.lesions.astype(np.uint8),
    }
    for name, data in images.items():
        nib.save(nib.Nifti1Image(data, phantom.affine), f"{stem}_{name}.nii.gz")
    metadata = metadata or {"EchoTime": 0.02, "MagneticFieldStrength": 3}
    summary = {
        "inputs": {"T2starw": {"path": "x", "metadata": metadata}},
        "settings": {"detection": {"second_look": False, "weights": "default", "of_a_later_version": 1}},
    }
    logs = root / "logs"
    logs.mkdir(exist_ok=True)
    (logs / f"sub-{label}_summary.json").write_text(json.dumps(summary))
    (logs / f"sub-{label}_done.json").write_text("{}")
