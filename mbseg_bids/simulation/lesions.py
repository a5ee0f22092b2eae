"""Microbleeds: where they lie, how large they are, what a reader would outline."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.imaging.labels import (
    BRAINSTEM,
    CEREBELLAR_GM,
    CEREBELLAR_WM,
    CEREBRAL_WM,
    CORTICAL_GM,
    DEEP_GM,
    GM,
    WM,
)
from mbseg_bids.simulation.anatomy import TISSUE_TABLE, Anatomy
from mbseg_bids.simulation.rendering import Patch
from mbseg_bids.simulation.susceptibility import Feature, Sphere

REGION_SHARES: dict[int, float] = {
    CEREBRAL_WM: 0.39,
    CORTICAL_GM: 0.38,
    DEEP_GM: 0.16,
    CEREBELLAR_WM: 0.025,
    CEREBELLAR_GM: 0.025,
    BRAINSTEM: 0.02,
}
"""Share of microbleeds by region, from metadata of 253 microbleeds of the VALDO challenge."""

DEEP_STRUCTURES: dict[str, tuple[tuple[int, ...], float]] = {
    "putamen": ((12, 51), 0.40),
    "thalamus": ((9, 10, 48, 49), 0.25),
    "pallidum": ((13, 52), 0.20),
    "caudate": ((11, 50, 26, 58), 0.15),
}
"""Labels of the deep nuclei, and the share of deep microbleeds in each: basal ganglia 12 % of all microbleeds, thalamus
4 %. By structure, not by volume: hypertensive disease favours the lentiform nucleus, the small pallidum included."""

SHELL = np.array([o for o in np.ndindex(5, 5, 5) if 1 <= sum((c - 2) ** 2 for c in o) <= 5]) - 2
"""Offsets (voxels of 1 mm) of the shell about a microbleed, 1 to 2.2 mm from its middle."""

VISIBLE_RATIO = 0.7
"""A voxel belongs to a lesion where the lesion leaves less than this share of its signal."""

MEDIAN_RADIUS, LOG_SD_RADIUS = 0.79, 0.16
LARGE_SHARE, LARGE_LOG_RADIUS, LARGE_LOG_SD = 0.25, 0.37, 0.3
MEDIAN_DCHI, LOG_SD_DCHI = 1.1, 0.2
"""mm and ppm: most microbleeds are alike, a quarter is larger. So the observed volumes follow those of VALDO."""


def draw_microbleed(centre: npt.ArrayLike, rng: np.random.Generator, *, scale: float = 1.0) -> Feature:
    """One microbleed about a point (scanner RAS+ mm): one to three touching spheres of haemosiderin.

    Parameters
    ----------
    scale
        Multiplies the radius.
    """
    centre = np.asarray(centre, dtype=np.float64)
    mean, spread = (LARGE_LOG_RADIUS, LARGE_LOG_SD) if rng.random() < LARGE_SHARE else (0.0, LOG_SD_RADIUS)
    radius = MEDIAN_RADIUS * scale * float(np.exp(np.clip(rng.normal(mean, spread), -0.45, 1.1)))
    dchi = MEDIAN_DCHI * float(np.exp(np.clip(rng.normal(0, LOG_SD_DCHI), -2 * LOG_SD_DCHI, 2 * LOG_SD_DCHI)))
    n = int(rng.choice([1, 2, 3], p=[0.6, 0.28, 0.12]))
    spheres = []
    for part in range(n):
        # Parts share the volume, so that a lobed lesion is as large as a round one.
        part_radius = radius * n ** (-1 / 3) * float(np.exp(rng.normal(0, 0.1))) if n > 1 else radius
        direction = rng.normal(size=3)
        distance = 0.0 if part == 0 else part_radius * 1.5
        place = centre + distance * direction / np.linalg.norm(direction)
        spheres.append(
            Sphere(
                tuple(place.tolist()),
                part_radius,
                dchi,
                t2star=float(rng.uniform(2, 6)),
                density=float(rng.uniform(0.4, 0.8)),
            )
        )
    return Feature(
        "microbleed",
        tuple(spheres),
        t2w=float(rng.uniform(0.15, 1.0)),
        t1w=float(np.clip(rng.normal(0.95, 0.15), 0.5, 1.3)),
    )


def draw_microbleeds(
    anatomy: Anatomy,
    n: int,
    rng: np.random.Generator,
    *,
    shares: Mapping[int, float] = REGION_SHARES,
    apart: float = 9.0,
    avoid: Sequence[npt.NDArray] = (),
) -> list[Feature]:
    """Microbleeds in the brain, at least `apart` mm from each other and from the points in `avoid`.

    Each lies in tissue with at least half of its shell (1 to 2.2 mm away) in tissue too, as readers demand of a
    microbleed: one that hangs in CSF is a vessel to them. Fewer than `n` where the regions hold no more.
    """
    regions = anatomy.regions * ndimage.binary_erosion(anatomy.brain, iterations=1)
    present = [region for region in shares if (regions == region).any()]
    weights = np.array([shares[region] for region in present])
    affine = anatomy.labels.affine
    centres = [np.asarray(point) for point in avoid]
    microbleeds: list[Feature] = []
    if not present:
        return microbleeds
    places = {region: _places(anatomy, regions == region, region) for region in present}
    for _ in range(20 * n):
        if len(microbleeds) == n:
            break
        region = present[rng.choice(len(present), p=weights / weights.sum())]
        parts, odds = places[region]
        part = parts[rng.choice(len(parts), p=odds)]
        voxel = np.array(np.unravel_index(rng.choice(part), regions.shape))
        if not half_surrounded(anatomy, voxel):
            continue
        centre = (voxel + rng.uniform(-0.5, 0.5, 3)) @ affine[:3, :3].T + affine[:3, 3]
        if centres and np.linalg.norm(np.array(centres) - centre, axis=1).min() < apart:
            continue
        centres.append(centre)
        microbleeds.append(draw_microbleed(centre, rng))
    return microbleeds


def _places(
    anatomy: Anatomy, inside: npt.NDArray[np.bool_], region: int
) -> tuple[list[npt.NDArray[np.intp]], npt.NDArray[np.float64]]:
    """Flat indices of a region, in parts, and the share of its microbleeds in each part."""
    flat = np.flatnonzero(inside)
    if region != DEEP_GM:
        return [flat], np.ones(1)
    labels = anatomy.labels.data.ravel()[flat]
    parts = {share: flat[np.isin(labels, numbers)] for numbers, share in DEEP_STRUCTURES.values()}
    known = {share: part for share, part in parts.items() if len(part)}
    if not known:
        return [flat], np.ones(1)
    return list(known.values()), np.array(list(known)) / sum(known)


def half_surrounded(anatomy: Anatomy, voxel: npt.NDArray[np.integer]) -> bool:
    """Whether at least half of the shell about a voxel of the anatomy is grey or white matter."""
    around = np.clip(voxel + SHELL, 0, np.array(anatomy.brain.shape) - 1)
    tissue = TISSUE_TABLE[anatomy.labels.data[tuple(around.T)]]
    return bool(((tissue == GM) | (tissue == WM)).mean() >= 0.5)


def visible_voxels(ratio: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """Voxels that a reader would outline: signal ratio below `VISIBLE_RATIO`, in one piece with the darkest voxel."""
    dark = ratio < VISIBLE_RATIO
    if not dark.any():
        return dark
    components, n = ndimage.label(dark, structure=np.ones((3, 3, 3)))
    if n == 1:
        return dark
    return components == components[np.unravel_index(ratio.argmin(), ratio.shape)]


def block_ratio(patch: Patch, factor: int) -> npt.NDArray[np.float32]:
    """Signal ratio on the grid whose in-plane voxels are `factor` times as long: magnitudes are averaged."""
    magnitude = np.abs(patch.ratio)
    if factor == 1:
        return magnitude
    a, b, c = magnitude.shape
    return magnitude.reshape(a // factor, factor, b // factor, factor, c).mean(axis=(1, 3))


def block_truth(patch: Patch, factor: int) -> npt.NDArray[np.bool_]:
    """Lesion voxels on the grid whose in-plane voxels are `factor` times as long.

    Dark enough there, or at least half filled by native lesion voxels; a lesion visible on the native grid keeps one
    voxel.
    """
    magnitude = np.abs(patch.ratio)
    native = visible_voxels(magnitude)
    if factor == 1 or not native.any():
        return native if factor == 1 else np.zeros(block_ratio(patch, factor).shape, dtype=bool)
    a, b, c = magnitude.shape
    share = native.reshape(a // factor, factor, b // factor, factor, c).mean(axis=(1, 3))
    coarse = (visible_voxels(block_ratio(patch, factor)) & (share > 0)) | (share >= 0.5)
    if not coarse.any():
        coarse[np.unravel_index(share.argmax(), share.shape)] = True
    return coarse
