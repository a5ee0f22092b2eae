"""A lesion from one voxel: what a reader has pointed at."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.detection.geometry.components import TOUCHING
from mbseg_bids.detection.rules.intensity_ratio import apply_intensity_ratio

SNAP_MM = 2.0
"""How far within the slice the darkest voxel is looked for: a click is no more exact."""
REACH_MM = 5.0
"""Farthest voxel from there: half of the largest diameter of a microbleed."""
SURROUNDINGS_MM = 8.0
"""Radius in which the tissue is taken that the lesion must be darker than."""
BALL_MM = 1.5
"""Radius of the ball that stands for a lesion that the rule cannot outline."""


@dataclass(frozen=True, eq=False)
class Grown:
    """A mask of shape (I, J, K), never empty, and whether the ratio rule outlined it; it is a small ball otherwise."""

    mask: npt.NDArray[np.bool_]
    by_rule: bool


def grow_lesion(
    t2star: npt.NDArray[np.floating],
    brain: npt.NDArray[np.bool_],
    taken: npt.NDArray[np.bool_],
    voxel: tuple[int, int, int],
    spacing: tuple[float, float, float],
    threshold: float,
) -> Grown:
    """Outline the dark spot at a voxel by the intensity ratio rule.

    It starts at the darkest voxel within 2 mm in the slice. What touches it within 5 mm, and is darker than the median
    of the brain within 8 mm divided by the threshold, is held against the rule
    (:func:`mbseg_bids.detection.rules.intensity_ratio.apply_intensity_ratio`); the piece at the start stays. Where
    nothing stays, a ball of 1.5 mm radius is returned: the reader has seen something there.

    Parameters
    ----------
    t2star
        Shape (I, J, K), axis 2 across slices; any linear scale through the origin.
    brain
        Shape (I, J, K); surroundings and rings stay inside.
    taken
        Voxels of other lesions: neither grown into nor compared with.
    voxel
        Index of the voxel pointed at.
    spacing
        Voxel size in mm along the three axes.
    threshold
        Smallest ratio that keeps a border voxel.

    Raises
    ------
    ValueError
        If the voxel lies outside the image or in another lesion.
    """
    if any(not 0 <= index < size for index, size in zip(voxel, t2star.shape, strict=True)):
        raise ValueError(f"voxel {voxel} lies outside the image of shape {t2star.shape}")
    if taken[voxel]:
        raise ValueError(f"voxel {voxel} lies in another lesion")
    window, inside = _window(voxel, t2star.shape, spacing)
    image, free, tissue = t2star[window], ~taken[window], brain[window] & ~taken[window]
    seed = _darkest(image, free, inside, spacing)
    distance = _distance(seed, image.shape, spacing)
    spot = np.zeros(image.shape, bool)
    around = image[tissue & (distance <= SURROUNDINGS_MM)]
    if around.size:
        dark = (image * threshold <= np.median(around)) & free & (distance <= REACH_MM)
        spot = _piece_at(dark, seed)
    if spot.any():
        kept = apply_intensity_ratio(image, spot.astype(np.int32), tissue, spacing, {1: threshold}).labels > 0
        spot = _piece_at(kept, seed)
    by_rule = bool(spot.any())
    mask = np.zeros(t2star.shape, bool)
    mask[window] = spot if by_rule else free & (distance <= BALL_MM)
    return Grown(mask, by_rule)


def _window(
    voxel: tuple[int, ...], shape: tuple[int, ...], spacing: tuple[float, ...]
) -> tuple[tuple[slice, ...], tuple[int, ...]]:
    """Return the box that everything happens in, and the index of the voxel within it."""
    reach = [int((SNAP_MM + SURROUNDINGS_MM) / mm) + 2 for mm in spacing]
    box = tuple(slice(max(0, v - r), min(n, v + r + 1)) for v, r, n in zip(voxel, reach, shape, strict=True))
    return box, tuple(v - side.start for v, side in zip(voxel, box, strict=True))


def _distance(voxel: tuple[int, ...], shape: tuple[int, ...], spacing: tuple[float, ...]) -> npt.NDArray[np.float64]:
    offsets = (np.indices(shape).T - voxel) * np.asarray(spacing)
    return np.sqrt((offsets**2).sum(axis=-1)).T


def _darkest(
    image: npt.NDArray, free: npt.NDArray[np.bool_], voxel: tuple[int, ...], spacing: tuple[float, ...]
) -> tuple[int, ...]:
    """Return the darkest free voxel near another one in its slice; of equals the nearest."""
    near = _distance(voxel, image.shape, spacing)
    allowed = free & (near <= SNAP_MM)
    allowed[..., np.arange(image.shape[2]) != voxel[2]] = False
    where = np.argwhere(allowed)
    order = np.lexsort((near[allowed], image[allowed]))
    return tuple(int(index) for index in where[order[0]])


def _piece_at(mask: npt.NDArray[np.bool_], voxel: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return the 26-connected piece of a mask that holds a voxel; nothing if none does."""
    labels, _ = ndimage.label(mask, structure=TOUCHING)
    return (labels == labels[voxel]) & mask[voxel]
