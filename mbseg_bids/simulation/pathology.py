"""What age and disease do to a head, and detail that label maps lack. Labels (1 mm) are changed in place."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.simulation.geometry import smooth_field
from mbseg_bids.simulation.relaxation import DENTATE, FAT, HYPERINTENSITY, LACUNE, MIDBRAIN_NUCLEUS

VENTRICLES = (4, 5, 43, 44)
"""Lateral ventricles."""


def age_brain(labels: npt.NDArray[np.int16], rng: np.random.Generator, *, atrophy: float) -> None:
    """Widen sulci and ventricles; `atrophy` from 0 (none) to 1 (severe)."""
    if atrophy <= 0:
        return
    shape = labels.shape
    outer = ndimage.gaussian_filter((labels == 24).astype(np.float32), 0.8)
    grey = np.isin(labels, (3, 42, 8, 47))
    threshold = 0.75 - 0.28 * atrophy + smooth_field(shape, 20, rng, sigma=0.07)
    labels[grey & (outer > threshold)] = 24
    sides = (labels == 4) | (labels == 43)
    near = ndimage.gaussian_filter(sides.astype(np.float32), 2.0, truncate=2.5)
    threshold = 0.5 - 0.38 * atrophy + smooth_field(shape, 30, rng, sigma=0.03)
    grow = (near > np.maximum(threshold, 0.08)) & np.isin(labels, (2, 41, 11, 50, 77, 31, 63))
    labels[grow] = 4


def add_hyperintensities(labels: npt.NDArray[np.int16], rng: np.random.Generator, *, load: float) -> None:
    """White-matter hyperintensities: caps and bands about the ventricles and scattered spots; `load` from 0 to 1."""
    white = np.isin(labels, (2, 41))
    ventricles = np.isin(labels, VENTRICLES)
    near = ndimage.gaussian_filter(ventricles.astype(np.float32), 4.0, truncate=2.5)
    depth = ndimage.gaussian_filter(white.astype(np.float32), 2.0, truncate=2.5)
    noise = smooth_field(labels.shape, 7, rng)
    labels[white & (2.5 * near + 0.25 * noise > 1.1 - 0.75 * load)] = HYPERINTENSITY
    labels[white & (depth > 0.8) & (noise > 3.3 - 1.2 * load)] = HYPERINTENSITY


def _spots(mask: npt.NDArray[np.bool_], n: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """`n` random voxels (n, 3) of a mask."""
    candidates = np.flatnonzero(mask)
    if not len(candidates) or not n:
        return np.empty((0, 3), dtype=np.intp)
    return np.array(np.unravel_index(rng.choice(candidates, n), mask.shape)).T


def add_lacunes(labels: npt.NDArray[np.int16], rng: np.random.Generator, *, n: int) -> None:
    """Small fluid cavities (3-9 mm) with a hyperintense rim in white matter and deep grey matter."""
    place = np.isin(labels, (2, 41, 77, 12, 51, 10, 49, 11, 50, 28, 60))
    for centre in _spots(place, n, rng):
        radii = rng.uniform(1.5, 4.5) * np.exp(rng.normal(0, 0.2, 3))
        box = tuple(slice(max(0, c - 8), c + 9) for c in centre)
        offsets = [np.arange(b.start, b.start + s) - c for b, s, c in zip(box, labels[box].shape, centre, strict=True)]
        distance = sum(
            (o.reshape([-1 if a == axis else 1 for a in range(3)]) / r) ** 2
            for axis, (o, r) in enumerate(zip(offsets, radii, strict=True))
        )
        part = labels[box]
        inside = place[box]
        part[inside & (distance < 2.2)] = HYPERINTENSITY
        part[inside & (distance < 1.0)] = LACUNE


def fold_cerebellum(labels: npt.NDArray[np.int16], rng: np.random.Generator) -> None:
    """Cut fissures between folia into the cerebellar cortex: sheets of CSF about the fourth ventricle, 4-5 mm apart."""
    where = np.argwhere(np.isin(labels, (8, 47)))
    if not len(where):
        return
    white = np.argwhere(np.isin(labels, (7, 46)))
    centre = (white if len(white) else where).mean(axis=0) + np.array((0, 6, 4))
    noise = smooth_field(labels.shape, 14, rng, sigma=2.0)[tuple(where.T)]
    # Distances shrink from side to side: fissures run transversely.
    distance = np.linalg.norm((where - centre) * (0.45, 1, 1), axis=1) + noise
    fissure = np.sin(2 * np.pi * distance / rng.uniform(4.2, 5.5)) > rng.uniform(0.85, 0.97)
    labels[tuple(where[fissure].T)] = 24


def add_fat(labels: npt.NDArray[np.int16], rng: np.random.Generator) -> None:
    """Split the soft tissue outside the skull into muscle and fat."""
    noise = smooth_field(labels.shape, 8, rng)
    labels[(labels == 507) & (noise > rng.uniform(-0.2, 0.8))] = FAT


def add_iron_nuclei(labels: npt.NDArray[np.int16], rng: np.random.Generator) -> None:
    """Dentate nuclei, red nuclei and substantia nigra, which FreeSurfer does not label; paired."""
    for white in (7, 46):
        where = np.argwhere(labels == white)
        if len(where) < 100:
            continue
        centre = where.mean(axis=0)
        distance = np.linalg.norm((where - centre) / (5.5, 8.0, 5.0), axis=1)
        shell = where[(distance < 1) & (distance > 0.5)]
        labels[tuple(shell.T)] = DENTATE
    for ventral in (28, 60):
        where = np.argwhere(labels == ventral)
        if len(where) < 100:
            continue
        low = where[where[:, 2] < np.quantile(where[:, 2], 0.45)]
        middle = low.mean(axis=0)
        red = np.linalg.norm((low - middle - (0, -2.0, 2.0)) / (2.6, 3.0, 3.2), axis=1) < 1
        nigra = np.linalg.norm((low - middle - (0, 3.5, -1.5)) / (4.5, 2.0, 3.5), axis=1) < 1
        labels[tuple(low[red | nigra].T)] = MIDBRAIN_NUCLEUS
