"""Scans that no reading of files can find fault with: wrong people, poses, names and objects, one case a function.

Each spoils an intact simulated session in :class:`whole.WholePlace`; the real App computes on what is left.
"""

from collections.abc import Callable
from dataclasses import dataclass

import nibabel as nib
import numpy as np

CONTRASTS = ("T1w", "T2w", "T2starw")
NOTICED, FINE = "noticed", "fine"
"""What must come of a case: its sentence on the first screen of the report, or on the last line of a run that failed;
or all checks passed."""


@dataclass(frozen=True)
class WholeCase:
    """One wrong session, and what the App must say of it."""

    name: str
    what: str
    """What is wrong, in words."""
    build: Callable
    """Spoils the dataset of the place it is given."""
    outcome: str
    """``noticed`` or ``fine``."""
    says: str
    """Part of the sentence that must be said; empty where none is expected."""


WHOLE_CASES: dict[str, WholeCase] = {}


def whole_case(outcome: str, says: str = "") -> Callable:
    """Register a case under the name of its function."""

    def register(build: Callable) -> Callable:
        what = (build.__doc__ or "").strip().rstrip(".")
        WHOLE_CASES[build.__name__] = WholeCase(build.__name__, what, build, outcome, says)
        return build

    return register


def upside_down(data: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Turn an image by half a turn about the axis from left to right, however it is stored; nothing is mirrored."""
    world = nib.io_orientation(affine)[:, 0]
    return np.flip(data, [axis for axis in range(3) if world[axis] != 0])


def ball(shape, affine: np.ndarray, rng: np.random.Generator, radius: float = 80.0) -> np.ndarray:
    """Return the magnitude of a ball of water of a radius in mm in the middle of the field of view, with noise."""
    index = np.indices(shape).reshape(3, -1)
    middle = (np.array(shape)[:, None] - 1) / 2
    inside = np.linalg.norm(affine[:3, :3] @ (index - middle), axis=0).reshape(shape) < radius
    return np.hypot(1000.0 * inside + rng.normal(0, 20, shape), rng.normal(0, 20, shape))


def masked_phase(magnitude: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a wrapped phase from 0 to 4095 inside the head, zero in air, as scanners export with a mask."""
    head = magnitude > np.percentile(magnitude, 60)
    i, j, k = (np.linspace(-1, 1, n).reshape([-1 if a == axis else 1 for a in range(3)])
               for axis, n in enumerate(magnitude.shape))  # fmt: skip
    radians = 9 * i**2 + 7 * j * k - 5 * k**2 + 3 * j + rng.normal(0, 0.3, magnitude.shape)
    return np.where(head, np.mod(radians, 2 * np.pi) * 4095 / (2 * np.pi), 0)


@whole_case(FINE)
def intact(p):
    """Nothing wrong"""


@whole_case(FINE)
def floats_of_millions(p):
    """T2* as 32-bit floats up to 8e6"""
    image = p.load("T2starw")
    data = image.get_fdata()
    p.save("T2starw", data * (8e6 / data.max()), image.affine)


@whole_case(NOTICED, "lies back to front and upside down by its header")
def all_upside_down(p):
    """T1w, T2w and T2* upside down against their headers"""
    for contrast in CONTRASTS:
        image = p.load(contrast)
        p.save(contrast, upside_down(image.get_fdata(), image.affine), image.affine)


@whole_case(NOTICED, "to T2* registration failed its check")
def t2star_upside_down(p):
    """T2* alone upside down against its header"""
    image = p.load("T2starw")
    p.save("T2starw", upside_down(image.get_fdata(), image.affine), image.affine)


@whole_case(NOTICED, "T1w to T2* registration failed its check")
def noise(p):
    """Noise in place of all three images"""
    for contrast in CONTRASTS:
        image = p.load(contrast)
        p.save(contrast, np.hypot(*p.rng.normal(0, 50, (2, *image.shape))), image.affine)


@whole_case(NOTICED, "T1w to T2* registration failed its check")
def ball_of_water(p):
    """Ball of water in place of the head, in all three images"""
    for contrast in CONTRASTS:
        image = p.load(contrast)
        p.save(contrast, ball(image.shape, image.affine, p.rng), image.affine)


@whole_case(NOTICED, "% of the brain: counts are of this part")
def upper_half_only(p):
    """T2* of which the lower half of the slices is missing, and its header is right"""
    image = p.load("T2starw")
    start = image.shape[2] // 2
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, 2] * start
    p.save("T2starw", image.get_fdata()[:, :, start:], affine)


@whole_case(NOTICED, "t1w_to_t2star: fits only loosely")
def t1w_of_another(p):
    """T1w of another person"""
    image = p.load("T1w", p.another)
    p.save("T1w", image.get_fdata(), image.affine)


@whole_case(NOTICED, "not the contrast it is named for")
def t1w_named_t2w(p):
    """T1w named T2w and T2w named T1w"""
    p.swap("T1w", "T2w")


@whole_case(NOTICED, "look swapped")
def t1w_named_t2starw(p):
    """T1w named T2starw and T2* named T1w"""
    p.swap("T1w", "T2starw")


@whole_case(NOTICED, "T2* and T2w look swapped")
def t2w_named_t2starw(p):
    """T2w named T2starw and T2* named T2w"""
    p.swap("T2w", "T2starw")


@whole_case(NOTICED, "to T2* registration failed its check")
def phase_with_dark_air(p):
    """Phase image from 0 to 4095 with zeros outside the head under the name of the T2* magnitude"""
    image = p.load("T2starw")
    p.save("T2starw", masked_phase(image.get_fdata(), p.rng), image.affine)
