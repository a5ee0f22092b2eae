"""The regions in which microbleeds are counted, from an atlas or a FreeSurfer segmentation.

Five regions as in Dadar et al. 2022 (cortical GM, deep GM, cerebral WM, cerebellar GM, cerebellar WM), and the
brainstem. Deep grey matter comes from the labels, cortex and white matter from the tissue; no voxel of tissue is left.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.imaging.intensity import dilate_mm
from mbseg_bids.imaging.labels import (
    BRAINSTEM,
    CEREBELLAR_GM,
    CEREBELLAR_WM,
    CEREBRAL_WM,
    CORTICAL_GM,
    CSF,
    DEEP_GM,
    GM,
    GREY_REGIONS,
    WHITE_REGIONS,
    WM,
)

CORTEX_REACH = 4.0
"""Grey matter farther than this (mm) from the cortex of the atlas is no cortex but WMH, or the rim of a ventricle."""
_FILL_MARGIN = 20
OUTSIDE_BRAIN = 500
"""Labels from here to 999 are tissue outside the brain in the atlas and in SynthSeg's label maps."""


def _freesurfer_table() -> dict[int, int]:
    table = dict.fromkeys(
        [10, 11, 12, 13, 26, 28, 49, 50, 51, 52, 58, 60], DEEP_GM
    )  # basal ganglia, thalamus, ventral DC
    table |= dict.fromkeys([9, 27, 48, 59], DEEP_GM)  # old numbers: thalamus, substantia nigra
    table |= dict.fromkeys(
        [3, 42, 17, 18, 19, 20, 53, 54, 55, 56], CORTICAL_GM
    )  # with hippocampus, amygdala, insula, operculum
    table |= dict.fromkeys(
        [2, 41, 77, 78, 79, 86, 192, 250, *range(251, 256)], CEREBRAL_WM
    )  # WMH, corpus callosum, fornix
    table |= dict.fromkeys([8, 47, 172, 179], CEREBELLAR_GM)  # with vermis, flocculus
    table |= dict.fromkeys([7, 46, 177], CEREBELLAR_WM)  # with that of the vermis
    table |= dict.fromkeys([16, 170, 173, 174, 175, 178], BRAINSTEM)  # whole, and its substructures
    table |= dict.fromkeys([*range(1000, 1036), *range(2000, 2036)], CORTICAL_GM)  # aparc+aseg (Desikan-Killiany, DKT)
    table |= dict.fromkeys([*range(11100, 11176), *range(12100, 12176)], CORTICAL_GM)  # aparc.a2009s+aseg (Destrieux)
    table |= dict.fromkeys([*range(3000, 3036), *range(4000, 4036), 5001, 5002], CEREBRAL_WM)  # wmparc
    return table


FREESURFER_REGIONS: dict[int, int] = _freesurfer_table()
"""FreeSurferColorLUT number -> region, for aseg, aparc+aseg, aparc.a2009s+aseg, wmparc, FastSurfer and SynthSeg."""
FREESURFER_CSF: frozenset[int] = frozenset([4, 5, 14, 15, 24, 31, 43, 44, 63, 72, 75, 76, 221, 257])
"""Ventricles, CSF, choroid plexus: no region."""
FREESURFER_LESION: frozenset[int] = frozenset([25, 30, 57, 62, 80, 81, 82])
"""Lesion, vessel and hypointensity of unknown place: they get the region around them."""


def regions_from_atlas(
    labels: npt.NDArray,
    tissue: npt.NDArray[np.uint8],
    spacing: tuple[float, float, float],
    wmh: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.uint8]:
    """Return the regions from warped atlas labels and the person's own tissue.

    Parameters
    ----------
    labels
        FreeSurfer numbers of the atlas on the person's grid, shape (i, j, k).
    tissue
        0 outside the brain, 1 CSF, 2 GM, 3 WM.
    spacing
        Voxel size, mm.
    wmh
        White-matter hyperintensities, if known.

    Returns
    -------
    uint8: each voxel of GM or WM has a region (1 to 6), all others 0.
    """
    place = region_of_number(labels)
    matter = (tissue == GM) | (tissue == WM)
    # What the atlas takes for CSF or skull goes with the nearest part of the brain, but never with deep grey matter.
    spread = nearest_label(np.where(place == DEEP_GM, 0, place), spacing, matter)
    spread = np.where(place == DEEP_GM, DEEP_GM, spread)
    grey = tissue == GM
    cortex = place == CORTICAL_GM
    near_cortex = dilate_mm(cortex, spacing, CORTEX_REACH)
    cerebrum = np.isin(spread, (CORTICAL_GM, CEREBRAL_WM))
    cerebellum = np.isin(spread, (CEREBELLAR_GM, CEREBELLAR_WM))
    regions = np.zeros(tissue.shape, np.uint8)
    regions[cerebrum] = np.where(grey & near_cortex, CORTICAL_GM, CEREBRAL_WM)[cerebrum]
    regions[cerebellum] = np.where(grey, CEREBELLAR_GM, CEREBELLAR_WM)[cerebellum]
    regions[spread == DEEP_GM] = DEEP_GM
    regions[spread == BRAINSTEM] = BRAINSTEM
    regions[~matter] = 0
    return correct_for_wmh(regions, wmh) if wmh is not None else regions


