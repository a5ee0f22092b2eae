"""A head to scan: labels on a 1 mm grid, made from a label map by deformation, ageing and disease.

Label maps use FreeSurfer's numbers; 24 is all CSF outside the ventricles, 25 / 57 white-matter lesions, 77
hyperintensities, and 500 and up tissue outside the brain: 502 arteries, 506 eyes, 507 soft tissue, 508 orbit,
509 mucosa, 511 skin, 512 cord, 514 venous sinuses, 515 bone, 516 marrow, 530 chiasm. Air, within the head too, is 0.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.imaging.labels import CEREBELLAR_GM, CEREBELLAR_WM, CEREBRAL_WM, CSF, DEEP_GM, GM, WM
from mbseg_bids.imaging.regions import FREESURFER_REGIONS
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation.geometry import rotation, smooth_field
from mbseg_bids.simulation.labelmaps import add_head, refine_cortex
from mbseg_bids.simulation.pathology import (
    VENTRICLES,
    add_fat,
    add_hyperintensities,
    add_iron_nuclei,
    add_lacunes,
    age_brain,
    fold_cerebellum,
)
from mbseg_bids.simulation.relaxation import DENTATE, LACUNE, MIDBRAIN_NUCLEUS, tissue_of
from mbseg_bids.simulation.sheets import add_dura

N_LABELS = 16384
"""Label numbers are below this."""

_TISSUE_OF = {
    "csf": CSF, "lacune": CSF, "choroid": CSF, "vessel": CSF, "artery": CSF, "dura": CSF,
    "cortex": GM, "caudate": GM, "putamen": GM, "pallidum": GM, "thalamus": GM, "hippocampus": GM,
    "cerebellar_cortex": GM, "dentate": GM,
    "white_matter": WM, "hyperintensity": WM, "cerebellar_white": WM, "brainstem": WM,
    "midbrain_nucleus": WM, "nerve": WM,
}  # fmt: skip

_REGION_OF = FREESURFER_REGIONS | {
    **dict.fromkeys((25, 57, LACUNE), CEREBRAL_WM),
    **dict.fromkeys((136, 137, 163, 164), CEREBELLAR_GM),
    DENTATE: CEREBELLAR_WM,
    MIDBRAIN_NUCLEUS: DEEP_GM,
}
"""Of segmentations, and of numbers that a label map alone has, or whose place it alone knows."""

_OUTSIDE = ("air", "soft_tissue", "skin", "bone", "marrow", "mucosa", "eye")
_VENOUS_SINUS, _ORBIT, _CORD = 514, 508, 512


TISSUE_TABLE = np.array([_TISSUE_OF.get(tissue_of(label), 0) for label in range(N_LABELS)], dtype=np.uint8)
"""Tissue class (imaging.labels.TISSUES) of each label, 0 outside the brain."""
REGION_TABLE = np.array([_REGION_OF.get(label, 0) for label in range(N_LABELS)], np.uint8)
"""Region (imaging.labels.REGIONS) of each label, 0 where none: the same numbers as a run counts by."""
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
    """

    labels: Volume
    brain: npt.NDArray[np.bool_]
    age: float

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
        table = np.zeros(N_LABELS, bool)
        table[list(labels)] = True
        return table[self.labels.data]


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
    i, j, k = (int(n) for n in high - low + 1)
    return affine, (i, j, k)


def _world_bounds(mask: npt.NDArray, affine: npt.NDArray) -> tuple[npt.NDArray, npt.NDArray]:
    bounds = []
    for axis in range(3):
        hits = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        bounds.append((hits[0], hits[-1]))
    corners = np.array([[bounds[a][bit] for a, bit in enumerate(bits)] for bits in np.ndindex(2, 2, 2)])
    world = corners @ affine[:3, :3].T + affine[:3, 3]
    return world.min(axis=0), world.max(axis=0)


def deform(labelmap: Volume, rng: np.random.Generator, *, strength: float = 1.0) -> Volume:
    """Bring a label map onto a 1 mm RAS head grid by a random affine, a smooth warp, and perhaps a left-right flip.

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
    return np.where(valid, data[tuple(indices)], np.int16(0))


def extract_brain(labels: npt.NDArray[np.int16], *, reach: float = 2.5) -> npt.NDArray[np.bool_]:
    """Brain mask as an extraction tool leaves it: tissue, what it encloses, and `reach` mm of CSF inside the skull."""
    tissue = TISSUE_TABLE[labels]
    parenchyma = (tissue == GM) | (tissue == WM)
    # Closing fills sulci and ventricles.
    closed = ndimage.gaussian_filter(parenchyma.astype(np.float32), 3.0, truncate=2.5) > 0.42
    wide = ndimage.gaussian_filter((closed | parenchyma).astype(np.float32), max(reach, 0.5), truncate=2.5) > 0.2
    inside = ~np.isin(labels, (0, 502, 506, 507, 508, 509, 511, 512, 515, 516))
    mask = (wide & inside) | parenchyma
    components, n = ndimage.label(mask)
    if n > 1:
        mask = components == np.bincount(components.ravel())[1:].argmax() + 1
    return mask | np.isin(labels, VENTRICLES)


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
    dura: bool = True,
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
        Probabilities of grey and white matter in the world of `labelmap`: redraw the border of cortex, white matter
        and CSF by them. For a label map voted over people, whose cortex has lost its folds.
    dura
        Whether to put in falx, tentorium and the lining of the skull.
    """
    data = np.asarray(labelmap.data)
    if not np.issubdtype(data.dtype, np.integer):
        data = np.rint(data)
    labelmap = Volume(data.astype(np.int16), labelmap.affine)
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
    add_fat(head.data, rng)
    box = _brain_box(TISSUE_TABLE[head.data] > 0, margin=15)
    labels = head.data[box]  # a view: what follows changes the head
    age_brain(labels, rng, atrophy=atrophy)
    if load > 0:
        add_hyperintensities(labels, rng, load=load)
    fold_cerebellum(labels, rng)
    add_iron_nuclei(labels, rng)
    add_lacunes(labels, rng, n=n_lacunes)
    if dura:
        add_dura(labels, rng)
    brain = np.zeros(head.shape, dtype=bool)
    brain[box] = extract_brain(labels, reach=float(rng.uniform(0.8, 3.0)))
    return Anatomy(head, brain, age)


def _brain_box(brain: npt.NDArray[np.bool_], margin: int) -> tuple[slice, slice, slice]:
    def side(axis: int) -> slice:
        hits = np.flatnonzero(brain.any(axis=tuple(a for a in range(3) if a != axis)))
        return slice(max(0, int(hits[0]) - margin), int(hits[-1]) + margin + 1)

    return side(0), side(1), side(2)


def crop_to_brain(anatomy: Anatomy, *, margin: int = 15) -> Anatomy:
    """The anatomy without what lies more than `margin` mm outside the box about the brain."""
    box = _brain_box(anatomy.brain, margin)
    affine = anatomy.labels.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [side.start for side in box]
    return Anatomy(Volume(anatomy.labels.data[box], affine), anatomy.brain[box], anatomy.age)
