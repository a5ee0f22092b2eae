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
)
from mbseg_bids.simulation.anatomy import Anatomy
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
        t2w=float(rng.uniform(0.3, 1.0)),
        t1w=float(np.clip(rng.normal(0.9, 0.15), 0.5, 1.3)),
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

    Fewer than `n` where the regions hold no more.
    """
    regions = anatomy.regions * ndimage.binary_erosion(anatomy.brain, iterations=1)
    present = [region for region in shares if (regions == region).any()]
    weights = np.array([shares[region] for region in present])
    affine = anatomy.labels.affine
    centres = [np.asarray(point) for point in avoid]
    microbleeds: list[Feature] = []
    if not present:
        return microbleeds
    places = {region: np.flatnonzero(regions == region) for region in present}
    for _ in range(20 * n):
        if len(microbleeds) == n:
            break
        region = present[rng.choice(len(present), p=weights / weights.sum())]
        voxel = np.array(np.unravel_index(rng.choice(places[region]), regions.shape))
        centre = (voxel + rng.uniform(-0.5, 0.5, 3)) @ affine[:3, :3].T + affine[:3, 3]
        if centres and np.linalg.norm(np.array(centres) - centre, axis=1).min() < apart:
            continue
        centres.append(centre)
        microbleeds.append(draw_microbleed(centre, rng))
    return microbleeds


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
