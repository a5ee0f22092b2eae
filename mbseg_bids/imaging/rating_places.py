"""The places in which a reader counts microbleeds, from a FreeSurfer parcellation or from the warped place atlas.

Both ways end in the same labels (:mod:`mbseg_bids.imaging.place_labels`). Grey matter, brainstem and cerebellum follow
the regions of the person, capsules and corpus callosum the atlas, and white matter within 10 mm of the person's own
lateral ventricles is deep, as the Microbleed Anatomical Rating Scale has it (Gregoire et al. 2009).
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.imaging.labels import (
    BRAINSTEM,
    CEREBELLAR_GM,
    CEREBELLAR_WM,
    CEREBRAL_WM,
    CORTICAL_GM,
    CSF,
    DEEP_GM,
)
from mbseg_bids.imaging.place_labels import (
    BASAL_GANGLIA,
    BRAINSTEM_PLACE,
    CEREBELLUM,
    CORPUS_CALLOSUM,
    DEEP_WM,
    FRONTAL,
    INSULA,
    LOBES,
    OCCIPITAL,
    PARIETAL,
    SIDES,
    TEMPORAL,
    THALAMUS,
    TRACTS,
)
from mbseg_bids.imaging.regions import nearest_label

DEEP_WM_REACH = 10.0
"""mm from the lateral ventricle (Gregoire et al. 2009)."""
VENTRICLE_REACH = 5.0
"""mm: how far the person's ventricle may reach beyond that of the warped atlas."""
LATERAL_VENTRICLES = (4, 5, 43, 44)
"""FreeSurfer numbers: lateral ventricle and its inferior horn, left and right."""
CALLOSUM_NUMBERS = (192, 250, *range(251, 256))
_SIDE_STEP = 20

# Parcels of Desikan-Killiany and DKT, by lobe, as on FreeSurfer's page CorticalParcellation. The cingulate has no lobe
# there of its own: its rostral and caudal anterior parts are frontal, posterior and isthmus parietal. 1: banks of the
# superior temporal sulcus. The corpus callosum (4) is no cortex.
_DESIKAN = {
    FRONTAL: (2, 3, 12, 14, 17, 18, 19, 20, 24, 26, 27, 28, 32),
    PARIETAL: (8, 10, 22, 23, 25, 29, 31),
    TEMPORAL: (1, 6, 7, 9, 15, 16, 30, 33, 34),
    OCCIPITAL: (5, 11, 13, 21),
    INSULA: (35,),
}
# Parcels of Destrieux et al. 2010 (doi:10.1016/j.neuroimage.2010.06.010), by the same lobes; sulci between two lobes go
# with the one in front of or above them. The pericallosal sulcus (67) runs along three: the nearest parcel decides.
_DESTRIEUX = {
    FRONTAL: (1, 3, 4, 5, 6, 7, 12, 13, 14, 15, 16, 24, 29, 31, 32, 39, 40, 46, 53, 54, 55, 63, 64, 65, 69, 70, 71),
    PARIETAL: (8, 9, 10, 25, 26, 27, 28, 30, 41, 47, 56, 57, 66, 68, 72),
    TEMPORAL: (21, 23, 33, 34, 35, 36, 37, 38, 44, 51, 61, 62, 73, 74, 75),
    OCCIPITAL: (2, 11, 19, 20, 22, 43, 45, 52, 58, 59, 60),
    INSULA: (17, 18, 48, 49, 50),
}


