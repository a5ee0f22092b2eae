"""Tissues of the head: how much of each a fine voxel holds, and how bright each is in a contrast.

Relaxation times, ms, at 1.5 and 3 T: Stanisz 2005, doi:10.1002/mrm.20605; Wansapura 1999,
doi:10.1002/(SICI)1522-2586(199904)9:4<531::AID-JMRI4>3.0.CO;2-L; Rooney 2007, doi:10.1002/mrm.21122 (rounded). Signal
equations: Brown et al., Magnetic Resonance Imaging: Physical Principles and Sequence Design, 2nd ed. 2014.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from benchmarks.worlds.grids import Box, FloatArray, resample, smooth_noise
from benchmarks.worlds.heads import Labels

CLASSES: dict[str, tuple[int, ...]] = {
    "air": (0,), "bone": (515,), "csf": (24, 4, 43, 5, 44, 14, 15, 72, 31, 63), "cortex": (3, 42),
    "hippocampus": (17, 53, 18, 54), "cerebellar_cortex": (8, 47), "wm": (2, 41, 85), "cerebellar_wm": (7, 46),
    "brainstem": (16, 28, 60), "wmh": (25, 57, 77, 78, 79), "striatum": (11, 50, 12, 51, 26, 58), "thalamus": (10, 49),
    "pallidum": (13, 52), "fat": (511, 516), "soft": (507,), "sinus": (514,),
}  # fmt: skip
GROUPS = (
    ("air", "bone"), ("csf",), ("cortex", "hippocampus", "cerebellar_cortex"),
    ("wm", "cerebellar_wm", "brainstem", "wmh"), ("striatum", "thalamus", "pallidum"), ("fat",), ("soft", "sinus"),
)  # fmt: skip
"""Classes of like signal, among which no sharp border is drawn."""
FLUID, GRAY = 1, 2
SHARPNESS = 3
"""Power of the smoothed memberships: the border between two tissues is about 0.5 mm wide."""

_NAMES = ("proton density", "T1 1.5 T", "T1 3 T", "T2 1.5 T", "T2 3 T")
RELAXATION: dict[str, tuple[float, float, float, float, float]] = {
    "air": (0.0, 1000, 1000, 10, 10),
    "bone": (0.05, 300, 350, 3, 3),
    "csf": (1.0, 4000, 4300, 2000, 1700),
    "cortex": (0.83, 1130, 1500, 97, 92),
    "hippocampus": (0.84, 1120, 1450, 98, 95),
    "cerebellar_cortex": (0.82, 1080, 1400, 94, 90),
    "wm": (0.70, 660, 880, 76, 70),
    "cerebellar_wm": (0.71, 690, 920, 78, 72),
    "brainstem": (0.73, 740, 980, 78, 71),
    "wmh": (0.80, 950, 1250, 130, 120),
    "striatum": (0.81, 1000, 1320, 84, 76),
    "thalamus": (0.79, 900, 1180, 84, 77),
    "pallidum": (0.75, 800, 1050, 72, 60),
    "fat": (0.9, 290, 370, 140, 130),
    "soft": (0.78, 1010, 1410, 42, 38),
    "sinus": (0.85, 1440, 1930, 160, 70),
}
"""By class: proton density (water = 1), T1 and T2 in ms at 1.5 and 3 T."""


@dataclass(frozen=True)
class Contrast:
    """Signal of each class of tissue, white matter being 1."""

    signal: Mapping[str, float]

    def scaled(self) -> "Contrast":
        """Return the same with white matter at 1."""
        return Contrast({name: value / self.signal["wm"] for name, value in self.signal.items()})


def _times(name: str, b0: float) -> tuple[float, float, float]:
    density, t1_low, t1_high, t2_low, t2_high = RELAXATION[name]
    share = (b0 - 1.5) / 1.5
    return density, t1_low + share * (t1_high - t1_low), t2_low + share * (t2_high - t2_low)


def draw_t1w(rng: np.random.Generator, b0: float) -> Contrast:
    """Return a magnetisation-prepared T1 contrast: ``|1 - 2 exp(-TI/T1) + exp(-TR/T1)|`` with drawn times."""
    tr, ti = rng.uniform(1900, 2400), rng.uniform(850, 1050) * (0.82 + 0.06 * b0)
    signal = {}
    for name in CLASSES:
        density, t1, _ = _times(name, b0)
        t1 *= rng.uniform(0.96, 1.04)
        signal[name] = density * abs(1 - 2 * np.exp(-ti / t1) + np.exp(-tr / t1))
    signal["csf"] = max(signal["csf"], 0.05)
    signal["sinus"] *= rng.uniform(0.4, 1.6)  # inflow
    return Contrast(signal).scaled()


def draw_t2w(rng: np.random.Generator, b0: float) -> Contrast:
    """Return a fast-spin-echo T2 contrast: ``(1 - exp(-TR/T1)) exp(-TE/T2)``; flowing blood is void."""
    tr, te = rng.uniform(3000, 6500), rng.uniform(75, 115)
    signal = {}
    for name in CLASSES:
        density, t1, t2 = _times(name, b0)
        signal[name] = density * (1 - np.exp(-tr / t1)) * np.exp(-te / (t2 * rng.uniform(0.96, 1.04)))
    signal["csf"] *= rng.uniform(0.6, 1.0)  # pulsation
    signal["fat"] *= rng.uniform(0.8, 1.6)  # echo train
    signal["sinus"] *= 0.15
    return Contrast(signal).scaled()


def draw_t2star(rng: np.random.Generator) -> Contrast:
    """Return a T2* contrast without iron, as wide as seen: fluid 1.1 to 2.3, cortex 0.95 to 1.3 of white matter."""
    fluid, cortex = rng.uniform(1.1, 2.3), rng.uniform(0.95, 1.3)
    signal = dict.fromkeys(CLASSES, 1.0) | {
        "air": 0.0, "bone": 0.06, "csf": fluid, "cortex": cortex, "hippocampus": cortex * rng.uniform(0.98, 1.08),
        "cerebellar_cortex": cortex * rng.uniform(0.92, 1.02), "cerebellar_wm": rng.uniform(0.9, 1.02),
        "brainstem": rng.uniform(0.88, 1.02), "wmh": rng.uniform(1.05, 1.3), "striatum": (1 + cortex) / 2 * 1.02,
        "thalamus": (1 + cortex) / 2 * rng.uniform(0.95, 1.02), "pallidum": rng.uniform(0.95, 1.02),
        "fat": rng.uniform(0.35, 0.9), "soft": rng.uniform(0.4, 0.75), "sinus": rng.uniform(0.35, 1.5),
    }  # fmt: skip
    return Contrast(signal)


def classes_of(labels: Labels) -> npt.NDArray[np.uint8]:
    """Return the number of each voxel's class, in the order of ``CLASSES``; labels that have none count as bone."""
    table = np.full(max(int(labels.max()), 600) + 1, list(CLASSES).index("bone"), np.uint8)
    for number, members in enumerate(CLASSES.values()):
        table[list(members)] = number
    return table[labels]


