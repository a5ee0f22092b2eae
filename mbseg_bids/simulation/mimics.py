"""What looks like a microbleed and is none: vessels, calcification, cavernoma, perivascular spaces.

Iron of the deep nuclei and dropout near air are no features: they come from `relaxation` and
`acquisition.air_dephasing`.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.simulation.anatomy import Anatomy
from mbseg_bids.simulation.susceptibility import Feature, Sphere, Vessel

MIMICS: dict[int, str] = {
    1: "medullary_vein",
    2: "sulcal_vein",
    3: "calcification",
    4: "cavernoma",
    5: "perivascular_space",
}
"""Labels of the mimic segmentation."""

MIMIC_NUMBERS = {name: number for number, name in MIMICS.items()}


def _to_world(anatomy: Anatomy, voxels: npt.NDArray) -> npt.NDArray[np.float64]:
    affine = anatomy.labels.affine
    return voxels @ affine[:3, :3].T + affine[:3, 3]


def _draw_voxels(mask: npt.NDArray[np.bool_], n: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    candidates = np.flatnonzero(mask)
    if not len(candidates) or n <= 0:
        return np.empty((0, 3))
    voxels = np.array(np.unravel_index(rng.choice(candidates, n), mask.shape)).T
    return voxels + rng.uniform(-0.5, 0.5, voxels.shape)


def _unit(vector: npt.NDArray) -> npt.NDArray[np.float64]:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


def trace(
    guide: npt.NDArray[np.float32],
    start: npt.NDArray[np.float64],
    rng: np.random.Generator,
    *,
    steps: int,
    step_length: float,
) -> list[npt.NDArray[np.float64]]:
    """Walk (voxels) from a start, each step towards the highest of the guide among directions near the last one."""
    points, direction = [start], None
    limit = np.array(guide.shape) - 1
    for _ in range(steps):
        directions = rng.normal(size=(16, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        if direction is not None:
            directions = directions * 0.55 + direction
            directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        ends = points[-1] + step_length * directions
        voxels = np.clip(np.rint(ends), 0, limit).astype(int)
        middle = np.clip(np.rint((ends + points[-1]) / 2), 0, limit).astype(int)
        best = int((guide[tuple(voxels.T)] + guide[tuple(middle.T)]).argmax())
        points.append(ends[best])
        direction = directions[best]
    return points


def _vein(kind: str, points: npt.NDArray, radius: float, rng: np.random.Generator) -> Feature:
    vessel = Vessel(
        tuple(map(tuple, points.tolist())),
        radius,
        dchi=float(rng.uniform(0.25, 0.6)),
        t2star=float(rng.uniform(10, 25)),
        density=float(rng.uniform(0.6, 1.0)),
    )
    return Feature(kind, (vessel,), t2w=float(rng.uniform(0.05, 0.4)), t1w=float(rng.uniform(0.5, 0.95)))


def medullary_veins(anatomy: Anatomy, n: int, rng: np.random.Generator) -> list[Feature]:
    """Thin veins of the white matter and deep nuclei, running to or from the ventricles."""
    labels = anatomy.labels.data
    place = np.isin(labels, (2, 41, 77, 11, 50, 12, 51, 10, 49, 7, 46, 16))
    ventricles = np.argwhere(np.isin(labels, (4, 43)))
    veins = []
    for start in _draw_voxels(place, n, rng):
        nearest = (
            ventricles[rng.choice(len(ventricles), 200)] if len(ventricles) else start[None] + rng.normal(size=(1, 3))
        )
        goal = nearest[np.linalg.norm(nearest - start, axis=1).argmin()]
        direction = _unit(_unit(goal - start) + rng.normal(0, 0.45, 3))
        points, length = [start], rng.uniform(5, 20)
        for _ in range(3):
            points.append(points[-1] + direction * length / 3)
            direction = _unit(direction + rng.normal(0, 0.15, 3))
        radius = float(np.clip(np.exp(rng.normal(np.log(0.24), 0.4)), 0.12, 0.6))
        veins.append(_vein("medullary_vein", _to_world(anatomy, np.array(points)), radius, rng))
    return veins


def sulcal_veins(anatomy: Anatomy, n: int, rng: np.random.Generator) -> list[Feature]:
    """Veins of the sulci and of the brain's surface, winding through the CSF over the cortex."""
    labels = anatomy.labels.data
    fluid = labels == 24
    guide = ndimage.gaussian_filter(fluid.astype(np.float32), 1.0)
    cortex = np.isin(labels, (3, 42, 8, 47))
    place = (fluid | (cortex & (guide > 0.35))) & ndimage.binary_dilation(cortex, iterations=2) & anatomy.brain
    veins = []
    for start in _draw_voxels(place, n, rng):
        points = trace(guide, start, rng, steps=int(rng.integers(2, 6)), step_length=float(rng.uniform(3, 5)))
        radius = float(np.clip(np.exp(rng.normal(np.log(0.52), 0.4)), 0.2, 1.5))
        veins.append(_vein("sulcal_vein", _to_world(anatomy, np.array(points)), radius, rng))
    return veins


