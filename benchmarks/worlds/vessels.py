"""Vessels, dural sheets and calcifications: what looks like a microbleed, or hides one.

Veins of the white matter run straight towards the ventricles and join in trees (Okudera et al. 1999,
Neuropathology 19:93); pial veins lie in the fluid of the sulci (Duvernoy 1981, Brain Res Bull 7:519).
Calcification of choroid plexus, pineal gland, pallidum and dentate: Kiroglu 2010, Diagn Interv Radiol 16:189.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from benchmarks.worlds.grids import Box, FloatArray, distance_to
from benchmarks.worlds.heads import CSF, Labels
from benchmarks.worlds.tissue import ellipsoid

STEP = 0.3
"""mm between the points of a centre line."""


@dataclass
class Tubes:
    """Centre lines as they are collected: points in mm of the scan frame, and the radius at each."""

    points: list[FloatArray] = field(default_factory=list)
    radii: list[FloatArray] = field(default_factory=list)

    def add(self, line: FloatArray, radius: float, end_radius: float | None = None) -> None:
        """Add a polyline (n, 3), resampled to even steps; the radius changes evenly along it."""
        length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
        if length[-1] < STEP:
            return
        at = np.arange(0, length[-1], STEP)
        self.points.append(np.column_stack([np.interp(at, length, line[:, i]) for i in range(3)]))
        self.radii.append(np.linspace(radius, radius if end_radius is None else end_radius, len(at)))

    def fractions(self, box: Box) -> npt.NDArray[np.float32]:
        """Return the share of each voxel that lies within a tube."""
        out = np.zeros(box.shape, np.float32)
        if not self.points:
            return out
        points, radii = np.concatenate(self.points), np.concatenate(self.radii)
        thin = radii < 1.2 * box.spacing
        _draw_thin(out, box, points[thin], radii[thin])
        for radius in np.unique(np.round(radii[~thin], 1)):
            _draw_thick(out, box, points[~thin & (np.round(radii, 1) == radius)], float(radius))
        return np.minimum(out, 1, out=out)


def _draw_thin(out: FloatArray, box: Box, points: FloatArray, radii: FloatArray) -> None:
    """Spread the volume of each step of a thin tube over the eight voxels around it."""
    index = box.indices(points)
    volume = np.pi * radii**2 * STEP / box.spacing**3
    low = np.floor(index).astype(int)
    part = index - low
    for corner in np.ndindex(2, 2, 2):
        where = low + corner
        weight = volume * np.prod(np.where(corner, part, 1 - part), axis=1)
        inside = ((where >= 0) & (where < box.shape)).all(axis=1)
        np.add.at(out, tuple(where[inside].T), weight[inside])


def _draw_thick(out: FloatArray, box: Box, points: FloatArray, radius: float) -> None:
    """Fill balls round the points of a wide tube."""
    reach = int(np.ceil(radius / box.spacing)) + 1
    offsets = np.indices((2 * reach + 1,) * 3).reshape(3, -1).T - reach
    soft = np.clip((radius - np.linalg.norm(offsets, axis=1) * box.spacing) / box.spacing + 0.5, 0, 1)
    centres = np.unique(np.rint(box.indices(points)).astype(int), axis=0)
    for offset, value in zip(offsets[soft > 0], soft[soft > 0], strict=True):
        where = centres + offset
        where = where[((where >= 0) & (where < box.shape)).all(axis=1)]
        np.maximum.at(out, tuple(where.T), np.float32(value))


def _pick(rng: np.random.Generator, mask: npt.NDArray[np.bool_], box: Box, n: int) -> FloatArray:
    where = np.flatnonzero(mask)
    if not len(where):
        return np.zeros((0, 3))
    chosen = np.stack(np.unravel_index(rng.choice(where, n), mask.shape), axis=1)
    return (chosen + rng.uniform(-0.5, 0.5, chosen.shape) - box.middle) * box.spacing


def _wiggly(
    rng: np.random.Generator, start: FloatArray, direction: FloatArray, length: float, bend: float
) -> FloatArray:
    steps = max(3, int(length / 2))
    turns = np.cumsum(rng.normal(0, bend, (steps, 3)), axis=0)
    headings = direction + turns
    headings /= np.linalg.norm(headings, axis=1, keepdims=True)
    return start + np.concatenate([np.zeros((1, 3)), np.cumsum(headings * (length / steps), axis=0)])


def medullary_veins(tubes: Tubes, labels: Labels, box: Box, rng: np.random.Generator, n: int) -> None:
    """Add veins through white matter: straight, along the way to the ventricle, every third with side branches."""
    ventricle = np.isin(labels, (4, 43))
    distance = distance_to(ventricle, box.spacing)
    deep = np.isin(labels, (2, 41)) & (distance > 3) & (distance < 35)
    for start in _pick(rng, deep, box, n):
        i, j, k = np.clip(np.rint(box.indices(start)).astype(int), 1, np.array(box.shape) - 2)
        slope = np.array([
            distance[i + 1, j, k] - distance[i - 1, j, k],
            distance[i, j + 1, k] - distance[i, j - 1, k],
            distance[i, j, k + 1] - distance[i, j, k - 1],
        ])  # fmt: skip
        slope = slope / max(np.linalg.norm(slope), 1e-3) + rng.normal(0, 0.25, 3)
        length = rng.uniform(4, min(22.0, float(distance[i, j, k]) + 4))
        line = _wiggly(rng, start, -slope, length, 0.04)
        radius = rng.choice([0.1, 0.15, 0.22, 0.33], p=[0.45, 0.3, 0.18, 0.07])
        tubes.add(line, 0.7 * radius, radius)
        if rng.random() < 0.33:
            branch_tree(tubes, rng, line[len(line) // 2], slope, 0.7 * radius, rng.uniform(4, 9), 2)


def branch_tree(
    tubes: Tubes,
    rng: np.random.Generator,
    start: FloatArray,
    direction: FloatArray,
    radius: float,
    length: float,
    depth: int,
) -> None:
    """Add a vessel that forks ``depth`` times; radii follow Murray's law (the sum of cubes is kept)."""
    line = _wiggly(rng, start, direction, length, 0.08)
    tubes.add(line, radius)
    if depth == 0 or radius < 0.06:
        return
    heading = line[-1] - line[-2]
    heading = heading / np.linalg.norm(heading)
    share = rng.uniform(0.3, 0.7)
    for part in (share, 1 - share):
        turned = heading + rng.normal(0, 0.55, 3)
        branch_tree(tubes, rng, line[-1], turned, radius * part ** (1 / 3), length * rng.uniform(0.6, 0.95), depth - 1)