@dataclass(frozen=True, eq=False)
class Mixture:
    """Tissue of a head on a coarse grid, from which signal maps are made on a finer one.

    Attributes
    ----------
    classes
        Number of the class of every voxel of ``coarse``.
    coarse, fine
        1 mm grid of the labels, and the grid of the maps; same frame.
    sulci
        Factor of the membership of fluid: above 1 widens sulci and cisterns, below 1 narrows them.
    """

    classes: npt.NDArray[np.uint8]
    coarse: Box
    fine: Box
    sulci: float = 1.0

    def signal_maps(self, contrasts: list[Contrast], gains: list[FloatArray]) -> list[npt.NDArray[np.float32]]:
        """Return the signal of each contrast on the fine grid, tissues sharing border voxels in parts.

        ``gains`` holds a factor on the coarse grid for each contrast: coil, unevenness of tissue.
        """
        total = np.full(self.fine.shape, 1e-6, np.float32)
        maps = [np.zeros(self.fine.shape, np.float32) for _ in contrasts]
        names = list(CLASSES)
        for number, group in enumerate(GROUPS):
            member = np.isin(self.classes, [names.index(name) for name in group]).astype(np.float32)
            member = ndimage.gaussian_filter(member, 0.6, truncate=3)
            if number == FLUID:
                member *= self.sulci
            share = resample(member, self.coarse, self.fine)
            share **= SHARPNESS
            total += share
            for out, contrast in zip(maps, contrasts, strict=True):
                share_signal = contrast.signal[group[0]]
                if share_signal:
                    out += np.float32(share_signal) * share
                elif group[0] == "air":
                    out += np.float32(contrast.signal["bone"]) * share
        for out, contrast, gain in zip(maps, contrasts, gains, strict=True):
            out /= total
            out *= resample(self._modulation(contrast) * gain, self.coarse, self.fine)
        return maps

    def _modulation(self, contrast: Contrast) -> npt.NDArray[np.float32]:
        """Return how much brighter than the first class of its group each voxel is, smoothed."""
        factor = np.ones(len(CLASSES), np.float32)
        names = list(CLASSES)
        for group in GROUPS:
            for name in group:
                reference = contrast.signal[group[0]] or contrast.signal["bone"]
                factor[names.index(name)] = contrast.signal[name] / reference
        return ndimage.gaussian_filter(factor[self.classes], 0.7, truncate=3)


