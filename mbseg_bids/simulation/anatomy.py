"""A head to scan: labels on a 1 mm grid, made from a label map by deformation, ageing and disease.

Label maps use FreeSurfer's numbers; 24 is all CSF outside the ventricles, 25 / 57 white-matter lesions, 77 hyperintensities, and
500 and up tissue outside the brain: 502 arteries, 506 eyes, 507 soft tissue, 508 orbit, 509 mucosa, 511 skin, 512 cord,
514 venous sinuses, 515 bone, 516 marrow, 530 chiasm. Air, within the head too, is 0.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.imaging.labels import (
    BRAINSTEM,
    CEREBELLAR_GM,
    CEREBELLAR_WM,
    CEREBRAL_WM,
    CORTICAL_GM,
    CSF,
    DEEP_GM,
    GM,
    WM,
)
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation.relaxation import (
    DENTATE,
    HYPERINTENSITY,
    LACUNE,
    MIDBRAIN_NUCLEUS,
    tissue_of,
)
from mbseg_bids.simulation.susceptibility import sample

N_LABELS = 16384
"""Label numbers are below this."""

_TISSUE_OF = {
    "csf": CSF, "lacune": CSF, "choroid": CSF, "vessel": CSF, "artery": CSF,
    "cortex": GM, "caudate": GM, "putamen": GM, "pallidum": GM, "thalamus": GM, "hippocampus": GM, "cerebellar_cortex": GM,
    "dentate": GM,
    "white_matter": WM, "hyperintensity": WM, "cerebellar_white": WM, "brainstem": WM, "midbrain_nucleus": WM, "nerve": WM,
}  # fmt: skip

_REGION_OF = {
    "cortex": CORTICAL_GM, "hippocampus": CORTICAL_GM,
    "caudate": DEEP_GM, "putamen": DEEP_GM, "pallidum": DEEP_GM, "thalamus": DEEP_GM,
    "white_matter": CEREBRAL_WM, "hyperintensity": CEREBRAL_WM, "lacune": CEREBRAL_WM,
    "cerebellar_cortex": CEREBELLAR_GM, "cerebellar_white": CEREBELLAR_WM, "dentate": CEREBELLAR_WM,
    "brainstem": BRAINSTEM, "midbrain_nucleus": BRAINSTEM,
}  # fmt: skip

_OUTSIDE = ("air", "soft_tissue", "skin", "bone", "marrow", "mucosa", "eye")
_VENTRICLES = (4, 5, 43, 44)
_VENOUS_SINUS, _ORBIT, _CORD = 514, 508, 512


def _table(values: dict[str, int]) -> npt.NDArray[np.uint8]:
    return np.array([values.get(tissue_of(label), 0) for label in range(N_LABELS)], dtype=np.uint8)


TISSUE_TABLE = _table(_TISSUE_OF)
"""Tissue class (imaging.labels.TISSUES) of each label, 0 outside the brain."""
REGION_TABLE = _table(_REGION_OF)
"""Region (imaging.labels.REGIONS) of each label, 0 where none."""
AIR_TABLE = np.array([tissue_of(label) == "air" for label in range(N_LABELS)])
"""Whether a label is air."""
for _label in (_VENOUS_SINUS, 502, _CORD):  # inside the skull, but no brain extraction keeps them
    TISSUE_TABLE[_label] = 0


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A head on an isotropic 1 mm grid.

    Attributes
    ----------
    labels
        FreeSurfer-numbered Volume (int16); world = scanner RAS+ mm of the T2*-weighted scan.
    brain
        Bool Volume: brain and part of the CSF about it, as a brain extraction tool leaves it.
    age
        Years.
    fractions
        None, or (csf, gm, wm) float32 arrays on the grid of `labels` that soften the tissue borders of the cortex.
    """

    labels: Volume
    brain: npt.NDArray[np.bool_]
    age: float
    fractions: tuple[npt.NDArray[np.float32], ...] | None = None

    @property
    def tissue(self) -> npt.NDArray[np.uint8]:
        """Tissue classes of imaging.labels.TISSUES, 0 outside the brain mask."""
        return TISSUE_TABLE[self.labels.data] * self.brain

    @property
    def regions(self) -> npt.NDArray[np.uint8]:
        """Regions of imaging.labels.REGIONS."""
        return REGION_TABLE[self.labels.data]

    def select(self, *labels: int) -> npt.NDArray[np.bool_]:
        """Mask of some labels."""
        return np.isin(self.labels.data, labels)