def cortical_veins(tubes: Tubes, labels: Labels, box: Box, rng: np.random.Generator, n: int) -> None:
    """Add short straight vessels through the cortex and trees that reach into the white matter below it."""
    depth = distance_to(labels == CSF, box.spacing)
    cortex = np.isin(labels, (3, 42, 8, 47))
    for number, start in enumerate(_pick(rng, cortex, box, n)):
        i, j, k = np.clip(np.rint(box.indices(start)).astype(int), 1, np.array(box.shape) - 2)
        inward = np.array([
            depth[i + 1, j, k] - depth[i - 1, j, k],
            depth[i, j + 1, k] - depth[i, j - 1, k],
            depth[i, j, k + 1] - depth[i, j, k - 1],
        ])  # fmt: skip
        inward = inward / max(np.linalg.norm(inward), 1e-3) + rng.normal(0, 0.2, 3)
        radius = rng.choice([0.1, 0.2, 0.3], p=[0.6, 0.3, 0.1])
        if number % 4:
            tubes.add(_wiggly(rng, start - 2 * inward, inward, rng.uniform(2, 7), 0.05), radius)
        else:
            branch_tree(tubes, rng, start - 2 * inward, inward, radius, rng.uniform(4, 8), 3)


def pial_veins(tubes: Tubes, labels: Labels, box: Box, rng: np.random.Generator, n: int) -> None:
    """Add veins that wander within the fluid of sulci and cisterns, 10 to 60 mm, in any direction.

    Those across the slices show as dots in bright fluid.
    """
    brain = (labels > 0) & (labels < 500) & (labels != CSF)
    fluid = (labels == CSF) & (distance_to(brain, box.spacing) < 4)
    inside = ndimage.gaussian_filter(fluid.astype(np.float32), 0.8)
    for start in _pick(rng, fluid, box, n):
        heading = rng.standard_normal(3)
        heading /= np.linalg.norm(heading)
        position, line = start, [start]
        for _ in range(int(rng.uniform(10, 60) / 1.5)):
            tries = heading + rng.normal(0, 0.45, (12, 3))
            tries = position + 1.5 * tries / np.linalg.norm(tries, axis=1, keepdims=True)
            index = np.clip(np.rint(box.indices(tries)).astype(int), 0, np.array(box.shape) - 1)
            value = inside[tuple(index.T)]
            best = int(np.argmax(value + rng.uniform(0, 0.15, 12)))
            if value[best] < 0.2:
                break
            heading = (tries[best] - position) / 1.5
            position = tries[best]
            line.append(position)
        if len(line) > 3:
            radius = rng.choice([0.25, 0.4, 0.6, 0.9], p=[0.35, 0.35, 0.22, 0.08])
            tubes.add(np.array(line), radius, radius * rng.uniform(0.6, 1))


