"""Short straight vessels of CSF, ventricles, cortex, white matter: cut across by a slice they are dots, else lines."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.simulation.anatomy import Anatomy
from mbseg_bids.simulation.susceptibility import Feature, Vessel
from mbseg_bids.simulation.vessels import FLUID_T2STAR, draw_voxels, to_world, unit

_VENTRICLES = (4, 5, 14, 15, 43, 44)


@dataclass(frozen=True, eq=False)
class FluidMaps:
    """How much CSF of the subarachnoid space lies about each voxel of an anatomy, 0-1: guides to place vessels by.

    Attributes
    ----------
    narrow, wide
        Float32: mean over a Gaussian of 1 and of 2 mm.
    """

    narrow: npt.NDArray[np.float32]
    wide: npt.NDArray[np.float32]


def fluid_maps(anatomy: Anatomy) -> FluidMaps:
    """Compute both maps."""
    fluid = (anatomy.labels.data == 24).astype(np.float32)
    narrow = ndimage.gaussian_filter(fluid, 1.0, truncate=3.0)
    return FluidMaps(narrow, ndimage.gaussian_filter(narrow, np.sqrt(3.0), truncate=2.5))


def straight_vessel(
    kind: str,
    ends: npt.NDArray,
    rng: np.random.Generator,
    *,
    median_radius: float,
    dchi: tuple[float, float] = (0.1, 1.0),
    tissue_t2star: float = 50.0,
) -> Feature:
    """A vessel between two points (2, 3) in mm, its blood anything from oxygenated to clotted, still to fast.

    Parameters
    ----------
    median_radius
        mm; log standard deviation 0.5, within 0.12 and 1.5 mm.
    dchi
        Range of the susceptibility, ppm.
    tissue_t2star
        ms, of what the vessel replaces.
    """
    vessel = Vessel(
        tuple(map(tuple, ends.tolist())),
        float(np.clip(np.exp(rng.normal(np.log(median_radius), 0.5)), 0.12, 1.5)),
        dchi=float(rng.uniform(*dchi)),
        t2star=float(np.exp(rng.uniform(np.log(6), np.log(50)))),
        density=float(rng.uniform(0.3, 1.2)),
    )
    return Feature(
        kind,
        (vessel,),
        t2w=float(rng.uniform(0.05, 0.9)),
        t1w=float(rng.uniform(0.5, 1.6)),
        tissue_t2star=tissue_t2star,
    )


def csf_vessels(anatomy: Anatomy, maps: FluidMaps, rng: np.random.Generator, *, load: float = 1.0) -> list[Feature]:
    """Vessels in CSF of every width, 2 to 22 mm long: narrow sulci, wide sulci and cisterns, ventricles.

    Half of them climb along the scanner's z, so that axial slices cut them into dots.
    """
    fluid = (anatomy.labels.data == 24) & anatomy.brain
    places = (
        (fluid & (maps.wide < 0.4), rng.uniform(25, 80)),
        (fluid & (maps.wide >= 0.4), rng.uniform(25, 100)),
        (anatomy.select(*_VENTRICLES) & anatomy.brain, rng.uniform(2, 16)),
    )
    found = []
    for place, mean in places:
        for start in draw_voxels(place, round(load * mean), rng):
            climbs = rng.random() < 0.5
            direction = unit(rng.normal((0, 0, 1), 0.3) if climbs else rng.normal(size=3))
            half = direction * np.exp(rng.uniform(np.log(1), np.log(11)))
            ends = to_world(anatomy, np.array([start - half, start + half]))
            found.append(straight_vessel("csf_vessel", ends, rng, median_radius=0.45, tissue_t2star=FLUID_T2STAR))
    return found


def tissue_vessels(anatomy: Anatomy, rng: np.random.Generator, *, load: float = 1.0) -> list[Feature]:
    """Vessels of white matter, cortex, nuclei and brainstem in any direction, 5 to 16 mm long.

    No shorter: what can be seen whole and is as long as wide is no vessel to a reader either.
    """
    groups = (
        ((2, 41, 77), rng.uniform(12, 45)),
        ((3, 42), rng.uniform(10, 35)),
        ((10, 11, 12, 49, 50, 51, 16, 7, 46, 8, 47), rng.uniform(4, 16)),
    )
    found = []
    for labels, mean in groups:
        for start in draw_voxels(anatomy.select(*labels), round(load * mean), rng):
            half = unit(rng.normal(size=3)) * rng.uniform(2.5, 8)
            ends = to_world(anatomy, np.array([start - half, start + half]))
            found.append(straight_vessel("tissue_vessel", ends, rng, median_radius=0.28, dchi=(0.2, 0.8)))
    return found
