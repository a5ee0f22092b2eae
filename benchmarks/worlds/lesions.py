"""Microbleeds: how large, where, and what they do to the frequency and the decay around them.

Volumes and places follow the VALDO cohort (Sudre 2024, doi:10.1016/j.media.2023.103029, metadata of 253 microbleeds).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.worlds.grids import Box, FloatArray
from benchmarks.worlds.heads import Labels
from benchmarks.worlds.susceptibility import LARMOR, sphere_frequency, static_dephasing_rate

VOLUME_QUANTILES = ((0.0, 2.5), (0.05, 4.3), (0.1, 5.8), (0.25, 7.9), (0.5, 10.6), (0.75, 18.1), (0.9, 43.0),
                    (0.95, 60.2), (1.0, 195.0))  # fmt: skip
"""Observed volume on T2*, mm3."""
PLACES = {"subcortical_wm": 0.39, "cortex": 0.38, "basal_ganglia": 0.12, "cerebellum": 0.05, "thalamus": 0.04,
          "brainstem": 0.02}  # fmt: skip
REGION = {
    3: "cortical_gm", 42: "cortical_gm", 17: "cortical_gm", 53: "cortical_gm", 18: "cortical_gm", 54: "cortical_gm",
    2: "cerebral_wm", 41: "cerebral_wm", 25: "cerebral_wm", 57: "cerebral_wm", 77: "cerebral_wm", 8: "cerebellar_gm",
    47: "cerebellar_gm", 7: "cerebellar_wm", 46: "cerebellar_wm", 16: "brainstem", 28: "brainstem", 60: "brainstem",
    10: "deep_gm", 49: "deep_gm", 11: "deep_gm", 50: "deep_gm", 12: "deep_gm", 51: "deep_gm", 13: "deep_gm",
    52: "deep_gm", 26: "deep_gm", 58: "deep_gm",
}  # fmt: skip
"""Region as `mbseg evaluate` names it, by FreeSurfer label."""
NOMINAL_B0, NOMINAL_TE, NOMINAL_VOXEL = 2.2, 0.025, 0.9
"""T, s, mm: middle of the cohort, at which a lesion has the volume that was drawn; a scan shows more or less of it."""
MINIMUM_DISTANCE = 9.0
"""mm between two lesions, so that they do not merge."""


@dataclass(frozen=True, eq=False)
class Microbleed:
    """Haemosiderin in one or more spheres.

    Attributes
    ----------
    centre
        mm, scan frame.
    spheres
        (n, 4): offset from the centre and radius, mm.
    chi
        Mean susceptibility within, ppm.
    volume
        Volume in mm3 that the drawn size was to show at the nominal field and echo time.
    region
        Name of the region.
    """

    centre: FloatArray
    spheres: FloatArray
    chi: float
    volume: float
    region: str

    def reach(self, b0: float, echo_time: float) -> float:
        """Return the mm from the centre beyond which the phase stays below 0.06 rad."""
        phase = 4 * np.pi * LARMOR * b0 * self.chi * 1e-6 / 3 * echo_time
        cubes = float((self.spheres[:, 3] ** 3).sum())
        return float(np.clip((phase * cubes / 0.06) ** (1 / 3), 3.0, 16.0) + np.abs(self.spheres[:, :3]).max())

    def effect(
        self, points: FloatArray, b0: float, direction: FloatArray, softness: float
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return frequency shift (Hz) and relaxation rate R2' (1/s) at points (..., 3) in mm."""
        frequency = np.zeros(points.shape[:-1])
        inside = np.zeros(points.shape[:-1])
        for *offset, radius in self.spheres:
            centre = self.centre + offset
            frequency += sphere_frequency(points, centre, radius, self.chi, b0, direction)
            distance = np.linalg.norm(points - centre, axis=-1)
            inside = np.maximum(inside, np.clip((radius - distance) / softness + 0.5, 0, 1))
        return frequency.astype(np.float32), (inside * static_dephasing_rate(self.chi, b0)).astype(np.float32)