def deep_veins(tubes: Tubes, landmarks: FloatArray, rng: np.random.Generator) -> None:
    """Add internal cerebral, thalamostriate, basal, lenticulostriate and great veins from their places in ICBM152."""

    def line(points: list[tuple[float, float, float]], radius: float, end: float) -> None:
        known = np.column_stack([np.array(points) + rng.normal(0, 0.7, (len(points), 3)), np.ones(len(points))])
        tubes.add(known @ landmarks.T, radius, end)

    for side in (-1, 1):
        line([(side * 3, 4, 12), (side * 2.5, -10, 13), (side * 2, -25, 11), (0, -37, 8)], 0.7, 1.1)
        line([(side * 22, -12, 21), (side * 16, -2, 18), (side * 9, 4, 13), (side * 3, 4, 12)], 0.4, 0.7)
        line([(side * 14, 2, -19), (side * 15, -12, -16), (side * 18, -26, -6), (0, -38, 5)], 0.5, 0.9)
        line([(side * 8, 36, 15), (side * 7, 20, 14), (side * 3, 5, 12)], 0.3, 0.6)
        for _ in range(rng.integers(3, 7)):
            x, y = rng.uniform(18, 30), rng.uniform(-6, 12)
            line([(side * (x - 6), y, -12), (side * (x - 2), y, -4), (side * x, y - 1, 8)], 0.22, 0.1)
    line([(0, -37, 8), (0, -43, 9), (0, -47, 14)], 1.3, 1.6)


def sinuses(tubes: Tubes, labels: Labels, box: Box, landmarks: FloatArray) -> None:
    """Add straight, superior sagittal and transverse sinuses to a head whose labels have none."""
    if (labels == 514).sum() > 2000:
        return

    def line(points: list[tuple[float, float, float]], radius: float) -> None:
        tubes.add(np.column_stack([np.array(points, float), np.ones(len(points))]) @ landmarks.T, radius, radius)

    line([(0, -47, 14), (0, -70, 2), (0, -96, -14)], 2.2)
    for side in (-1, 1):
        line([(0, -98, -14), (side * 25, -92, -24), (side * 46, -75, -30), (side * 52, -52, -36)], 3.0)
    head = (labels > 0) & (labels < 500)
    middle = round(float(box.indices(landmarks @ np.array([0, -20, 20, 1.0]))[0]))
    plane = np.argwhere(head[middle])
    centre = box.indices(landmarks @ np.array([0, -20, 5, 1.0]))[1:]
    angles = np.arctan2(plane[:, 1] - centre[1], plane[:, 0] - centre[0])
    radii = np.linalg.norm(plane - centre, axis=1)
    arc = []
    for angle in np.radians(np.arange(40, 195, 5)):
        near = np.abs(angles - angle) < np.radians(3)
        if near.any():
            arc.append([middle, *(centre + (radii[near].max() - 2) * np.array([np.cos(angle), np.sin(angle)]))])
    if len(arc) > 2:
        tubes.add((np.array(arc) - box.middle) * box.spacing, 1.8, 3.2)


def dural_sheets(labels: Labels, box: Box) -> npt.NDArray[np.float32]:
    """Return falx and tentorium: thin sheets in the fluid midway between the hemispheres, and above the cerebellum."""
    left, right = np.isin(labels, (2, 3, 17, 18)), np.isin(labels, (41, 42, 53, 54))
    cerebellum = np.isin(labels, (7, 8, 46, 47))
    fluid = (labels == CSF) | (labels == 514)
    sheet = np.zeros(labels.shape, np.float32)
    for one, other, reach in ((left, right, 9), (cerebellum, left | right, 7)):
        first, second = (distance_to(m, box.spacing) for m in (one, other))
        near = fluid & (first < reach) & (second < reach)
        sheet = np.maximum(sheet, near * np.clip(1 - np.abs(first - second) / 1.4, 0, 1) * 0.7)
    return ndimage.gaussian_filter(sheet, 0.5, truncate=3)


def calcifications(
    labels: Labels, box: Box, landmarks: FloatArray, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Return the share of calcium salts: choroid plexus, pineal gland, and now and then pallidum or dentate."""
    out = np.zeros(box.shape, np.float32)

    def speck(place: tuple[float, float, float], size: float) -> None:
        centre = landmarks @ np.array([*place, 1.0])
        radii = size * rng.uniform(0.6, 1.4, 3)
        np.maximum(out, rng.uniform(0.3, 1.0) * ellipsoid(box, centre, radii, rng, 0.3), out=out)

    if rng.random() < 0.7:
        speck((rng.normal(0, 0.5), -30 + rng.normal(0, 1), 1.5), rng.uniform(1.0, 2.5))
    for side in (-1, 1):
        if rng.random() < 0.6:
            for _ in range(rng.integers(1, 5)):
                speck((side * rng.uniform(18, 26), rng.uniform(-42, -32), rng.uniform(2, 12)), rng.uniform(0.6, 2.0))
    for probability, x, y, z in ((0.25, 19, -3, -1), (0.15, 15, -57, -34)):
        if rng.random() < probability:
            for side in (-1, 1):  # both sides, seldom alike
                for _ in range(rng.integers(1, 4)):
                    place = (side * (x + rng.normal(0, 2)), y + rng.normal(0, 3), z + rng.normal(0, 2))
                    speck(place, rng.uniform(0.6, 1.6))
    return out * (labels < 500)
