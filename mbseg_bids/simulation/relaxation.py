"""Relaxation of the head's tissues at 1.5 and 3 T, and the signal equations of the three contrasts.

Sources. T1, T2: Stanisz et al., MRM 2005, 54:507; Wansapura et al., JMRI 1999, 9:531. T2* of cortex and white matter:
Peters et al., MRI 2007, 25:748. Iron of the deep nuclei with age: Hallgren & Sourander, J Neurochem 1958, 3:41; its
effect on R2*: chosen to give the 40 / s of the elderly pallidum at 3 T, half of it at 1.5 T.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Relaxation:
    """Of one tissue: T1, T2 and T2* in ms, and proton density relative to water."""

    t1: float
    t2: float
    t2star: float
    density: float


_AT_3T: dict[str, Relaxation] = {
    "air": Relaxation(1000, 50, 20, 0.0),
    "csf": Relaxation(4200, 1800, 450, 1.00),
    "cortex": Relaxation(1400, 99, 62, 0.83),
    "white_matter": Relaxation(850, 78, 52, 0.70),
    "caudate": Relaxation(1350, 85, 48, 0.82),
    "putamen": Relaxation(1250, 78, 45, 0.80),
    "pallidum": Relaxation(1000, 66, 35, 0.76),
    "thalamus": Relaxation(1150, 80, 50, 0.78),
    "hippocampus": Relaxation(1400, 95, 60, 0.84),
    "cerebellar_cortex": Relaxation(1450, 99, 60, 0.83),
    "cerebellar_white": Relaxation(900, 80, 54, 0.71),
    "dentate": Relaxation(1050, 72, 40, 0.76),
    "brainstem": Relaxation(980, 78, 55, 0.72),
    "midbrain_nucleus": Relaxation(1050, 68, 35, 0.75),
    "hyperintensity": Relaxation(1450, 150, 85, 0.84),
    "lacune": Relaxation(3500, 1000, 300, 0.98),
    "choroid": Relaxation(2000, 220, 80, 0.90),
    # Flowing blood leaves before it is refocused: a flow void on T2w, here a short T2.
    "vessel": Relaxation(1650, 32, 35, 0.70),
    "artery": Relaxation(1100, 25, 45, 0.60),
    "soft_tissue": Relaxation(1300, 45, 30, 0.75),
    "fat": Relaxation(400, 70, 28, 0.80),
    "skin": Relaxation(550, 60, 28, 0.75),
    "bone": Relaxation(800, 8, 1.5, 0.15),
    "marrow": Relaxation(400, 55, 12, 0.55),
    "mucosa": Relaxation(1600, 120, 20, 0.80),
    "eye": Relaxation(4000, 900, 300, 1.00),
    "nerve": Relaxation(1000, 80, 45, 0.72),
    "dura": Relaxation(950, 30, 11, 0.45),
}

_IRON: dict[str, tuple[float, float, float]] = {
    # plateau (mg / 100 g), rate (1 / year), offset: plateau * (1 - exp(-rate * age)) + offset
    "pallidum": (21.41, 0.09, 0.37),
    "putamen": (14.62, 0.04, 0.46),
    "caudate": (9.66, 0.05, 0.33),
    "thalamus": (4.76, 0.05, 0.0),
    "dentate": (12.0, 0.06, 0.3),
    "midbrain_nucleus": (19.0, 0.07, 0.3),
}

_LABELS: dict[str, tuple[int, ...]] = {
    "csf": (4, 5, 14, 15, 24, 43, 44, 72),
    "cortex": (3, 42, 19, 20, 55, 56),
    "white_matter": (2, 41, 192, 251, 252, 253, 254, 255),
    "caudate": (11, 50, 26, 58),
    "putamen": (12, 51),
    "pallidum": (13, 52),
    "thalamus": (9, 10, 48, 49),
    "hippocampus": (17, 18, 53, 54),
    "cerebellar_cortex": (8, 47, 172, 136, 137, 163, 164),
    "cerebellar_white": (7, 46),
    "brainstem": (16, 28, 60),
    "hyperintensity": (25, 57, 77, 78, 79),
    "choroid": (31, 63),
    "vessel": (30, 62, 514),
    "artery": (502,),
    "soft_tissue": (507, 508),
    "skin": (511,),
    "mucosa": (509,),
    "bone": (515,),
    "marrow": (516,),
    "eye": (506,),
    "nerve": (85, 512, 530),
    # numbers of this package, beyond FreeSurfer's
    "lacune": (900,),
    "dentate": (901,),
    "midbrain_nucleus": (902,),
    "fat": (903,),
    "dura": (904,),
}

LABEL_CLASS: dict[int, str] = {label: name for name, labels in _LABELS.items() for label in labels}
"""Tissue of each label."""

LACUNE, DENTATE, MIDBRAIN_NUCLEUS, FAT, DURA, HYPERINTENSITY = 900, 901, 902, 903, 904, 77
"""Numbers given to structures that the simulation adds to a label map."""


def tissue_of(label: int) -> str:
    """Tissue of a FreeSurfer number, parcels of cortex and white matter included; anything unknown is air."""
    if 1000 <= label < 3000 or 11000 <= label < 13000:
        return "cortex"
    if 3000 <= label < 5100:
        return "white_matter"
    return LABEL_CLASS.get(label, "air")


def iron_content(tissue: str, age: float) -> float:
    """Non-haemin iron in mg / 100 g fresh weight at an age in years (Hallgren & Sourander 1958); 0 where not tabled."""
    if tissue not in _IRON:
        return 0.0
    plateau, rate, offset = _IRON[tissue]
    return plateau * (1 - np.exp(-rate * age)) + offset


def tissue_relaxation(
    field_strength: float, age: float, rng: np.random.Generator | None = None, *, spread: float = 0.06
) -> dict[str, Relaxation]:
    """Relaxation of every tissue.

    Parameters
    ----------
    field_strength
        1.5 or 3 T; between and beyond, interpolated along a power of the field.
    age
        Years; sets the iron of the deep nuclei, thereby their T2*.
    rng
        If given, each constant of each tissue is multiplied by exp(N(0, spread)).
    spread
        Between people and protocols.
    """
    ratio = field_strength / 3.0
    tissues = {}
    for name, at_3t in _AT_3T.items():
        t1 = at_3t.t1 * (1.0 if name in ("csf", "lacune", "eye") else ratio**0.32)
        r2star = 1 / (at_3t.t2star * ratio**-0.33)
        iron = iron_content(name, age)
        if iron:
            # 14 / s without iron and 1.3 / s per mg / 100 g at 3 T, the latter in proportion to the field.
            individual = 1.0 if rng is None else float(np.exp(rng.normal(0, 0.15)))
            r2star = 1e-3 * (14 * ratio**0.33 + 1.3 * ratio * iron * individual)
        tissue = replace(at_3t, t1=t1, t2=at_3t.t2 * ratio**-0.05, t2star=1 / r2star)
        if rng is not None:
            factors = np.exp(rng.normal(0, spread, 3))
            tissue = Relaxation(
                tissue.t1 * factors[0],
                tissue.t2 * factors[1],
                tissue.t2star * factors[2],
                tissue.density * float(np.exp(rng.normal(0, spread / 3))),
            )
        tissues[name] = tissue
    return tissues


def spoiled_gradient_echo(
    tissue: Relaxation, *, repetition_time: float, echo_time: float, flip_angle: float, t2star: bool = True
) -> float:
    """Ernst's steady state: PD sin(a) (1 - E1) / (1 - cos(a) E1) exp(-TE / T2*); times in ms, angle in degrees."""
    angle = np.deg2rad(flip_angle)
    e1 = np.exp(-repetition_time / tissue.t1)
    decay = np.exp(-echo_time / (tissue.t2star if t2star else tissue.t2))
    return float(tissue.density * np.sin(angle) * (1 - e1) / (1 - np.cos(angle) * e1) * decay)