def calcifications(anatomy: Anatomy, rng: np.random.Generator, *, probability: float = 0.5) -> list[Feature]:
    """Diamagnetic calcium: pallidum (often on both sides), choroid plexus, pineal gland."""
    found = []

    def add(voxel: npt.NDArray, radius: float) -> None:
        centre = tuple(_to_world(anatomy, voxel).tolist())
        sphere = Sphere(centre, radius, -float(rng.uniform(0.8, 2.5)), t2star=8.0, density=0.4)
        found.append(
            Feature("calcification", (sphere,), t2w=float(rng.uniform(0.3, 0.8)), t1w=float(rng.uniform(0.4, 1.3)))
        )

    if rng.random() < probability * 0.5:
        for side in (13, 52):
            for voxel in _draw_voxels(anatomy.select(side), int(rng.integers(0, 3)), rng):
                add(voxel, float(rng.uniform(0.5, 1.5)))
    if rng.random() < probability:
        ventricles = anatomy.select(4, 43, 31, 63)
        if ventricles.any():
            posterior = ventricles.copy()
            edge = int(np.quantile(np.flatnonzero(ventricles.any(axis=(0, 2))), 0.35))
            posterior[:, edge:] = False
            for voxel in _draw_voxels(posterior, int(rng.integers(1, 5)), rng):
                add(voxel, float(rng.uniform(0.8, 2.5)))
    third = np.argwhere(anatomy.select(14))
    if rng.random() < probability and len(third):
        back = third[third[:, 1] <= np.quantile(third[:, 1], 0.05)].mean(axis=0)
        add(back + np.array((0, -4, 2)), float(rng.uniform(1.0, 2.5)))
    return found


def cavernoma(anatomy: Anatomy, rng: np.random.Generator) -> list[Feature]:
    """A cavernous malformation: a T2-bright core in a rim of haemosiderin, 5-14 mm across."""
    found = []
    for voxel in _draw_voxels(anatomy.select(2, 41, 16), 1, rng):
        centre = _to_world(anatomy, voxel)
        size = float(rng.uniform(1.8, 5.0))
        rim = []
        for _ in range(int(6 + 3 * size)):
            place = centre + size * _unit(rng.normal(size=3)) * rng.uniform(0.85, 1.1)
            rim.append(Sphere(tuple(place.tolist()), float(rng.uniform(0.5, 0.9)), float(rng.uniform(0.8, 1.8))))
        core = Sphere(tuple(centre.tolist()), size * 0.85, 0.0, t2star=80.0, density=1.15)
        found.append(Feature("cavernoma", (core,), t2w=float(rng.uniform(1.4, 2.2)), t1w=float(rng.uniform(0.8, 1.5))))
        found.append(Feature("cavernoma", tuple(rim), t2w=0.3, t1w=0.8))
    return found


def perivascular_spaces(anatomy: Anatomy, n: int, rng: np.random.Generator) -> list[Feature]:
    """Fluid along perforating arteries: bright on T2w, dark on T1w, nothing dark on T2*."""
    spaces = []
    place = anatomy.select(2, 41, 12, 51)
    for start in _draw_voxels(place, n, rng):
        direction = _unit(rng.normal(size=3) + np.array((0, 0, 1.5)))
        ends = np.array([start, start + direction * rng.uniform(3, 9)])
        vessel = Vessel(
            tuple(map(tuple, _to_world(anatomy, ends).tolist())),
            float(rng.uniform(0.3, 0.9)),
            0.0,
            t2star=150.0,
            density=1.2,
        )
        spaces.append(
            Feature("perivascular_space", (vessel,), t2w=float(rng.uniform(1.5, 3)), t1w=float(rng.uniform(0.4, 0.7)))
        )
    return spaces


def draw_mimics(anatomy: Anatomy, rng: np.random.Generator, *, load: float = 1.0) -> list[Feature]:
    """An ordinary set of mimics; `load` multiplies the numbers of vessels."""
    features = medullary_veins(anatomy, round(load * rng.uniform(20, 60)), rng)
    features += sulcal_veins(anatomy, round(load * rng.uniform(45, 110)), rng)
    features += perivascular_spaces(anatomy, round(load * rng.uniform(0, 25)), rng)
    features += calcifications(anatomy, rng)
    if rng.random() < 0.12 * load:
        features += cavernoma(anatomy, rng)
    return features