def isotropic_head_grid(
    labelmap: Volume, *, below_brain: float = 35.0, margin: float = 4.0
) -> tuple[npt.NDArray[np.float64], tuple[int, int, int]]:
    """1 mm RAS grid about the head, cut `below_brain` mm under the brain.

    Returns the affine and the shape.
    """
    present = labelmap.data > 0
    low, high = _world_bounds(present, labelmap.affine)
    brain_low, _ = _world_bounds(TISSUE_TABLE[labelmap.data.astype(np.int64)] > 0, labelmap.affine)
    low[2] = max(low[2], brain_low[2] - below_brain)
    low, high = np.floor(low - margin), np.ceil(high + margin)
    affine = np.eye(4)
    affine[:3, 3] = low
    return affine, tuple(int(n) for n in high - low + 1)


def _world_bounds(mask: npt.NDArray, affine: npt.NDArray) -> tuple[npt.NDArray, npt.NDArray]:
    bounds = []
    for axis in range(3):
        hits = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        bounds.append((hits[0], hits[-1]))
    corners = np.array([[bounds[a][bit] for a, bit in enumerate(bits)] for bits in np.ndindex(2, 2, 2)])
    world = corners @ affine[:3, :3].T + affine[:3, 3]
    return world.min(axis=0), world.max(axis=0)