def regions_from_freesurfer(
    aseg: npt.NDArray, spacing: tuple[float, float, float], wmh: npt.NDArray[np.bool_] | None = None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], list[int]]:
    """Return regions and tissue from a FreeSurfer, FastSurfer or SynthSeg segmentation.

    Parameters
    ----------
    aseg
        FreeSurfer numbers, shape (i, j, k).
    spacing
        Voxel size, mm.
    wmh
        White-matter hyperintensities on the same grid, if known.

    Returns
    -------
    regions
        uint8, 0 to 6.
    tissue
        uint8: 1 CSF, 2 GM, 3 WM; the brainstem counts as WM. 0 where the segmentation is empty.
    unknown
        Numbers found that mean nothing here; their voxels stay empty.
    """
    aseg = np.asarray(aseg).astype(np.int32)
    regions = region_of_number(aseg)
    lesion = np.isin(aseg, list(FREESURFER_LESION))
    if lesion.any():
        regions = nearest_label(regions, spacing, lesion)
    if wmh is not None:
        regions = correct_for_wmh(regions, wmh)
    tissue = tissue_of_regions(regions)
    tissue[np.isin(aseg, list(FREESURFER_CSF))] = CSF
    known = {0, 85, *FREESURFER_REGIONS, *FREESURFER_CSF, *FREESURFER_LESION}  # 85: optic chiasm, outside the brain
    present = np.unique(aseg)
    return regions, tissue, [int(n) for n in present if n not in known and not OUTSIDE_BRAIN <= n < 1000]


def tissue_of_regions(regions: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
    """Return the tissue that regions imply: 2 GM, 3 WM, 0 where there is no region. The brainstem counts as WM."""
    tissue = np.zeros(regions.shape, np.uint8)
    tissue[np.isin(regions, GREY_REGIONS)] = GM
    tissue[np.isin(regions, WHITE_REGIONS)] = WM
    return tissue


def correct_for_wmh(regions: npt.NDArray[np.uint8], wmh: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Turn grey matter that is a white-matter hyperintensity into white matter (Dadar et al. 2022).

    Cortical and deep GM become cerebral WM, cerebellar GM becomes cerebellar WM.
    """
    corrected = regions.copy()
    corrected[wmh & np.isin(regions, (CORTICAL_GM, DEEP_GM))] = CEREBRAL_WM
    corrected[wmh & (regions == CEREBELLAR_GM)] = CEREBELLAR_WM
    return corrected


def nearest_label(
    labels: npt.NDArray, spacing: tuple[float, float, float], where: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray:
    """Give voxels without a label that of the nearest voxel (in mm) with one; unchanged where there is none.

    ``where`` limits this to some voxels, which is faster; only labels within 20 voxels of their bounding box count, if
    there are any.
    """
    filled = labels.copy()
    wanted = labels == 0 if where is None else where & (labels == 0)
    if not wanted.any() or not labels.any():
        return filled
    box = ndimage.find_objects(wanted.astype(np.uint8))[0]
    box = tuple(slice(max(0, b.start - _FILL_MARGIN), b.stop + _FILL_MARGIN) for b in box)
    if not labels[box].any():
        box = (slice(None),) * labels.ndim
    here = labels[box]
    index = ndimage.distance_transform_edt(here == 0, sampling=spacing, return_distances=False, return_indices=True)
    filled[box] = np.where(wanted[box], here[tuple(index)], here)
    return filled


def region_of_number(labels: npt.NDArray) -> npt.NDArray[np.uint8]:
    """Return the region of each FreeSurfer number, 0 for those without."""
    table = np.zeros(max(FREESURFER_REGIONS) + 2, np.uint8)
    table[list(FREESURFER_REGIONS)] = list(FREESURFER_REGIONS.values())
    return table[np.clip(np.asarray(labels).astype(np.int32), 0, len(table) - 1)]