def weighted(classes: npt.NDArray[np.uint8], value: Mapping[str, float]) -> npt.NDArray[np.float32]:
    """Return a map that holds ``value`` of each class of tissue, 0 where none is given."""
    table = np.array([value.get(name, 0.0) for name in CLASSES], np.float32)
    return table[classes]


def iron(
    labels: Labels, box: Box, landmarks: FloatArray, rng: np.random.Generator, amount: float
) -> npt.NDArray[np.float32]:
    """Return the susceptibility in ppm that non-haem iron gives the nuclei, uneven within each of them.

    Concentrations, mg/100 g: pallidum 21, red nucleus 19, substantia nigra 18, putamen 13, dentate 10, caudate 9,
    thalamus 5, cortex about 3 (Hallgren and Sourander 1958, doi:10.1111/j.1471-4159.1958.tb12607.x); about 0.009 ppm
    for each mg/100 g (Langkammer 2012, doi:10.1016/j.neuroimage.2012.05.049). ``amount`` scales all (age).
    """
    per_class = {"pallidum": 0.18, "striatum": 0.085, "thalamus": 0.03, "cortex": 0.015, "hippocampus": 0.015}
    chi = weighted(classes_of(labels), per_class)
    chi[np.isin(labels, (12, 51))] = 0.115
    for place, radii, value in NUCLEI:
        for side in (-1, 1):
            centre = landmarks @ np.array([side * place[0], *place[1:], 1.0])
            fraction = ellipsoid(box, centre, np.array(radii), rng, 0.25)
            if value < 0.1:  # dentate: a crumpled shell
                fraction *= np.clip(1.6 * np.abs(fraction - 0.5) + 0.3, 0, 1)
            chi = np.maximum(chi, value * fraction)
    chi = ndimage.gaussian_filter(chi, 0.8, truncate=3)
    for wavelength, depth in ((12.0, 0.18), (3.0, 0.22)):
        chi *= np.clip(1 + depth * smooth_noise(rng, box.shape, box.spacing, wavelength), 0.2, 2.0)
    return np.float32(amount) * chi


NUCLEI = (
    ((5.0, -20.0, -9.5), (3.0, 3.5, 3.5), 0.14),
    ((10.0, -17.0, -12.0), (5.0, 2.2, 4.5), 0.14),
    ((11.0, -13.0, -7.0), (3.5, 2.0, 2.0), 0.12),
    ((15.0, -57.0, -34.0), (5.5, 8.0, 4.5), 0.09),
)
"""Red nucleus, substantia nigra, subthalamic nucleus, dentate: centre in ICBM152 (right), half axes in mm, ppm.
Places: Keuken et al. 2014, NeuroImage 94:40 (midbrain); Dimitrova et al. 2006, NeuroImage 30:12 (dentate)."""


def ellipsoid(
    box: Box, centre: FloatArray, radii: FloatArray, rng: np.random.Generator, roughness: float = 0.0
) -> npt.NDArray[np.float32]:
    """Return the share of each voxel in an ellipsoid along the axes of the box, its surface roughened."""
    out = np.zeros(box.shape, np.float32)
    reach = radii * (1 + 2 * roughness) + 2 * box.spacing
    low = np.maximum(np.floor(box.indices(centre - reach)).astype(int), 0)
    high = np.minimum(np.ceil(box.indices(centre + reach)).astype(int) + 1, box.shape)
    if (high <= low).any():
        return out
    window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    axes = [box.axis(i)[part] - centre[i] for i, part in enumerate(window)]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    distance = np.sqrt((x / radii[0]) ** 2 + (y / radii[1]) ** 2 + (z / radii[2]) ** 2)
    if roughness:
        n = tuple(max(5, int(s)) for s in distance.shape)
        bumps = ndimage.gaussian_filter(rng.standard_normal(n), 1.5)
        distance = distance * (
            1 + roughness * bumps[: distance.shape[0], : distance.shape[1], : distance.shape[2]] / bumps.std()
        )
    out[window] = np.clip((1 - distance) * radii.min() / box.spacing + 0.5, 0, 1)
    return out
