"""What looks like a microbleed and is none: cavernoma, traces of larger bleeds, perivascular spaces; and the whole set.

Vessels are in `vessels`, `crossing_vessels` and `venous_tree`, calcium in `calcification`, sheets in `sheets`. Iron of
the deep nuclei and dropout near air are no features: they come from `relaxation` and `acquisition.head_field`.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.simulation.anatomy import Anatomy
from mbseg_bids.simulation.calcification import calcifications, dural_plaques, mineralised_perforators
from mbseg_bids.simulation.crossing_vessels import FluidMaps, csf_vessels, fluid_maps, tissue_vessels
from mbseg_bids.simulation.relaxation import LACUNE
from mbseg_bids.simulation.susceptibility import Feature, Sphere, Vessel
from mbseg_bids.simulation.venous_tree import bridging_veins, deep_veins, medullary_fans, pial_trees
from mbseg_bids.simulation.vessels import arteries, draw_voxels, medullary_veins, sulcal_veins, to_world, unit

MIMICS: dict[int, str] = {
    1: "medullary_vein",
    2: "sulcal_vein",
    3: "calcification",
    4: "cavernoma",
    5: "perivascular_space",
    6: "artery",
    7: "superficial_siderosis",
    8: "old_haemorrhage",
    9: "lacune_rim",
    10: "csf_vessel",
    11: "tissue_vessel",
    12: "deep_vein",
    13: "dura",
    14: "mineralised_perforator",
    15: "bridging_vein",
}
"""Labels of the mimic segmentation. New kinds are appended: a number keeps its meaning."""

MIMIC_NUMBERS = {name: number for number, name in MIMICS.items()}

IGNORED_MIMICS = frozenset({MIMIC_NUMBERS["superficial_siderosis"]})
"""Haemosiderin of a bleed that is no microbleed: an example neither of one nor of anything else."""


def ignored(labels: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Voxels of a mimic segmentation that training must leave out, as positives and as negatives."""
    return np.isin(labels, tuple(IGNORED_MIMICS))


def cavernoma(anatomy: Anatomy, rng: np.random.Generator) -> list[Feature]:
    """A cavernous malformation: a T2-bright core in a rim of haemosiderin, 5-14 mm across."""
    found = []
    for voxel in draw_voxels(anatomy.select(2, 41, 16), 1, rng):
        centre = to_world(anatomy, voxel)
        size = float(rng.uniform(1.8, 5.0))
        rim = []
        for _ in range(int(6 + 3 * size)):
            place = centre + size * unit(rng.normal(size=3)) * rng.uniform(0.85, 1.1)
            rim.append(Sphere(tuple(place.tolist()), float(rng.uniform(0.5, 0.9)), float(rng.uniform(0.8, 1.8))))
        core = Sphere(tuple(centre.tolist()), size * 0.85, 0.0, t2star=80.0, density=1.15)
        found.append(Feature("cavernoma", (core,), t2w=float(rng.uniform(1.4, 2.2)), t1w=float(rng.uniform(0.8, 1.5))))
        found.append(Feature("cavernoma", tuple(rim), t2w=0.3, t1w=0.8))
    return found


def _haemosiderin(
    kind: str, places: npt.NDArray, rng: np.random.Generator, *, radius: tuple[float, float], dchi: tuple[float, float]
) -> list[Feature]:
    """Small spheres of haemosiderin at places (n, 3) in mm, neighbours together in features of at most twelve."""
    if not len(places):
        return []
    spread = places - places.mean(axis=0)
    order = np.argsort(spread @ np.linalg.svd(spread, full_matrices=False)[2][0])
    features = []
    for part in np.array_split(places[order], int(np.ceil(len(places) / 12))):
        spheres = tuple(
            Sphere(tuple(place.tolist()), float(rng.uniform(*radius)), float(rng.uniform(*dchi)), t2star=6.0)
            for place in part
        )
        features.append(Feature(kind, spheres, t2w=float(rng.uniform(0.4, 0.9)), t1w=float(rng.uniform(0.8, 1.0))))
    return features


def superficial_siderosis(anatomy: Anatomy, rng: np.random.Generator) -> list[Feature]:
    """Haemosiderin that lines the cortex of a sulcus over 10 to 40 mm: a dark rim, or two along both banks."""
    labels = anatomy.labels.data
    starts = draw_voxels((labels == 24) & anatomy.brain, 1, rng)
    if not len(starts):
        return []
    low = np.maximum(np.rint(starts[0]).astype(int) - 20, 0)
    box = tuple(slice(side, side + 41) for side in low)
    near = labels[box]
    lining = np.isin(near, (3, 42)) & ndimage.binary_dilation(near == 24) & anatomy.brain[box]
    distance = np.linalg.norm(np.moveaxis(np.indices(near.shape), 0, -1) + low - starts[0], axis=-1)
    pieces, _ = ndimage.label(lining & (distance < rng.uniform(6, 20)), structure=np.ones((3, 3, 3)))
    if not pieces.any():
        return []
    piece = np.argwhere(pieces == np.bincount(pieces.ravel())[1:].argmax() + 1) + low
    # Every voxel of the lining, so that the ribbon has no gaps; of a long one, the part nearest to where it starts.
    piece = piece[np.argsort(np.linalg.norm(piece - starts[0], axis=1), kind="stable")][:600]
    places = to_world(anatomy, piece + rng.uniform(-0.3, 0.3, piece.shape))
    dchi = float(rng.uniform(0.6, 1.2))
    return _haemosiderin("superficial_siderosis", places, rng, radius=(0.4, 0.55), dchi=(0.8 * dchi, 1.2 * dchi))