def core_radius(volume: float, chi: float) -> float:
    """Return the radius in mm of a sphere of ``chi`` ppm whose void has ``volume`` mm3 at nominal field and echo time.

    Signal is lost outside the sphere to where the phase turns by about 2.8 rad over a voxel (``sinc`` 0.7); the
    gradient is ``3 phi a^3/r^4`` with ``phi = 2 pi gamma b0 chi/3 TE``.
    """
    edge = (3 * volume / (4 * np.pi)) ** (1 / 3)
    phi = 2 * np.pi * LARMOR * NOMINAL_B0 * chi * 1e-6 / 3 * NOMINAL_TE
    bloomed = (2.8 * edge**4 / (3 * phi * NOMINAL_VOXEL)) ** (1 / 3)
    return float(min(edge, bloomed))


def draw_volume(rng: np.random.Generator) -> float:
    """Draw an observed volume in mm3 from the cohort's quantiles."""
    share, volume = zip(*VOLUME_QUANTILES, strict=True)
    return float(np.exp(np.interp(rng.random(), share, np.log(volume))))


def draw_microbleeds(
    labels: Labels, box: Box, rng: np.random.Generator, n: int, avoid: npt.NDArray[np.bool_]
) -> list[Microbleed]:
    """Draw microbleeds with places by the cohort's shares, each surrounded by parenchyma.

    Parameters
    ----------
    labels
        On ``box``.
    avoid
        Where none may lie, on ``box``: vessels, calcifications, dropout.
    """
    places = _masks(labels, avoid)
    names = [name for name in PLACES if places[name].any()]
    share = np.array([PLACES[name] for name in names])
    found: list[Microbleed] = []
    parenchyma = np.isin(labels, list(REGION))
    for _ in range(60 * n):
        if len(found) == n:
            break
        name = names[rng.choice(len(names), p=share / share.sum())]
        voxel = np.unravel_index(rng.choice(np.flatnonzero(places[name])), labels.shape)
        centre = (np.array(voxel) + rng.uniform(-0.4, 0.4, 3) - box.middle) * box.spacing
        volume = draw_volume(rng)
        edge = (3 * volume / (4 * np.pi)) ** (1 / 3)
        if any(np.linalg.norm(centre - other.centre) < MINIMUM_DISTANCE + edge for other in found):
            continue
        if _share_within(parenchyma, box, centre, edge + 1.0) < (0.75 if name == "cortex" else 0.95):
            continue
        found.append(_grow(rng, centre, volume, REGION[int(labels[voxel])]))
    return found


def _masks(labels: Labels, avoid: npt.NDArray[np.bool_]) -> dict[str, npt.NDArray[np.bool_]]:
    members: dict[str, Sequence[int]] = {
        "subcortical_wm": (2, 41, 25, 57, 77), "cortex": (3, 42), "basal_ganglia": (11, 50, 12, 51, 13, 52),
        "cerebellum": (7, 8, 46, 47), "thalamus": (10, 49), "brainstem": (16,),
    }  # fmt: skip
    return {name: np.isin(labels, numbers) & ~avoid for name, numbers in members.items()}


def _share_within(mask: npt.NDArray[np.bool_], box: Box, centre: FloatArray, radius: float) -> float:
    reach = int(np.ceil(radius / box.spacing))
    offsets = np.indices((2 * reach + 1,) * 3).reshape(3, -1).T - reach
    offsets = offsets[np.linalg.norm(offsets, axis=1) * box.spacing <= radius]
    where = np.clip(np.rint(box.indices(centre)).astype(int) + offsets, 0, np.array(box.shape) - 1)
    return float(mask[tuple(where.T)].mean())


def _grow(rng: np.random.Generator, centre: FloatArray, volume: float, region: str) -> Microbleed:
    chi = float(np.exp(rng.uniform(np.log(0.6), np.log(3.5))))
    radius = core_radius(volume, chi)
    n = rng.choice([1, 2, 3], p=[0.55, 0.3, 0.15])
    share = rng.dirichlet(np.full(n, 6.0))
    offsets = np.zeros((n, 3)) if n == 1 else rng.normal(0, 0.45 * radius, (n, 3))
    offsets -= share @ offsets
    return Microbleed(centre, np.column_stack([offsets, radius * share ** (1 / 3)]), chi, volume, region)
