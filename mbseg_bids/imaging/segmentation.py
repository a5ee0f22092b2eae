"""Tissue and regions of one person on the anatomical image: from it and the atlas, or from a segmentation that exists.

The anatomical image is the T1w; "T1w" below is a T2w or T2* image in a session that has no T1w.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mbseg_bids.contrasts import TITLES
from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.imaging.brain import dice
from mbseg_bids.imaging.grids import Grid
from mbseg_bids.imaging.labels import BRAINSTEM, CEREBELLAR_GM, CEREBRAL_WM, CORTICAL_GM, CSF, DEEP_GM, REGIONS
from mbseg_bids.imaging.rating_places import places_from_atlas, places_from_freesurfer, ventricles_from_atlas
from mbseg_bids.imaging.regions import nearest_label, regions_from_atlas, regions_from_freesurfer
from mbseg_bids.imaging.registration_check import check_rigid, register_pair
from mbseg_bids.imaging.template import load_place_atlas, load_region_atlas
from mbseg_bids.imaging.tissue import fill_csf_islands, grey_white_contrast, segment_tissue
from mbseg_bids.imaging.tissue_from_atlas import tissue_without_t1w
from mbseg_bids.imaging.transforms import PointField, resample
from mbseg_bids.imaging.volume import Volume

ASEG_OVERLAP = 0.8
"""Smallest Dice overlap of a reused segmentation with the brain mask; CSF at the rim counts only in the latter."""


SMALLEST_CONTRAST = 3.0
"""Distance of grey and white matter on T1w, in standard deviations, below which there is a warning.

Measured: about 7 on a 3-D T1w of 1 mm, 1.4 on a clinical 2-D T1w whose histogram has one peak for both."""


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Labels on the grid of the anatomical image."""

    tissue: npt.NDArray[np.uint8]
    """0 outside the brain, 1 CSF, 2 GM, 3 WM."""
    regions: npt.NDArray[np.uint8]
    """1 to 6 for each voxel of GM and WM, else 0."""
    places: npt.NDArray[np.uint8]
    """Where a reader would say that the voxel lies (:mod:`mbseg_bids.imaging.place_labels`), else 0."""
    warnings: tuple[str, ...]

    def volumes(self, voxel_volume: float) -> dict[str, float]:
        """Return the volume of each region in ml; ``voxel_volume`` in mm3."""
        counts = np.bincount(self.regions.ravel(), minlength=max(REGIONS) + 1)
        return {name: round(float(counts[number] * voxel_volume / 1000), 1) for number, name in REGIONS.items()}


def segment(
    t1w: Volume,
    brain: npt.NDArray[np.bool_],
    template_to_t1w: PointField,
    *,
    contrast: str = "T1w",
    aseg: Volume | None = None,
    t1w_aseg_space: Volume | None = None,
    wmh_mask: Volume | None = None,
) -> Segmentation:
    """Find tissue, regions and places.

    Parameters
    ----------
    t1w
        Bias corrected.
    brain
        Mask, shape of ``t1w``.
    template_to_t1w
        Takes T1w points to template points: brings the atlas onto T1w.
    contrast
        What the anatomical image shows: ``T1w``, ``T2w`` or ``T2starw``.
    aseg
        FreeSurfer numbers in the world space of T1w, any grid; used instead of image and atlas.
    t1w_aseg_space
        T1w image on the grid of ``aseg``, to register where the two do not lie together.
    wmh_mask
        White-matter hyperintensities in the world space of T1w, any grid.

    Raises
    ------
    UnreadableDataError
        If ``aseg`` lies elsewhere and nothing tells where.
    """
    grid = Grid(t1w.shape, t1w.affine)
    wmh = None if wmh_mask is None else resample(_as_mask(wmh_mask), grid, order=0).data > 0
    place_atlas = resample(load_place_atlas(), grid, [template_to_t1w], order=0).data
    if aseg is not None:
        return _from_aseg(t1w, brain, aseg, t1w_aseg_space, wmh, contrast, place_atlas)
    atlas = resample(load_region_atlas(), grid, [template_to_t1w], order=0).data
    if contrast == "T1w":
        tissue, warnings = segment_tissue(t1w.data, brain, t1w.spacing), []
        apart = grey_white_contrast(t1w.data, brain, t1w.spacing)
        if apart < SMALLEST_CONTRAST:
            warnings.append(
                f"T1w hardly tells grey from white matter (contrast {apart:.1f}, below {SMALLEST_CONTRAST:g}):"
                " the border between cortical_gm and cerebral_wm is a guess"
            )
    else:
        tissue, warnings = tissue_without_t1w(t1w, brain, atlas, contrast)
    regions = regions_from_atlas(atlas, tissue, t1w.spacing, wmh)
    ventricles = ventricles_from_atlas(atlas, tissue, t1w.spacing)
    places = places_from_atlas(place_atlas, regions, ventricles, t1w.spacing)
    return Segmentation(tissue, regions, places, (*warnings, *_region_warnings(regions)))


