"""From scans to what the detection takes: each contrast made ready on its own, then all on one grid."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.imaging.background import has_noise_background, without_noise_background
from mbseg_bids.imaging.brain import PLAUSIBLE_VOLUME, extract_brain, largest_component, volume_warning
from mbseg_bids.imaging.grids import (
    Grid,
    detection_grid,
    every_nth_voxel,
    mask_to_native,
    native_in_plane,
    to_detection_grid,
)
from mbseg_bids.imaging.intensity import correct_bias, standardise
from mbseg_bids.imaging.labels import CSF
from mbseg_bids.imaging.quality_ranges import LEAST_COVERAGE
from mbseg_bids.imaging.transforms import field_of_view, resample
from mbseg_bids.imaging.volume import Volume

SMALLEST_SHARE_SEEN = 0.95
"""Part of the brain on T2* that the other contrasts must show; below it there is a warning."""
COARSE_MM = 2.2
"""In-plane voxels from which there is a warning. Training scans have up to 2.4 mm, few of them more than 2."""
LARGEST_NEGATIVE_SHARE = 0.1
"""Part of the voxels of an image that may lie below zero by interpolation; a T1w with more is lifted as a whole."""


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """A scan, bias corrected, with the brain outlined on it alone."""

    image: Volume
    """float32, native grid, unit of the scan."""
    brain: npt.NDArray[np.bool_]
    """Brain mask where one was found or given, else whatever gives signal."""
    brain_found: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class DetectionInputs:
    """Everything on the detection grid; images float32 0-100, masks and labels uint8."""

    grid: Grid
    t2star: Volume
    others: dict[str, Volume]
    """T2w and T1w by name, those there are."""
    brain: Volume
    tissue: Volume
    regions: Volume
    warnings: tuple[str, ...]
    coverage: float
    """Part of the anatomical image's brain in the field of view of T2*, 0 to 1."""