def smooth_field(
    shape: tuple[int, int, int], scale: float, rng: np.random.Generator, *, sigma: float = 1.0
) -> npt.NDArray[np.float32]:
    """Smooth Gaussian random field with a standard deviation of about `sigma` and a correlation length of `scale` voxels."""
    coarse_shape = [int(np.ceil(n / scale)) + 3 for n in shape]
    coarse = rng.standard_normal(coarse_shape).astype(np.float32)
    coarse = ndimage.gaussian_filter(coarse, 0.7)
    coarse *= sigma / max(float(coarse.std()), 1e-6)
    for axis, (n, m) in enumerate(zip(shape, coarse_shape, strict=True)):
        # Linear interpolation along one axis at a time, as a product with a band matrix.
        position = np.arange(n) / scale + 0.5
        weights = np.maximum(0, 1 - np.abs(position[:, None] - np.arange(m))).astype(np.float32)
        coarse = np.moveaxis(np.tensordot(weights, coarse, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(coarse)


def rotation(angles: Iterable[float]) -> npt.NDArray[np.float64]:
    """Rotation matrix from angles (radians) about x, then y, then z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(list(angles)), np.sin(list(angles))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def deform(labelmap: Volume, rng: np.random.Generator, *, strength: float = 1.0) -> Volume:
    """Bring a label map onto a 1 mm RAS head grid through a random small affine, a smooth warp, and perhaps a left-right flip.

    Parameters
    ----------
    strength
        1: rotations of 4 degrees, scales of 4 %, warps of 2.5 mm (standard deviations); 0: none, and no flip.
    """
    affine, shape = isotropic_head_grid(labelmap)
    centre = affine[:3, 3] + np.array(shape) / 2
    linear = rotation(rng.normal(0, 0.07, 3) * strength) @ np.diag(1 + rng.normal(0, 0.04, 3) * strength)
    linear = linear + rng.normal(0, 0.015, (3, 3)) * strength
    if strength > 0 and rng.random() < 0.5:
        linear = linear @ np.diag([-1.0, 1, 1])
    to_index = np.linalg.inv(labelmap.affine)
    matrix = to_index[:3, :3] @ linear
    offset = to_index[:3, :3] @ (centre + linear @ (affine[:3, 3] - centre)) + to_index[:3, 3]
    warps = [smooth_field(shape, 24.0, rng, sigma=2.5 * strength) for _ in range(3)]
    i, j, k = (np.arange(n, dtype=np.float32) for n in shape)
    moved = []
    for axis in range(3):
        line = (
            (matrix[axis, 0] * i)[:, None, None]
            + (matrix[axis, 1] * j)[None, :, None]
            + (matrix[axis, 2] * k)[None, None]
            + offset[axis]
        ).astype(np.float32)
        for other in range(3):
            if abs(to_index[axis, other]) > 1e-6:
                line += np.float32(to_index[axis, other]) * warps[other]
        moved.append(np.rint(line).astype(np.int16))
    return Volume(_look_up(labelmap.data, moved), affine)


def _look_up(data: npt.NDArray, indices: list[npt.NDArray[np.int16]]) -> npt.NDArray[np.int16]:
    """Nearest-voxel look-up, 0 outside."""
    valid = np.ones(indices[0].shape, dtype=bool)
    for axis, index in enumerate(indices):
        valid &= (index >= 0) & (index < data.shape[axis])
        np.clip(index, 0, data.shape[axis] - 1, out=index)
    return np.where(valid, np.rint(data).astype(np.int16)[tuple(indices)], 0).astype(np.int16)


def age_brain(labels: npt.NDArray[np.int16], rng: np.random.Generator, *, atrophy: float) -> None:
    """Widen sulci and ventricles in place; `atrophy` from 0 (none) to 1 (severe)."""
    if atrophy <= 0:
        return
    shape = labels.shape
    outer = ndimage.gaussian_filter((labels == 24).astype(np.float32), 0.8)
    grey = np.isin(labels, (3, 42, 8, 47))
    threshold = 0.75 - 0.28 * atrophy + smooth_field(shape, 20, rng, sigma=0.07)
    labels[grey & (outer > threshold)] = 24
    sides = (labels == 4) | (labels == 43)
    near = ndimage.gaussian_filter(sides.astype(np.float32), 2.0)
    threshold = 0.5 - 0.38 * atrophy + smooth_field(shape, 30, rng, sigma=0.03)
    grow = (near > np.maximum(threshold, 0.08)) & np.isin(labels, (2, 41, 11, 50, 77, 31, 63))
    labels[grow] = 4


def add_hyperintensities(labels: npt.NDArray[np.int16], rng: np.random.Generator, *, load: float) -> None:
    """White-matter hyperintensities in place: caps and bands about the ventricles and scattered spots; `load` from 0 to 1."""
    white = np.isin(labels, (2, 41))
    ventricles = np.isin(labels, _VENTRICLES)
    near = ndimage.gaussian_filter(ventricles.astype(np.float32), 4.0)
    depth = ndimage.gaussian_filter(white.astype(np.float32), 2.0)
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
    """Small fluid cavities (3-9 mm) with a hyperintense rim in white matter and deep grey matter, in place."""
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
    """Cut fissures between folia into the cerebellar cortex in place: sheets of CSF about the fourth ventricle, 4-5 mm apart."""
    where = np.argwhere(np.isin(labels, (8, 47)))
    if not len(where):
        return
    white = np.argwhere(np.isin(labels, (7, 46)))
    centre = (white if len(white) else where).mean(axis=0) + (0, 6, 4)
    noise = smooth_field(labels.shape, 14, rng, sigma=2.0)[tuple(where.T)]
    # Distances shrink from side to side: fissures run transversely.
    distance = np.linalg.norm((where - centre) * (0.45, 1, 1), axis=1) + noise
    fissure = np.sin(2 * np.pi * distance / rng.uniform(4.2, 5.5)) > rng.uniform(0.85, 0.97)
    labels[tuple(where[fissure].T)] = 24


def add_iron_nuclei(labels: npt.NDArray[np.int16], rng: np.random.Generator) -> None:
    """Dentate nuclei, red nuclei and substantia nigra, which FreeSurfer does not label, in place; paired."""
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


def extract_brain(labels: npt.NDArray[np.int16], *, reach: float = 2.5) -> npt.NDArray[np.bool_]:
    """Brain mask as a brain extraction tool leaves it: tissue, what it encloses, and `reach` mm of CSF inside the skull."""
    tissue = TISSUE_TABLE[labels]
    parenchyma = (tissue == GM) | (tissue == WM)
    # Closing fills sulci and ventricles.
    closed = ndimage.gaussian_filter(parenchyma.astype(np.float32), 3.0) > 0.42
    wide = ndimage.gaussian_filter((closed | parenchyma).astype(np.float32), max(reach, 0.5)) > 0.2
    inside = ~np.isin(labels, (0, 502, 506, 507, 508, 509, 511, 512, 515, 516))
    mask = (wide & inside) | parenchyma
    components, n = ndimage.label(mask)
    if n > 1:
        mask = components == np.bincount(components.ravel())[1:].argmax() + 1
    return mask | np.isin(labels, _VENTRICLES)


def make_anatomy(
    labelmap: Volume,
    rng: np.random.Generator,
    *,
    deformation: float = 1.0,
    age: float | None = None,
    atrophy: float | None = None,
    hyperintensities: float | None = None,
    n_lacunes: int | None = None,
    grey_white: tuple[Volume, Volume] | None = None,
) -> Anatomy:
    """A new head from a label map.

    Parameters
    ----------
    labelmap
        FreeSurfer numbers, any orientation and voxel size; with or without the head outside the brain.
    rng
        Source of everything random.
    deformation
        Strength of the random deformation, see `deform`.
    age, atrophy, hyperintensities, n_lacunes
        Years; 0-1; 0-1; count. Drawn if not given, the last three depending on age.
    grey_white
        Probabilities of grey and white matter in the world of `labelmap`: redraw the border of cortex, white matter and CSF by
        them. For a label map voted over people, whose cortex has lost its folds.
    """
    labelmap = Volume(np.rint(np.asarray(labelmap.data)).astype(np.int16), labelmap.affine)
    if grey_white is not None:
        labelmap = refine_cortex(labelmap, *grey_white)
    if not (labelmap.data >= 500).any():
        labelmap = add_head(labelmap)
    age = float(rng.uniform(45, 90)) if age is None else age
    years = np.clip((age - 40) / 50, 0, 1)
    atrophy = float(np.clip(rng.normal(0.6 * years, 0.25), 0, 1)) if atrophy is None else atrophy
    load = float(np.clip(rng.gamma(1.2, 0.35 * years + 0.01), 0, 1)) if hyperintensities is None else hyperintensities
    n_lacunes = int(rng.poisson(1.5 * load)) if n_lacunes is None else n_lacunes
    head = deform(labelmap, rng, strength=deformation)
    labels = head.data
    age_brain(labels, rng, atrophy=atrophy)
    if load > 0:
        add_hyperintensities(labels, rng, load=load)
    fold_cerebellum(labels, rng)
    add_iron_nuclei(labels, rng)
    add_lacunes(labels, rng, n=n_lacunes)
    return Anatomy(head, extract_brain(labels, reach=float(rng.uniform(0.8, 3.0))), age)


def refine_cortex(labelmap: Volume, grey: Volume, white: Volume) -> Volume:
    """Redraw cortex, cerebral white matter and outer CSF by tissue probabilities; the other labels stay."""
    labels = labelmap.data.copy()
    where = np.argwhere(np.isin(labels, (2, 3, 41, 42, 24)) | ((labels >= 1000) & (labels < 5100)))
    points = (where @ labelmap.affine[:3, :3].T + labelmap.affine[:3, 3]).astype(np.float32)
    p_grey, p_white = sample(grey, points), sample(white, points)
    left = np.isin(labels, (2, 3)) | (
        (labels >= 1000) & (labels % 2000 < 1000) & (labels < 5100) & (labels // 1000 % 2 == 1)
    )
    is_left = ndimage.gaussian_filter(left.astype(np.float32), 4.0) >= ndimage.gaussian_filter(
        np.isin(labels, (41, 42)).astype(np.float32), 4.0
    )
    side = is_left[tuple(where.T)]
    new = np.where(p_white > p_grey, np.where(side, 2, 41), np.where(side, 3, 42))
    new[p_grey + p_white < 0.5] = 24
    labels[tuple(where.T)] = new
    return Volume(labels, labelmap.affine)


def add_head(labelmap: Volume) -> Volume:
    """Wrap a label map of the brain alone in CSF, bone, marrow, soft tissue and skin."""
    spacing = float(np.mean(labelmap.spacing))
    pad = int(np.ceil(22 / spacing))
    labels = np.pad(labelmap.data, pad)
    affine = labelmap.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ np.full(3, float(pad))
    brain = ndimage.gaussian_filter((labels > 0).astype(np.float32), 3.0 / spacing) > 0.4
    distance = ndimage.distance_transform_edt(~brain, sampling=labelmap.spacing)
    for limit, label in ((17, 511), (14, 507), (9, 515), (7, 516), (5, 515), (3, 24), (0, 24)):
        shell = (labels == 0) & (distance <= limit)
        inner = {17: 14, 14: 9, 9: 7, 7: 5, 5: 3, 3: 0, 0: -1}[limit]
        labels[shell & (distance > inner)] = label
    return Volume(labels, affine)
