"""Microbleeds put into a scan: sources drawn, brought to a wanted size, and what they do to each contrast.

The signal lost on T2* is that of :mod:`mbseg_bids.simulation.rendering` for the scan's echo time, field and voxels. The
noise of the scan shrinks with the signal it sits on: inside a planted lesion it is less than the scanner's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mbseg_bids.clinical.size import equal_sphere_diameter
from mbseg_bids.imaging.grids import Grid
from mbseg_bids.imaging.labels import REGIONS
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.planting.places import APART, NEAR_VESSEL, Ground, countable
from mbseg_bids.simulation.lesions import REGION_SHARES, block_truth, draw_microbleed
from mbseg_bids.simulation.rendering import Patch, occupancy, render
from mbseg_bids.simulation.susceptibility import Feature

Sizes = Literal["even", "cohort"]
SIZE_RANGE = (1.5, 8.0)
"""mm, observed diameters of ``even`` sizes. Nothing is observed smaller than one voxel of the scan."""
TRIES = 25
"""Places that are tried for one lesion."""
FIT_STEPS, FIT_TOLERANCE = 6, 0.1
"""Of the search for the sources of a wanted diameter; relative tolerance."""


@dataclass(frozen=True)
class Acquisition:
    """How the scan was made, as far as blooming depends on it: ms, T; and what of it was assumed, in words."""

    echo_time: float
    field_strength: float
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """What to plant in each repetition.

    Attributes
    ----------
    lesions
        How many, where there is room.
    sizes
        ``even``: observed diameters spread evenly over :data:`SIZE_RANGE`; ``cohort``: as they come.
    near_vessels
        Share of them that is put 3 to 6 mm from a vessel; None: wherever it falls.
    """

    lesions: int = 30
    sizes: Sizes = "even"
    near_vessels: float | None = None


@dataclass(frozen=True, eq=False)
class Site:
    """The native grid of a T2*-weighted scan and what stands on it; arrays of shape (i, j, k)."""

    t2star: Volume
    brain: npt.NDArray[np.bool_]
    tissue: npt.NDArray[np.bool_]
    dark: npt.NDArray[np.bool_]
    """What is dark or was a candidate before."""
    ground: Ground


@dataclass(frozen=True, eq=False)
class PlantedLesion:
    """One of them. ``centre``: RAS+ mm; ``patch``, ``visible``: on the native grid, the second within ``patch.box``."""

    feature: Feature
    centre: npt.NDArray[np.float64]
    region: str
    from_vessel: float
    diameter: float
    patch: Patch = field(repr=False)
    visible: npt.NDArray[np.bool_] = field(repr=False)

    @property
    def near_vessel(self) -> bool:
        """Whether a vessel is about as near as :data:`NEAR_VESSEL` says, farther for a lesion that is wider itself."""
        return self.from_vessel <= max(NEAR_VESSEL[1], self.diameter / 2 + 3)


@dataclass(frozen=True, eq=False)
class Planting:
    """A scan with microbleeds in it: T2* and their labels, 1..n in the order of ``lesions``, on the native grid."""

    t2star: Volume
    truth: Volume
    lesions: tuple[PlantedLesion, ...]


def plant(site: Site, recipe: Recipe, acquisition: Acquisition, rng: np.random.Generator) -> Planting:
    """Plant microbleeds; fewer than wanted where there is no room for them.

    The largest are placed first, as room for them is rarest.
    """
    near = np.zeros(recipe.lesions, bool)
    near[: round(recipe.lesions * (recipe.near_vessels or 0.0))] = True
    lesions: list[PlantedLesion] = []
    for target, near_vessel in zip(targets(site, recipe, rng), rng.permutation(near), strict=True):
        found = _place(site, target, bool(near_vessel), lesions, acquisition, rng)
        if found is not None:
            lesions.append(found)
    data, truth = site.t2star.data.astype(np.float32), np.zeros(site.t2star.shape, np.int32)
    for number, lesion in enumerate(lesions, start=1):
        data[lesion.patch.box] *= np.abs(lesion.patch.ratio)
        truth[lesion.patch.box][lesion.visible] = number
    return Planting(site.t2star.with_data(data), site.t2star.with_data(truth), tuple(lesions))


def targets(site: Site, recipe: Recipe, rng: np.random.Generator) -> list[float | None]:
    """Return the observed diameter (mm) that each lesion is to have, largest first; None: as it comes."""
    if recipe.sizes == "cohort":
        return [None] * recipe.lesions
    low = max(SIZE_RANGE[0], equal_sphere_diameter(site.t2star.voxel_volume))
    high = max(SIZE_RANGE[1], low)
    quantiles = (np.arange(recipe.lesions)[::-1] + rng.random(recipe.lesions)) / max(recipe.lesions, 1)
    return (low + (high - low) * quantiles).tolist()


@dataclass(frozen=True, eq=False)
class Drawn:
    """A microbleed and what it does to the voxels of a grid. ``diameter``: observed, mm; ``scale``: of the radius."""

    feature: Feature
    patch: Patch
    visible: npt.NDArray[np.bool_]
    diameter: float
    scale: float


def sized_microbleed(
    centre: npt.NDArray[np.float64],
    seed: int,
    target: float | None,
    place: Volume,
    acquisition: Acquisition,
    *,
    scale: float = 1.0,
    steps: int = FIT_STEPS,
) -> Drawn | None:
    """Return a microbleed about a point (RAS+ mm) that looks about as wide as wanted (mm), on the grid of ``place``.

    The same seed gives the same shape; from ``scale`` on, its size is changed until the diameter is within a tenth, or
    as near as whole voxels and so many steps allow. None if it lies outside the grid or cannot be seen.
    """
    best: Drawn | None = None
    for _ in range(steps if target is not None else 1):
        feature = draw_microbleed(centre, np.random.default_rng(seed), scale=scale)
        patch = render(
            feature.sources,
            place.affine,
            place.shape,
            tissue_t2star=feature.tissue_t2star,
            echo_time=acquisition.echo_time,
            field_strength=acquisition.field_strength,
        )
        if patch is None:
            return None
        visible = block_truth(patch, 1)
        diameter = equal_sphere_diameter(float(visible.sum()) * place.voxel_volume)
        wanted = target or diameter
        if diameter and (best is None or abs(diameter - wanted) < abs(best.diameter - wanted)):
            best = Drawn(feature, patch, visible, diameter, scale)
        if abs(diameter - wanted) <= FIT_TOLERANCE * wanted:
            break
        scale *= float(np.clip(wanted / diameter, 0.5, 2.0)) if diameter else 1.4
    return best


def with_effects(
    contrasts: npt.NDArray[np.floating], lesions: Sequence[PlantedLesion], grid: Grid
) -> npt.NDArray[np.float32]:
    """Return T2w and T1w, shape (2, I, J, K) on ``grid``, with what the lesions do to them: their share of a voxel."""
    changed = contrasts.astype(np.float32)
    for lesion in lesions:
        filled = occupancy(lesion.feature.sources, grid.affine, grid.shape)
        if filled is None:
            continue
        box, share = filled
        for channel, signal in enumerate((lesion.feature.t2w, lesion.feature.t1w)):
            changed[channel][box] *= 1 - share * (1 - signal)
    return np.clip(changed, 0, 100)


def _place(
    site: Site,
    target: float | None,
    near_vessel: bool,
    others: Sequence[PlantedLesion],
    acquisition: Acquisition,
    rng: np.random.Generator,
) -> PlantedLesion | None:
    """Return a lesion where there is room for it, else None."""
    suits = site.ground.suits(target or SIZE_RANGE[0], near_vessel=near_vessel)
    shares = {region: share for region, share in REGION_SHARES.items() if (site.ground.regions[suits] == region).any()}
    affine = site.t2star.affine
    seed, fitted = int(rng.integers(2**62)), None
    for _ in range(TRIES if shares else 0):
        region = int(rng.choice(list(shares), p=np.array(list(shares.values())) / sum(shares.values())))
        at = int(rng.choice(np.flatnonzero(suits & (site.ground.regions == region))))
        centre = affine[:3, :3] @ (site.ground.voxels[at] + rng.uniform(-0.5, 0.5, 3)) + affine[:3, 3]
        if _crowded(centre, target or SIZE_RANGE[0], others):
            continue
        # The scale that fits at one place fits about as well at the next.
        known: dict[str, Any] = {} if fitted is None else {"scale": fitted.scale, "steps": 1}
        drawn = sized_microbleed(centre, seed, target, site.t2star, acquisition, **known)
        fitted = drawn or fitted
        if drawn is None or _crowded(centre, drawn.diameter, others) or not _countable(site, drawn):
            continue
        from_vessel = float(site.ground.from_vessel[at])
        return PlantedLesion(
            drawn.feature, centre, REGIONS[region], from_vessel, drawn.diameter, drawn.patch, drawn.visible
        )
    return None


def _crowded(centre: npt.NDArray[np.float64], diameter: float, others: Sequence[PlantedLesion]) -> bool:
    return any(
        np.linalg.norm(centre - other.centre) < max(APART, (diameter + other.diameter) / 2 + 4) for other in others
    )


def _countable(site: Site, drawn: Drawn) -> bool:
    """Ask :func:`countable` with a voxel more on every side; a lesion at the edge of the grid cannot be judged."""
    box = drawn.patch.box
    if any(side.start < 1 or side.stop >= n for side, n in zip(box, site.t2star.shape, strict=True)):
        return False
    i, j, k = (slice(side.start - 1, side.stop + 1) for side in box)
    return countable(np.pad(drawn.visible, 1), site.tissue[i, j, k], site.brain[i, j, k], site.dark[i, j, k])
