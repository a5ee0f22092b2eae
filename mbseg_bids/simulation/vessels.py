"""Vessels as features: veins of the white matter and of the sulci, arteries."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.simulation.anatomy import Anatomy
from mbseg_bids.simulation.susceptibility import Feature, Vessel

FLUID_T2STAR = 300.0
"""T2* (ms) of what a vessel in a sulcus replaces: CSF, with some cortex."""


def to_world(anatomy: Anatomy, voxels: npt.NDArray) -> npt.NDArray[np.float64]:
    """Voxels (..., 3) of the anatomy to scanner RAS+ mm."""
    affine = anatomy.labels.affine
    return voxels @ affine[:3, :3].T + affine[:3, 3]


def draw_voxels(mask: npt.NDArray[np.bool_], n: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """`n` random places (n, 3) in the voxels of a mask; none where the mask is empty."""
    candidates = np.flatnonzero(mask)
    if not len(candidates) or n <= 0:
        return np.empty((0, 3))
    voxels = np.array(np.unravel_index(rng.choice(candidates, n), mask.shape)).T
    return voxels + rng.uniform(-0.5, 0.5, voxels.shape)


def unit(vector: npt.NDArray) -> npt.NDArray[np.float64]:
    """The vector at length 1."""
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


def trace(
    guide: npt.NDArray[np.float32],
    start: npt.NDArray[np.float64],
    rng: np.random.Generator,
    *,
    steps: int,
    step_length: float,
    direction: npt.NDArray[np.float64] | None = None,
) -> list[npt.NDArray[np.float64]]:
    """Walk (voxels) from a start, each step towards the highest of the guide among directions near the last one.

    `direction` is that of the first step, any if not given.
    """
    points = [start]
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
        dchi=float(rng.uniform(0.15, 0.8)),
        t2star=float(rng.uniform(8, 35)),
        density=float(rng.uniform(0.4, 1.1)),
    )
    return Feature(kind, (vessel,), t2w=float(rng.uniform(0.05, 0.8)), t1w=float(rng.uniform(0.5, 1.2)))


def medullary_veins(anatomy: Anatomy, n: int, rng: np.random.Generator) -> list[Feature]:
    """Thin veins of the white matter and deep nuclei, running to or from the ventricles."""
    place = anatomy.select(2, 41, 77, 11, 50, 12, 51, 10, 49, 7, 46, 16)
    ventricles = np.argwhere(anatomy.select(4, 43))
    veins = []
    for start in draw_voxels(place, n, rng):
        nearest = (
            ventricles[rng.choice(len(ventricles), 200)] if len(ventricles) else start[None] + rng.normal(size=(1, 3))
        )
        goal = nearest[np.linalg.norm(nearest - start, axis=1).argmin()]
        direction = unit(unit(goal - start) + rng.normal(0, 0.45, 3))
        points, length = [start], rng.uniform(5, 20)
        for _ in range(3):
            points.append(points[-1] + direction * length / 3)
            direction = unit(direction + rng.normal(0, 0.15, 3))
        radius = float(np.clip(np.exp(rng.normal(np.log(0.24), 0.4)), 0.12, 0.6))
        veins.append(_vein("medullary_vein", to_world(anatomy, np.array(points)), radius, rng))
    return veins


def sulcal_veins(
    anatomy: Anatomy,
    n: int,
    rng: np.random.Generator,
    *,
    across: float = 0.4,
    guide: npt.NDArray[np.float32] | None = None,
) -> list[Feature]:
    """Veins of the sulci and of the brain's surface, winding through the CSF over the cortex.

    A share `across` climbs along the scanner's z on its way to a sinus: axial slices cut it into dark dots, which at
    the foot of a sulcus look like microbleeds. `guide`: CSF about each voxel (`crossing_vessels.FluidMaps.narrow`),
    computed if not given.
    """
    labels = anatomy.labels.data
    fluid = labels == 24
    if guide is None:
        guide = ndimage.gaussian_filter(fluid.astype(np.float32), 1.0)
    cortex = anatomy.select(3, 42, 8, 47)
    place = (fluid | (cortex & (guide > 0.35))) & ndimage.binary_dilation(cortex, iterations=2) & anatomy.brain
    veins = []
    for start in draw_voxels(place, n, rng):
        steps, length = int(rng.integers(2, 6)), float(rng.uniform(3, 5))
        climb = None
        if rng.random() < across:
            climb = unit(rng.normal((0, 0, rng.choice([-1, 1])), 0.25))
        points = trace(guide, start, rng, steps=steps, step_length=length, direction=climb)
        radius = float(np.clip(np.exp(rng.normal(np.log(0.52), 0.4)), 0.2, 1.2))
        vein = _vein("sulcal_vein", to_world(anatomy, np.array(points)), radius, rng)
        veins.append(replace(vein, tissue_t2star=FLUID_T2STAR))
    return veins


def arteries(
    anatomy: Anatomy, n: int, rng: np.random.Generator, *, guide: npt.NDArray[np.float32] | None = None
) -> list[Feature]:
    """Arteries in the wide spaces of CSF: at the base, in the Sylvian and the interhemispheric fissure.

    Their blood is oxygenated, so its susceptibility is that of tissue. It flows: on T2w it has left before it is
    refocused (a void); on T2* and T1w it is bright where fresh blood has come in, or dark where it dephases, alike in
    all arteries of a scan. `guide`: as `crossing_vessels.FluidMaps.wide`, computed if not given.
    """
    fluid = anatomy.labels.data == 24
    if guide is None:
        guide = ndimage.gaussian_filter(fluid.astype(np.float32), 2.0)
    place = fluid & (guide > 0.45) & anatomy.brain
    bright = rng.random() < 0.5
    found = []
    for start in draw_voxels(place, n, rng):
        points = trace(guide, start, rng, steps=int(rng.integers(3, 7)), step_length=float(rng.uniform(3, 5)))
        vessel = Vessel(
            tuple(map(tuple, to_world(anatomy, np.array(points)).tolist())),
            float(np.clip(np.exp(rng.normal(np.log(0.75), 0.35)), 0.35, 1.8)),
            dchi=float(rng.uniform(-0.02, 0.03)),
            t2star=60.0,
            density=float(rng.uniform(1.2, 2.5) if bright else rng.uniform(0.1, 0.6)),
        )
        t1w = float(rng.uniform(1.5, 5.0) if bright else rng.uniform(0.5, 1.2))
        t2w = float(rng.uniform(0.02, 0.25))
        found.append(Feature("artery", (vessel,), t2w=t2w, t1w=t1w, tissue_t2star=FLUID_T2STAR))
    return found