def _freesurfer_table() -> dict[int, int]:
    table: dict[int, int] = {}
    for side, aparc, destrieux, aseg in (
        ("left", 1000, 11100, {(17, 18): TEMPORAL, (9, 10): THALAMUS, (7, 8): CEREBELLUM}),
        ("right", 2000, 12100, {(53, 54): TEMPORAL, (48, 49): THALAMUS, (46, 47): CEREBELLUM}),
    ):
        offset = SIDES[side]
        for lobe in LOBES:
            table |= dict.fromkeys((aparc + n for n in _DESIKAN[lobe]), lobe + offset)
            table |= dict.fromkeys((destrieux + n for n in _DESTRIEUX[lobe]), lobe + offset)
        table |= {number: place + offset for numbers, place in aseg.items() for number in numbers}
    table |= dict.fromkeys((11, 12, 13, 26, 27, 28), BASAL_GANGLIA)  # with substantia nigra and ventral diencephalon
    table |= dict.fromkeys((50, 51, 52, 58, 59, 60), BASAL_GANGLIA + SIDES["right"])
    return table


FREESURFER_PLACES: dict[int, int] = _freesurfer_table()
"""FreeSurferColorLUT number -> label of a place, where the number tells place and side."""


def places_from_atlas(
    atlas: npt.NDArray[np.uint8],
    regions: npt.NDArray[np.uint8],
    ventricles: npt.NDArray[np.bool_],
    spacing: tuple[float, float, float],
) -> npt.NDArray[np.uint8]:
    """Return the places from the warped place atlas and the person's own regions and ventricles.

    Parameters
    ----------
    atlas
        Labels of the place atlas on the person's grid, shape (i, j, k).
    regions
        0 to 6 (:data:`mbseg_bids.imaging.labels.REGIONS`).
    ventricles
        The person's lateral ventricles, see :func:`ventricles_from_atlas`.
    spacing
        Voxel size, mm.

    Returns
    -------
    uint8: each voxel with a region has the label of a place, all others 0. Where the atlas has another kind of tissue,
    the nearest place that the region allows.
    """
    return _places(atlas, atlas, _only(atlas, LOBES), regions, ventricles, spacing)


def places_from_freesurfer(
    aseg: npt.NDArray,
    atlas: npt.NDArray[np.uint8],
    regions: npt.NDArray[np.uint8],
    spacing: tuple[float, float, float],
) -> npt.NDArray[np.uint8]:
    """Return the places from a FreeSurfer, FastSurfer or SynthSeg segmentation.

    Lobes come from its parcels (``aparc+aseg``, ``aparc.DKTatlas+aseg``, ``aparc.a2009s+aseg``), white matter going
    with the nearest one on its side; without parcels, from the atlas. The capsules, and what of the corpus callosum the
    segmentation takes for plain white matter, come from the atlas in any case.

    Parameters
    ----------
    aseg
        FreeSurfer numbers, shape (i, j, k).
    atlas, regions, spacing
        As for :func:`places_from_atlas`.
    """
    aseg = np.asarray(aseg).astype(np.int32)
    own = lookup_places(aseg)
    lobes = _only(own, LOBES) if ((aseg >= 1000) & (own > 0)).any() else _only(atlas, LOBES)
    # Its own deep grey matter and cerebellum stand in place of the atlas's.
    seeds = np.where(np.isin(_place(atlas), (BASAL_GANGLIA, THALAMUS, CEREBELLUM)), 0, atlas)
    seeds = np.where(np.isin(_place(own), (BASAL_GANGLIA, THALAMUS, CEREBELLUM)), own, seeds).astype(np.uint8)
    ventricles = np.isin(aseg, LATERAL_VENTRICLES)
    places = _places(atlas, seeds, lobes, regions, ventricles, spacing)
    callosum = np.isin(aseg, CALLOSUM_NUMBERS) & (regions == CEREBRAL_WM)
    places[callosum] = nearest_label(_only(atlas, (CORPUS_CALLOSUM,)), spacing, callosum)[callosum]
    known_side = np.select([np.isin(aseg, (2, 3)), np.isin(aseg, (41, 42))], [SIDES["left"], SIDES["right"]], 255)
    paired = (known_side < 255) & np.isin(_place(places), (*LOBES, DEEP_WM))
    places[paired] = _place(places)[paired] + known_side[paired].astype(np.uint8)
    return places