def old_haemorrhage(anatomy: Anatomy, rng: np.random.Generator) -> list[Feature]:
    """What a larger bleed leaves: a slit of fluid, 6 to 20 mm long, in a rim of haemosiderin."""
    found = []
    for voxel in draw_voxels(anatomy.select(2, 41, 12, 51), 1, rng):
        axis = unit(rng.normal(size=3) * (0.5, 1.0, 0.7))
        length, radius = float(rng.uniform(3, 14)), float(rng.uniform(1.2, 3.0))
        centre = to_world(anatomy, voxel)
        ends = np.array([centre - axis * length / 2, centre + axis * length / 2])
        core = Vessel(tuple(map(tuple, ends.tolist())), radius * 0.85, 0.0, t2star=200.0, density=1.2)
        found.append(
            Feature("old_haemorrhage", (core,), t2w=float(rng.uniform(1.5, 2.5)), t1w=float(rng.uniform(0.3, 0.7)))
        )
        n = int((length + 2 * radius) * radius * rng.uniform(1.5, 3.0))
        directions = rng.normal(size=(n, 3))
        along = rng.uniform(-0.5, 0.5, n) * (length + 1.6 * radius)
        # On the surface of the slit and of its rounded ends.
        directions -= np.outer(directions @ axis, axis)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        beyond = np.clip(np.abs(along) - length / 2, 0, radius)
        places = centre + np.outer(along, axis) + directions * np.sqrt(radius**2 - beyond**2)[:, None]
        found += _haemosiderin("old_haemorrhage", places, rng, radius=(0.4, 0.8), dchi=(0.7, 1.6))
    return found


def lacune_rims(anatomy: Anatomy, rng: np.random.Generator, *, probability: float = 0.25) -> list[Feature]:
    """Haemosiderin about a part of some lacunes: those that small bleeds left."""
    lacunes, n = ndimage.label(anatomy.select(LACUNE))
    found = []
    for box in ndimage.find_objects(lacunes) if n else ():
        if rng.random() >= probability:
            continue
        low = np.maximum([side.start - 2 for side in box], 0)
        wide = tuple(slice(a, side.stop + 2) for a, side in zip(low, box, strict=True))
        inside = lacunes[wide] > 0
        rim = np.argwhere(ndimage.binary_dilation(inside) & ~inside) + low
        # On one side more than on the other.
        rim = rim[(rim - rim.mean(axis=0)) @ unit(rng.normal(size=3)) > rng.uniform(-3, 1)]
        rim = rim[rng.random(len(rim)) < 0.3][:60]
        places = to_world(anatomy, rim + rng.uniform(-0.4, 0.4, rim.shape))
        found += _haemosiderin("lacune_rim", places, rng, radius=(0.3, 0.5), dchi=(0.5, 1.0))
    return found


def perivascular_spaces(anatomy: Anatomy, n: int, rng: np.random.Generator) -> list[Feature]:
    """Fluid along perforating arteries: bright on T2w, dark on T1w, nothing dark on T2*."""
    spaces = []
    place = anatomy.select(2, 41, 12, 51)
    for start in draw_voxels(place, n, rng):
        direction = unit(rng.normal(size=3) + np.array((0, 0, 1.5)))
        ends = np.array([start, start + direction * rng.uniform(3, 9)])
        vessel = Vessel(
            tuple(map(tuple, to_world(anatomy, ends).tolist())),
            float(rng.uniform(0.3, 0.9)),
            0.0,
            t2star=150.0,
            density=1.2,
        )
        spaces.append(
            Feature("perivascular_space", (vessel,), t2w=float(rng.uniform(1.5, 3)), t1w=float(rng.uniform(0.4, 0.7)))
        )
    return spaces


def draw_mimics(anatomy: Anatomy, rng: np.random.Generator, *, load: float = 1.0, wide: bool = True) -> list[Feature]:
    """An ordinary set of mimics.

    Parameters
    ----------
    load
        Multiplies the numbers of vessels.
    wide
        Whether vessels of every place and the tree of the veins are among them; without, only winding sulcal veins,
        arteries, and medullary veins on their way to a ventricle.
    """
    maps = fluid_maps(anatomy)
    features = medullary_veins(anatomy, round(load * rng.uniform(20, 60)), rng)
    features += sulcal_veins(anatomy, round(load * rng.uniform(45, 110)), rng, guide=maps.narrow)
    features += perivascular_spaces(anatomy, round(load * rng.uniform(0, 25)), rng)
    features += arteries(anatomy, round(load * rng.uniform(5, 25)), rng, guide=maps.wide)
    features += calcifications(anatomy, rng)
    features += lacune_rims(anatomy, rng)
    if rng.random() < 0.12 * load:
        features += cavernoma(anatomy, rng)
    if rng.random() < 0.1 * load:
        features += superficial_siderosis(anatomy, rng)
    if rng.random() < 0.08 * load:
        features += old_haemorrhage(anatomy, rng)
    return features + _wide_mimics(anatomy, maps, rng, load) if wide else features


def _wide_mimics(anatomy: Anatomy, maps: FluidMaps, rng: np.random.Generator, load: float) -> list[Feature]:
    features = csf_vessels(anatomy, maps, rng, load=load)
    features += tissue_vessels(anatomy, rng, load=load)
    features += medullary_fans(anatomy, round(load * rng.uniform(0, 7)), rng)
    features += pial_trees(anatomy, maps, round(load * rng.uniform(3, 14)), rng)
    features += bridging_veins(anatomy, maps, round(load * rng.uniform(2, 10)), rng)
    features += mineralised_perforators(anatomy, round(load * rng.uniform(0, 8)), rng)
    features += dural_plaques(anatomy, rng, mean=1.5 * load)
    if rng.random() < 0.9:
        features += deep_veins(anatomy, rng)
    return features
