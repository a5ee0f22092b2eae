"""CSF, grey and white matter in a session without T1w: CSF from the image, grey and white matter from the atlas.

On T2w and T2* CSF stands out, but grey and white matter often do not, and iron makes deep grey matter as dark as white
matter. So the image decides what is CSF, wherever its ventricles are brighter than its tissue, and the warped atlas
what is grey and white matter.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.imaging.labels import CEREBELLAR_GM, CORTICAL_GM, CSF, DEEP_GM, GM, WM
from mbseg_bids.imaging.regions import FREESURFER_CSF, FREESURFER_REGIONS, nearest_label
from mbseg_bids.imaging.tissue import fill_csf_islands
from mbseg_bids.imaging.volume import Volume

VENTRICLES = (4, 43)
"""FreeSurfer numbers of the lateral ventricles, the CSF that an atlas finds best."""
GREY = (CORTICAL_GM, DEEP_GM, CEREBELLAR_GM)
SMALLEST_DIFFERENCE = 2.0
"""Smallest distance of ventricles and tissue, in robust standard deviations of tissue, at which the image decides what
is CSF. Below it (SWI, T2* with a short echo time) the atlas does."""


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
    place = np.zeros(atlas.shape, np.uint8)
    for number in np.unique(atlas).tolist():
        if number in FREESURFER_REGIONS:
            place[atlas == number] = GM if FREESURFER_REGIONS[number] in GREY else WM
    in_atlas = np.isin(atlas, list(FREESURFER_CSF))
    threshold = csf_threshold(np.asarray(image.data, np.float32), brain, atlas, place > 0)
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
    values: npt.NDArray, brain: npt.NDArray[np.bool_], atlas: npt.NDArray, matter: npt.NDArray[np.bool_]
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
        Grey and white matter by the atlas.

    Returns
    -------
    None if the ventricles are not clearly brighter than tissue.
    """
    ventricles = brain & np.isin(atlas, VENTRICLES)
    core = ndimage.binary_erosion(ventricles)
    ventricles = core if np.count_nonzero(core) >= 20 else ventricles
    tissue = values[brain & matter]
    if not ventricles.any() or not tissue.size:
        return None
    middle = float(np.median(tissue))
    spread = 1.4826 * float(np.median(np.abs(tissue - middle)))  # of a Gaussian with this median deviation
    fluid = float(np.median(values[ventricles]))
    if fluid - middle < SMALLEST_DIFFERENCE * max(spread, 1e-6):
        return None
    return (middle + fluid) / 2
