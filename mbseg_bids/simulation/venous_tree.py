"""Veins that have a place of their own: the deep system, fans of the white matter, pial trees, bridging veins.

Axes of the anatomy are RAS at 1 mm, so that index y grows to the front and z to the top.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.simulation.anatomy import Anatomy
from mbseg_bids.simulation.crossing_vessels import FluidMaps
from mbseg_bids.simulation.susceptibility import Feature, Vessel
from mbseg_bids.simulation.vessels import FLUID_T2STAR, draw_voxels, to_world, trace, unit

_THIRD_VENTRICLE, _BRAINSTEM = 14, 16
_SIDES = (  # x, lateral ventricle, caudate, thalamus
    (-1, (4,), (11,), (9, 10)),
    (1, (43,), (50,), (48, 49)),
)


def _tube(anatomy: Anatomy, points: npt.NDArray, radius: float, blood: tuple[float, float, float]) -> Vessel:
    dchi, t2star, density = blood
    corners = tuple(map(tuple, to_world(anatomy, np.asarray(points)).tolist()))
    return Vessel(corners, radius, dchi=dchi, t2star=t2star, density=density)


def _blood(rng: np.random.Generator) -> tuple[float, float, float]:
    """Susceptibility (ppm), T2* (ms) and density of venous blood, alike in all veins of a head."""
    return float(rng.uniform(0.2, 0.65)), float(rng.uniform(9, 30)), float(rng.uniform(0.5, 1.1))


def _feature(kind: str, vessels: list[Vessel], rng: np.random.Generator, tissue_t2star: float) -> Feature:
    t2w, t1w = float(rng.uniform(0.05, 0.7)), float(rng.uniform(0.5, 1.3))
    return Feature(kind, tuple(vessels), t2w=t2w, t1w=t1w, tissue_t2star=tissue_t2star)


def deep_veins(anatomy: Anatomy, rng: np.random.Generator) -> list[Feature]:
    """Internal cerebral, thalamostriate, septal and basal veins, the vein of Galen and the straight sinus.

    Laid out along the roof of the third ventricle, the groove between caudate and thalamus, the inner wall of the
    frontal horns and about the midbrain. None where the label map has no third ventricle.
    """
    third = np.argwhere(anatomy.select(_THIRD_VENTRICLE))
    if len(third) < 50:
        return []
    blood, size = _blood(rng), float(np.exp(rng.normal(0, 0.25)))
    middle = float(third[:, 0].mean())
    ys = np.quantile(third[:, 1], (0.9, 0.6, 0.3, 0.05))
    roof = [float(third[np.abs(third[:, 1] - y) < 2][:, 2].max()) + 1 for y in ys]
    back = np.array((middle, ys[-1], roof[-1]))
    galen = back + np.array([(0, -3, 1), (0, -9, rng.uniform(2, 5)), (0, -14, rng.uniform(5, 10))])
    straight = np.array([galen[-1], galen[-1] + (0, -rng.uniform(25, 42), -rng.uniform(3, 22))])
    found = [_feature("deep_vein", [_tube(anatomy, galen, 1.7 * size, blood)], rng, FLUID_T2STAR)]
    found.append(_feature("deep_vein", [_tube(anatomy, straight, 1.6 * size, blood)], rng, 100.0))
    for side, ventricle, caudate, thalamus in _SIDES:
        aside = middle + side * rng.uniform(1.2, 2.8)
        along = np.array([(aside + rng.normal(0, 0.4), y, z) for y, z in zip(ys, roof, strict=True)])
        internal = np.vstack([along, galen[0]])
        paths = [(internal, 0.95, 100.0)]
        paths.append((_along_groove(anatomy, along[0], caudate, thalamus), 0.55, 60.0))
        paths.append((_along_septum(anatomy, along[0], ventricle, middle), 0.45, 100.0))
        paths.append((_about_midbrain(anatomy, side, galen[0], rng), 0.75, FLUID_T2STAR))
        for points, radius, tissue_t2star in paths:
            if len(points) > 1:
                radius *= size * float(np.exp(rng.normal(0, 0.2)))
                found.append(_feature("deep_vein", [_tube(anatomy, points, radius, blood)], rng, tissue_t2star))
    return found


def _along_groove(
    anatomy: Anatomy, start: npt.NDArray, caudate: tuple[int, ...], thalamus: tuple[int, ...]
) -> npt.NDArray:
    """Thalamostriate vein: back along where caudate and thalamus meet, from the foramen of Monro."""
    low = np.maximum(np.rint(start).astype(int) - 45, 0)
    box = tuple(slice(a, a + 91) for a in low)
    labels = anatomy.labels.data[box]
    one, other = (ndimage.binary_dilation(np.isin(labels, part), iterations=3) for part in (caudate, thalamus))
    groove = np.argwhere(one & other) + low
    groove = groove[groove[:, 1] < start[1]]
    if len(groove) < 20:
        return np.empty((0, 3))
    groove = groove[np.argsort(-groove[:, 1], kind="stable")]
    return np.vstack([start, *(part.mean(axis=0) for part in np.array_split(groove, 5))])


def _along_septum(anatomy: Anatomy, start: npt.NDArray, ventricle: tuple[int, ...], middle: float) -> npt.NDArray:
    """Septal vein: forward on the inner wall of the frontal horn."""
    horn = np.argwhere(anatomy.select(*ventricle))
    horn = horn[horn[:, 1] > start[1] + 2]
    if len(horn) < 20:
        return np.empty((0, 3))
    horn = horn[np.argsort(horn[:, 1], kind="stable")]
    parts = []
    for part in np.array_split(horn, 3):
        aside = np.abs(part[:, 0] - middle)
        parts.append(part[aside <= np.quantile(aside, 0.1)])
    return np.vstack([start, *(part.mean(axis=0) for part in parts)])


def _about_midbrain(anatomy: Anatomy, side: int, end: npt.NDArray, rng: np.random.Generator) -> npt.NDArray:
    """Basal vein of Rosenthal: from the front, round the midbrain, up to the vein of Galen."""
    stem = np.argwhere(anatomy.select(_BRAINSTEM))
    if len(stem) < 100:
        return np.empty((0, 3))
    level = np.quantile(stem[:, 2], 0.93)
    midbrain = stem[np.abs(stem[:, 2] - level) < 2]
    centre, (wide, deep) = midbrain.mean(axis=0), np.ptp(midbrain[:, :2], axis=0) / 2 + rng.uniform(2, 4)
    angles = np.deg2rad((50, 85, 120, 150))  # from the front
    rise = np.linspace(0, 0.6, 4) * (end[2] - level)
    ring = [
        centre + np.array((side * wide * np.sin(a), deep * np.cos(a), r)) for a, r in zip(angles, rise, strict=True)
    ]
    return np.vstack([*ring, end])


def medullary_fans(anatomy: Anatomy, n: int, rng: np.random.Generator) -> list[Feature]:
    """Fans of thin veins of the white matter that meet near the wall of a lateral ventricle."""
    wall = ndimage.binary_dilation(anatomy.select(4, 43), iterations=3) & anatomy.select(2, 41, 77)
    blood = _blood(rng)
    found = []
    for meeting in draw_voxels(wall, n, rng):
        outwards = unit(meeting - np.array(anatomy.labels.shape) / 2 + rng.normal(0, 10, 3))
        radius = float(np.exp(rng.normal(np.log(0.2), 0.4)))
        vessels = []
        for _ in range(int(rng.integers(3, 8))):
            direction = unit(outwards + rng.normal(0, 0.3, 3))
            reach = rng.uniform((1, 10), (5, 26))
            ends = meeting + np.outer(reach, direction)
            vessels.append(_tube(anatomy, ends, min(radius * float(rng.uniform(0.7, 1.3)), 0.5), blood))
        found += [_feature("medullary_vein", [vessel], rng, 50.0) for vessel in vessels]
    return found


def pial_trees(anatomy: Anatomy, maps: FluidMaps, n: int, rng: np.random.Generator) -> list[Feature]:
    """Veins of the surface, 0.5 to 1.4 mm in radius, with thinner branches that leave them at their bends."""
    place = (anatomy.labels.data == 24) & anatomy.brain & (maps.narrow > 0.4)
    blood = _blood(rng)
    found = []
    for start in draw_voxels(place, n, rng):
        radius = float(np.clip(np.exp(rng.normal(np.log(0.8), 0.3)), 0.5, 1.4))
        climb = unit(rng.normal((0, 0, 1), 0.5))
        stem = trace(maps.narrow, start, rng, steps=int(rng.integers(3, 8)), step_length=5.0, direction=climb)
        vessels = [_tube(anatomy, np.array(stem), radius, blood)]
        for corner in stem[1:-1]:
            if rng.random() < 0.5:
                branch = trace(maps.narrow, corner, rng, steps=int(rng.integers(1, 4)), step_length=4.0)
                vessels.append(_tube(anatomy, np.array(branch), radius * float(rng.uniform(0.35, 0.75)), blood))
        found += [_feature("sulcal_vein", [vessel], rng, FLUID_T2STAR) for vessel in vessels]
    return found


def bridging_veins(anatomy: Anatomy, maps: FluidMaps, n: int, rng: np.random.Generator) -> list[Feature]:
    """Veins from the convexity through the CSF to the sagittal sinus, 8 to 30 mm long."""
    labels = anatomy.labels.data
    place = (labels == 24) & anatomy.brain & (maps.wide > 0.25)
    left, right = (np.flatnonzero((labels == label).any(axis=(1, 2))) for label in (2, 41))
    if not len(left) or not len(right):
        return []
    middle = (left.mean() + right.mean()) / 2
    top = int(np.flatnonzero(place.any(axis=(0, 1)))[-1]) if place.any() else 0
    place[:, :, : max(0, top - 22)] = False
    place[: max(0, round(middle) - 30)] = False
    place[round(middle) + 31 :] = False
    blood = _blood(rng)
    found = []
    for start in draw_voxels(place, n, rng):
        goal = np.array((middle, start[1] + rng.normal(0, 8), min(top + 2, start[2] + rng.uniform(0, 12))))
        bend = (start + goal) / 2 + rng.normal(0, 1.5, 3)
        if np.linalg.norm(goal - start) < 4:
            continue
        radius = float(np.clip(np.exp(rng.normal(np.log(0.65), 0.35)), 0.3, 1.3))
        vessel = _tube(anatomy, np.array([start, bend, goal]), radius, blood)
        found.append(_feature("bridging_vein", [vessel], rng, FLUID_T2STAR))
    return found