def ventricles_from_atlas(
    atlas: npt.NDArray, tissue: npt.NDArray[np.uint8], spacing: tuple[float, float, float]
) -> npt.NDArray[np.bool_]:
    """Return the person's lateral ventricles: CSF that is one with that of the warped region atlas's ventricles.

    Parameters
    ----------
    atlas
        FreeSurfer numbers of the region atlas on the person's grid, shape (i, j, k).
    tissue
        0 outside the brain, 1 CSF, 2 GM, 3 WM.
    spacing
        Voxel size, mm.
    """
    expected = np.isin(atlas, LATERAL_VENTRICLES)
    fluid = tissue == CSF
    start = expected & fluid
    if not start.any():
        return start
    return ndimage.binary_propagation(start, mask=fluid & _within(expected, VENTRICLE_REACH, spacing))


def deep_white_matter(
    white: npt.NDArray[np.bool_], ventricles: npt.NDArray[np.bool_], spacing: tuple[float, float, float]
) -> npt.NDArray[np.bool_]:
    """Return the voxels of white matter whose centre is at most 10 mm from that of a voxel of a lateral ventricle."""
    return white & _within(ventricles, DEEP_WM_REACH, spacing)


def lookup_places(aseg: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
    """Return the label of a place for each FreeSurfer number, 0 for those that do not tell."""
    table = np.zeros(max(FREESURFER_PLACES) + 2, np.uint8)
    table[list(FREESURFER_PLACES)] = list(FREESURFER_PLACES.values())
    return table[np.clip(aseg, 0, len(table) - 1)]


def _places(atlas, seeds, lobes, regions, ventricles, spacing) -> npt.NDArray[np.uint8]:
    """Give each region the nearest seed that it allows; white matter is divided into tracts, deep and lobar."""
    places = np.zeros(regions.shape, np.uint8)
    for members, allowed, source in (
        ((CORTICAL_GM,), LOBES, lobes),
        ((DEEP_GM,), (BASAL_GANGLIA, THALAMUS), seeds),
        ((BRAINSTEM,), (BRAINSTEM_PLACE,), seeds),
        ((CEREBELLAR_GM, CEREBELLAR_WM), (CEREBELLUM,), seeds),
    ):
        here = np.isin(regions, members)
        places[here] = nearest_label(_only(source, allowed), spacing, here)[here]
    white = regions == CEREBRAL_WM
    tracts = _only(seeds, TRACTS)
    places[white] = tracts[white]
    # White matter where the atlas has deep grey matter lies beside it: in a capsule, not in a lobe.
    inner = white & np.isin(_place(atlas), (BASAL_GANGLIA, THALAMUS))
    places[inner] = nearest_label(tracts, spacing, inner)[inner]
    rest = white & (places == 0)
    places[rest] = nearest_label(lobes, spacing, rest)[rest]
    deep = deep_white_matter(rest & (places > 0), ventricles, spacing)
    places[deep] = places[deep] - _place(places)[deep] + DEEP_WM
    return places


def _place(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return labels % _SIDE_STEP


def _only(labels: npt.NDArray[np.uint8], places: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    return np.where(np.isin(_place(labels), places), labels, 0).astype(np.uint8)


def _within(structure: npt.NDArray[np.bool_], reach: float, spacing: tuple[float, float, float]) -> npt.NDArray:
    """Return where the nearest voxel of a structure is at most ``reach`` mm away; nowhere if there is none."""
    near = np.zeros(structure.shape, bool)
    if not structure.any():
        return near
    margin = [int(reach / s) + 1 for s in spacing]
    box = ndimage.find_objects(structure.astype(np.uint8))[0]
    box = tuple(slice(max(0, b.start - m), b.stop + m) for b, m in zip(box, margin, strict=True))
    near[box] = ndimage.distance_transform_edt(~structure[box], sampling=spacing) <= reach + 1e-6
    return near