def _from_aseg(t1w, brain, aseg, t1w_aseg_space, wmh, contrast, place_atlas) -> Segmentation:
    grid = Grid(t1w.shape, t1w.affine)
    integers = aseg.with_data(np.rint(np.asarray(aseg.data, np.float64)).astype(np.int32))
    labels, warnings = resample(integers, grid, order=0).data, []
    if contrast != "T1w" and t1w_aseg_space is not None:  # another scan: headers alone are not exact
        labels = _moved_aseg(t1w, brain, integers, t1w_aseg_space, contrast)
    elif not lies_on(labels, t1w, brain):
        labels = _moved_aseg(t1w, brain, integers, t1w_aseg_space, contrast)
        warnings.append("the segmentation to reuse did not lie on the T1w image: it was registered to it")
    regions, tissue, unknown = regions_from_freesurfer(labels, t1w.spacing, wmh)
    if unknown:
        warnings.append(f"labels of the segmentation that mean nothing here: {', '.join(map(str, unknown))}")
    tissue = np.where(brain, tissue, 0).astype(np.uint8)
    tissue[brain & (tissue == 0)] = CSF  # sulci, which have no label
    before = tissue == CSF
    tissue = fill_csf_islands(tissue, t1w.spacing)
    filled = before & (tissue != CSF)
    regions = nearest_label(regions, t1w.spacing, filled)
    regions = np.where(brain & (tissue != CSF), regions, 0).astype(np.uint8)
    places = places_from_freesurfer(labels, place_atlas, regions, t1w.spacing)
    return Segmentation(tissue, regions, places, (*warnings, *_region_warnings(regions)))


def lies_on(labels: npt.NDArray, t1w: Volume, brain: npt.NDArray[np.bool_]) -> bool:
    """Tell whether a segmentation on the grid of a T1w image belongs where it is.

    It must fill most of the brain mask, and its tissues must explain the image better there than moved by 5 mm or
    turned by 8 degrees; the first alone would let a shift of 10 mm pass.

    Parameters
    ----------
    labels
        FreeSurfer numbers, shape of ``t1w``.
    t1w
        Bias corrected.
    brain
        Mask outlined on ``t1w``.
    """
    if dice(labels > 0, brain) < ASEG_OVERLAP:
        return False
    _, tissue, _ = regions_from_freesurfer(labels, t1w.spacing)
    return check_rigid(t1w, t1w.with_data(tissue), np.eye(4), fixed_brain=None, moving_brain=brain).passed


def _moved_aseg(t1w, brain, aseg, t1w_aseg_space, contrast) -> npt.NDArray:
    """Return ``aseg`` on the T1w grid after rigid registration of the image it was made from."""
    from mbseg_bids.imaging.registration import register_rigid

    title = TITLES[contrast]
    if t1w_aseg_space is None:
        raise UnreadableDataError(
            f"the segmentation to reuse does not lie on the {title} image", "give its T1w too, or do not reuse it"
        )
    if contrast == "T1w":
        transform = register_rigid(t1w, t1w_aseg_space)
    else:
        own = resample(aseg, Grid(t1w_aseg_space.shape, t1w_aseg_space.affine), order=0).data > 0
        transform = register_pair(t1w, t1w_aseg_space, fixed_brain=brain, moving_brain=own).transform
    labels = resample(aseg, Grid(t1w.shape, t1w.affine), [np.linalg.inv(transform)], order=0).data
    if not lies_on(labels, t1w, brain):
        raise UnreadableDataError(f"the segmentation to reuse is not of this {title} image", "do not reuse it")
    return labels


def _region_warnings(regions: npt.NDArray) -> list[str]:
    """Return a sentence for each region that every whole brain has and this one lacks."""
    present = set(np.unique(regions).tolist())
    expected = (CORTICAL_GM, DEEP_GM, CEREBRAL_WM, CEREBELLAR_GM, BRAINSTEM)
    return [f"no voxel of the region {REGIONS[n]} was found" for n in expected if n not in present]


def _as_mask(volume: Volume) -> Volume:
    return volume.with_data((volume.data > 0).astype(np.uint8))