def mprage(
    tissue: Relaxation,
    *,
    repetition_time: float,
    inversion_time: float,
    echo_time: float,
    flip_angle: float,
    echo_spacing: float = 7.0,
    n_echoes: int = 160,
) -> float:
    """Magnetisation-prepared rapid gradient echo, the signal at the centre of k-space, in the steady state.

    The longitudinal magnetisation is followed through inversion, recovery, the train of excitations and recovery, each
    an affine map m -> a m + b, whose fixed point is the steady state (Deichmann et al., NeuroImage 2000, 12:112).
    Times in ms, angle in degrees.
    """
    angle = np.deg2rad(flip_angle)
    e_spacing = np.exp(-echo_spacing / tissue.t1)
    step = np.cos(angle) * e_spacing
    plateau = (1 - e_spacing) / (1 - step)
    half = n_echoes // 2
    before = max(0.0, inversion_time - half * echo_spacing)
    after = max(0.0, repetition_time - before - n_echoes * echo_spacing)

    def recover(m: npt.NDArray, time: float) -> npt.NDArray:
        return 1 + (m - 1) * np.exp(-time / tissue.t1)

    def excite(m: npt.NDArray, n: int) -> npt.NDArray:
        return plateau + (m - plateau) * step**n

    # One period of the affine map at m = 0 and m = 1 gives its offset and slope.
    start = np.array([0.0, 1.0])
    end = recover(excite(recover(-start, before), n_echoes), after)
    steady = end[0] / (1 - (end[1] - end[0]))
    centre = excite(recover(-steady, before), half)
    return float(abs(tissue.density * centre * np.sin(angle) * np.exp(-echo_time / tissue.t2star)))


def turbo_spin_echo(tissue: Relaxation, *, repetition_time: float, echo_time: float) -> float:
    """PD (1 - exp(-TR / T1)) exp(-TE / T2) with the effective echo time; times in ms. Refocusing undoes T2*."""
    return float(tissue.density * (1 - np.exp(-repetition_time / tissue.t1)) * np.exp(-echo_time / tissue.t2))
