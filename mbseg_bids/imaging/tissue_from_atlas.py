"""CSF, grey and white matter in a session without T1w: CSF from the image, grey and white matter from the atlas.

On T2w and T2* CSF stands out, but grey and white matter often do not, and iron makes deep grey matter as dark as white
matter. So the image decides what is CSF, wherever its ventricles are brighter than its tissue, and the warped atlas
what is grey and white matter.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.imaging.labels import CSF, GM, WM
from mbseg_bids.imaging.regions import FREESURFER_CSF, nearest_label, region_of_number, tissue_of_regions
from mbseg_bids.imaging.tissue import fill_csf_islands
from mbseg_bids.imaging.volume import Volume

VENTRICLES = (4, 43)
"""FreeSurfer numbers of the lateral ventricles, the CSF that an atlas finds best."""
SMALLEST_DIFFERENCE = 2.0
"""Smallest distance of ventricles and grey (and white) matter, in robust standard deviations of that tissue, at which
the image decides what is CSF. Below it (SWI, T2* with a short echo time) the atlas does."""
SMALLEST_CORE = 20
"""Voxels of ventricle away from its wall that are enough to know the signal of CSF."""


def tissue_without_t1w(
    image: Volume, brain: npt.NDArray[np.bool_], atlas: npt.NDArray, contrast: str
) -> tuple[npt.NDArray[np.uint8], list[str]]:
    """Label CSF, grey and white matter on a T2w or T2* image.

    Parameters
    ----------
    image
        Bias corrected.
    brain
        Its mask.
    atlas
        FreeSurfer numbers of the region atlas, warped onto the image.
    contrast
        ``T2w`` or ``T2starw``, for sentences.

    Returns
    -------
    uint8, 0 outside the brain, 1 CSF, 2 GM, 3 WM; and warnings.
    """
    place = tissue_of_regions(region_of_number(atlas))
    in_atlas = np.isin(atlas, list(FREESURFER_CSF))
    threshold = csf_threshold(np.asarray(image.data, np.float32), brain, atlas, place)
    warnings = []
    if threshold is None:
        csf = in_atlas
        warnings.append(f"CSF does not stand out on {contrast}: it was taken from the template")
    else:
        csf = image.data > threshold
    matter = brain & ~csf
    tissue = np.where(matter, nearest_label(place, image.spacing, matter), 0).astype(np.uint8)
    tissue[brain & (tissue == 0)] = CSF
    return fill_csf_islands(tissue, image.spacing), warnings


def csf_threshold(
    values: npt.NDArray, brain: npt.NDArray[np.bool_], atlas: npt.NDArray, matter: npt.NDArray[np.uint8]
) -> float | None:
    """Return the signal above which a voxel is CSF: halfway from the brain's tissue to the ventricles.

    Parameters
    ----------
    values
        Of the image, shape (i, j, k).
    brain
        Its mask.
    atlas
        FreeSurfer numbers on its grid.
    matter
        2 grey and 3 white matter by the atlas, 0 elsewhere.

    Returns
    -------
    None if the ventricles are not clearly brighter than both.
    """
    ventricles = brain & np.isin(atlas, VENTRICLES)
    core = ndimage.binary_erosion(ventricles)
    ventricles = core if np.count_nonzero(core) >= SMALLEST_CORE else ventricles
    tissues = [values[brain & (matter == label)] for label in (GM, WM)]
    if not ventricles.any() or not all(part.size for part in tissues):
        return None
    fluid = float(np.median(values[ventricles]))
    for part in tissues:
        middle = float(np.median(part))
        spread = 1.4826 * float(np.median(np.abs(part - middle)))  # of a Gaussian with this median deviation
        if fluid - middle < SMALLEST_DIFFERENCE * max(spread, 1e-6):
            return None
    return (float(np.median(np.concatenate(tissues))) + fluid) / 2
