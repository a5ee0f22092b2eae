"""Calcium, which is diamagnetic: choroid plexus, pineal gland, pallidum, dentate nucleus, dura; hard perforators."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mbseg_bids.simulation.anatomy import Anatomy
from mbseg_bids.simulation.relaxation import DENTATE, DURA
from mbseg_bids.simulation.susceptibility import Feature, Sphere, Vessel
from mbseg_bids.simulation.vessels import draw_voxels, to_world, unit

_VENTRICLES = (4, 43, 31, 63)


def deposit(places: npt.NDArray, radius: float, dchi: float, rng: np.random.Generator) -> Feature:
    """One deposit of calcium: touching spheres at places (n, 3) in mm, of one radius (mm) and susceptibility (ppm)."""
    spheres = tuple(Sphere(tuple(place.tolist()), radius, dchi, t2star=8.0, density=0.4) for place in places)
    return Feature("calcification", spheres, t2w=float(rng.uniform(0.2, 0.9)), t1w=float(rng.uniform(0.4, 1.4)))


def _round_deposits(
    anatomy: Anatomy, voxels: npt.NDArray, rng: np.random.Generator, radius: tuple[float, float]
) -> list[Feature]:
    places = to_world(anatomy, voxels)
    return [deposit(place[None], _log_uniform(rng, *radius), -float(rng.uniform(0.8, 2.5)), rng) for place in places]


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def calcifications(anatomy: Anatomy, rng: np.random.Generator, *, probability: float = 0.5) -> list[Feature]:
    """Choroid plexus and pineal gland in a share `probability` of heads, pallidum and dentate in a fifth as many.

    Calcium of the pallidum is seen in about a tenth of old people; were it as common as in half of the scans, a
    network would do best to call every dark spot of the pallidum calcium.
    """
    found = []
    if rng.random() < probability:
        found += choroid_plexus(anatomy, rng)
    third = np.argwhere(anatomy.select(14))
    if rng.random() < probability and len(third):
        back = third[third[:, 1] <= np.quantile(third[:, 1], 0.05)].mean(axis=0)
        found += _round_deposits(anatomy, (back + np.array((0, -4, 2)))[None], rng, (1.0, 2.5))
    if rng.random() < 0.2 * probability:
        for side in (13, 52):
            found += _round_deposits(
                anatomy, draw_voxels(anatomy.select(side), int(rng.integers(1, 4)), rng), rng, (0.5, 1.5)
            )
    if rng.random() < 0.2 * probability:
        found += _round_deposits(
            anatomy, draw_voxels(anatomy.select(DENTATE), int(rng.integers(2, 9)), rng), rng, (0.4, 1.2)
        )
    return found


def choroid_plexus(anatomy: Anatomy, rng: np.random.Generator) -> list[Feature]:
    """Many small deposits and a few large ones in the back of the lateral ventricles, most of them in the atria."""
    ventricles = anatomy.select(*_VENTRICLES)
    if not ventricles.any():
        return []
    posterior = ventricles.copy()
    posterior[:, int(np.quantile(np.flatnonzero(ventricles.any(axis=(0, 2))), 0.45)) :] = False
    small, large = int(rng.integers(2, 13)), int(rng.integers(0, 4))
    plexus = anatomy.select(31, 63)
    voxels = draw_voxels(plexus if plexus.any() and rng.random() < 0.5 else posterior, small, rng)
    return _round_deposits(anatomy, voxels, rng, (0.3, 0.9)) + _round_deposits(
        anatomy, draw_voxels(posterior, large, rng), rng, (0.9, 2.5)
    )


def parenchymal_deposits(
    anatomy: Anatomy, n: int, rng: np.random.Generator, *, avoid: Sequence[npt.NDArray] = (), apart: float = 9.0
) -> list[Feature]:
    """`n` round deposits in pallidum (six of ten) and dentate nucleus, such as are taken for microbleeds.

    At least `apart` mm from each other and from the points in `avoid` (scanner RAS+ mm); fewer where there is no room.
    """
    masks = [mask for labels in ((13, 52), (DENTATE,)) if (mask := anatomy.select(*labels)).any()]
    if not masks:
        return []
    taken = [np.asarray(point) for point in avoid]
    places: list[npt.NDArray] = []
    for _ in range(20 * n):
        if len(places) == n:
            break
        mask = masks[0] if rng.random() < 0.6 else masks[-1]
        place = to_world(anatomy, draw_voxels(mask, 1, rng)[0])
        if not taken or np.linalg.norm(np.array(taken) - place, axis=1).min() >= apart:
            taken.append(place)
            places.append(place)
    return [deposit(place[None], _log_uniform(rng, 0.8, 2.0), -float(rng.uniform(0.8, 2.5)), rng) for place in places]


def dural_plaques(anatomy: Anatomy, rng: np.random.Generator, *, mean: float = 1.5) -> list[Feature]:
    """Plaques on falx and tentorium: one to five spheres in a row within the sheet, -1 to -2 ppm."""
    plaques = []
    for start in draw_voxels(anatomy.select(DURA) & anatomy.brain, int(rng.poisson(mean)), rng):
        radius = float(rng.uniform(0.4, 1.3))
        along = 1.4 * radius * unit(rng.normal(size=3) * (0.1, 1.0, 1.0))
        steps = np.arange(int(rng.integers(1, 6)))
        plaques.append(
            deposit(to_world(anatomy, start + np.outer(steps, along)), radius, -float(rng.uniform(1.0, 2.0)), rng)
        )
    return plaques


def mineralised_perforators(anatomy: Anatomy, n: int, rng: np.random.Generator) -> list[Feature]:
    """Stretches of lenticulostriate arteries with iron or calcium in their walls, running up through the nuclei."""
    found = []
    for start in draw_voxels(anatomy.select(12, 51, 13, 52), n, rng):
        direction = unit(rng.normal((0, 0, 1.0), 0.45))
        ends = to_world(anatomy, np.array([start, start + direction * rng.uniform(3, 12)]))
        dchi = float(rng.uniform(0.3, 1.0)) * (1 if rng.random() < 0.6 else -1)
        vessel = Vessel(tuple(map(tuple, ends.tolist())), _log_uniform(rng, 0.15, 0.5), dchi, t2star=12.0, density=0.7)
        t2w, t1w = float(rng.uniform(0.4, 1.0)), float(rng.uniform(0.7, 1.3))
        found.append(Feature("mineralised_perforator", (vessel,), t2w=t2w, t1w=t1w, tissue_t2star=35.0))
    return found