def prepare_image(
    image: Volume,
    contrast: str,
    *,
    brain_mask: npt.NDArray[np.bool_] | None = None,
    must_show_brain: bool | None = None,
    iterations: int = 50,
) -> PreparedImage:
    """Outline the brain (or take the mask given) and correct the bias inside it.

    Parameters
    ----------
    image
        A T1w, T2w or T2* scan on its native grid.
    contrast
        Its name, for messages.
    brain_mask
        A mask to use instead, shape of the image.
    must_show_brain
        Whether the anatomy is found on this image, so that there is none without its brain; None: if it is a T1w.
    iterations
        Of N4, at most, at each level.

    Raises
    ------
    UnreadableDataError
        If the image has no signal, or must show a brain and does not.
    """
    values = np.nan_to_num(np.asarray(image.data, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    warnings: list[str] = []
    if contrast == "T1w":
        values, warnings = _cleaned(image.with_data(values))
    if not (values > 0).any():
        raise UnreadableDataError(f"the {contrast} image has no signal", "look at the image")
    image = image.with_data(values)
    brain, found = brain_mask, brain_mask is not None
    if brain is None:
        brain, found = _find_brain(image, contrast, contrast == "T1w" if must_show_brain is None else must_show_brain)
    sentence = volume_warning(brain, image.voxel_volume) if found else None
    if sentence:
        warnings.append(f"{contrast}: {sentence}")
    corrected = correct_bias(values, brain, image.spacing, iterations=iterations)
    return PreparedImage(image.with_data(np.maximum(corrected, 0)), brain, found, tuple(warnings))


def signal_mask(image: Volume) -> npt.NDArray[np.bool_]:
    """Return the voxels with signal by Otsu's threshold, largest part: the head."""
    low, high = np.percentile(image.data, (1, 99))
    counts, edges = np.histogram(np.clip(image.data, low, high), 256)
    centres = (edges[:-1] + edges[1:]) / 2
    weight = np.cumsum(counts)
    moment = np.cumsum(counts * centres)
    below, above = moment / np.maximum(weight, 1), (moment[-1] - moment) / np.maximum(weight[-1] - weight, 1)
    between = weight * (weight[-1] - weight) * (below - above) ** 2
    return largest_component(image.data > centres[between.argmax()])


def assemble(
    t2star: Volume,
    others: dict[str, tuple[Volume, npt.NDArray[np.float64]]],
    brain_anat: Volume,
    tissue_anat: Volume,
    regions_anat: Volume,
    anat_to_t2star: npt.NDArray[np.float64],
    t2star_brain: npt.NDArray[np.bool_] | None = None,
) -> DetectionInputs:
    """Bring all to the detection grid, each in one interpolation, and standardise there.

    The brain searched is what all contrasts show of it; voxels outside the field of view of one of them are left out.

    Parameters
    ----------
    t2star
        Bias corrected, native grid.
    others
        Name -> (bias-corrected image, transform of its points to T2* points).
    brain_anat, tissue_anat, regions_anat
        On the grid of the anatomical image.
    anat_to_t2star
        Its points to T2* points.
    t2star_brain
        The brain as outlined on T2* itself, to tell how much of it the others show.
    """
    grid = detection_grid(t2star.shape, t2star.affine)
    back = np.linalg.inv(anat_to_t2star)
    brain = resample(brain_anat, grid, [back], order=0).data > 0
    seen = np.ones(grid.shape, bool)
    for image, transform in others.values():
        seen &= field_of_view(image, grid, [np.linalg.inv(transform)])
    warnings = []
    if t2star_brain is not None:
        own = to_detection_grid(Volume(t2star_brain.astype(np.uint8), t2star.affine), grid, order=0).data > 0
        share = int(np.count_nonzero(own & seen)) / max(int(np.count_nonzero(own)), 1)
        if share < SMALLEST_SHARE_SEEN:
            names = " or ".join(name.replace("t", "T") for name in sorted(others))
            warnings.append(
                f"{100 * (1 - share):.0f} % of the brain on T2* lies outside the {names} and is not searched"
            )
    warnings += coarse_voxels(t2star.affine)
    covered = share_covered(t2star, brain_anat, anat_to_t2star)
    if covered < LEAST_COVERAGE:
        warnings.append(f"T2* shows only {100 * covered:.0f} % of the brain: counts are of this part")
    brain &= seen
    if not brain.any():
        raise UnreadableDataError("T2* and the other images show no common part of the brain", "look at their headers")
    tissue = np.where(brain, resample(tissue_anat, grid, [back], order=0).data, 0).astype(np.uint8)
    tissue[brain & (tissue == 0)] = CSF
    regions = np.where(brain, resample(regions_anat, grid, [back], order=0).data, 0).astype(np.uint8)
    on_grid = to_detection_grid(t2star, grid)
    standard = on_grid.with_data(standardise(on_grid.data, brain))
    moved = {}
    for name, (image, transform) in others.items():
        there = resample(image, grid, [np.linalg.inv(transform)])
        moved[name] = there.with_data(standardise(there.data, brain))
    return DetectionInputs(
        grid,
        standard,
        moved,
        Volume(brain.astype(np.uint8), grid.affine),
        Volume(tissue, grid.affine),
        Volume(regions, grid.affine),
        tuple(warnings),
        covered,
    )


def share_covered(t2star: Volume, brain_anat: Volume, anat_to_t2star: npt.NDArray[np.float64]) -> float:
    """Return the part of the anatomical image's brain that lies in the field of view of T2*, 0 to 1.

    Arguments as for :func:`assemble`. Every third voxel along each axis of the brain's grid counts.
    """
    seen = field_of_view(t2star, every_nth_voxel(brain_anat, 3), [anat_to_t2star])
    brain = brain_anat.data[::3, ::3, ::3] > 0
    return float(seen[brain].mean()) if brain.any() else 0.0


def labels_on_native(inputs: DetectionInputs, t2star: Volume) -> tuple[Volume, Volume]:
    """Return brain mask and regions on the native T2* grid."""
    brain, regions = (mask_to_native(v, t2star.shape, t2star.affine) for v in (inputs.brain, inputs.regions))
    return brain, regions


def _cleaned(t1w: Volume) -> tuple[npt.NDArray[np.float32], list[str]]:
    """Return the values of a T1w without a background of noise, and what was done about it."""
    if has_noise_background(t1w.data):
        text = "T1w: its background was noise of the whole range, as in an MP2RAGE, and was set to zero"
        return without_noise_background(t1w).data, [text]
    if np.count_nonzero(t1w.data < 0) > LARGEST_NEGATIVE_SHARE * t1w.data.size:
        return t1w.data - t1w.data.min(), []  # normalised to a mean of zero, say; the input checks tell of it
    return t1w.data, []


def contrasts_on_native(
    others: dict[str, tuple[Volume, npt.NDArray[np.float64]]], t2star: Volume, brain: npt.NDArray[np.bool_]
) -> dict[str, Volume]:
    """Bring the other contrasts to the native T2* grid, in one interpolation, 0-100 inside the brain; 0 where they end.

    Parameters
    ----------
    others
        Name -> (bias-corrected image, transform of its points to T2* points).
    t2star
        Gives the grid: its shape, affine and order of axes.
    brain
        On that grid.
    """
    grid = Grid(t2star.shape, t2star.affine)
    found = {}
    for name, (image, transform) in others.items():
        there = resample(image, grid, [np.linalg.inv(transform)])
        found[name] = t2star.with_data(standardise(there.data, brain))
    return found


def _find_brain(image: Volume, contrast: str, needed: bool) -> tuple[npt.NDArray[np.bool_], bool]:
    """Outline the brain; where it is only a help, fall back on the head."""
    try:
        brain = extract_brain(image)
    except UnreadableDataError as error:
        if needed:
            remedy = error.remedy if contrast == "T1w" else "look at the image, or add a T1w"
            raise UnreadableDataError(f"no brain was found on the {contrast} image", remedy) from error
        return signal_mask(image), False
    # The networks were trained on T1w: on the others only a plausible outline counts.
    plausible = np.count_nonzero(brain) * image.voxel_volume / 1000 >= PLAUSIBLE_VOLUME[0] / 2
    if contrast != "T1w" and not needed and not plausible:
        return signal_mask(image), False
    return brain, True


def coarse_voxels(affine: npt.NDArray[np.float64]) -> list[str]:
    """Return a warning where the T2* scan's voxels, in plane, are coarser than the networks know; else nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from mbseg_bids.imaging.preparation import coarse_voxels
    >>> coarse_voxels(np.diag([0.9, 0.9, 5.0, 1.0]))
    []
    """
    spacing = native_in_plane(affine)
    if spacing.max() < COARSE_MM:
        return []
    return [
        f"the voxels of T2* measure {spacing[0]:.1f} x {spacing[1]:.1f} mm in plane, coarser than nearly all that the "
        "networks were trained on: more microbleeds are missed in such scans"
    ]
