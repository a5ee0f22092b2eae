"""Heads to scan: labelled anatomies of several sources, brought to one set of labels and deformed.

Labels are FreeSurfer's (``FreeSurferColorLUT``), with 24 for all fluid outside the ventricles, 515 for bone, 511 for
fat, 507 for other soft tissue and 514 for dural sinuses. World coordinates are RAS+ in mm.
"""

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from benchmarks.worlds.grids import Box, FloatArray, resample, smooth_noise

Labels = npt.NDArray[np.int16]
CSF, SOFT, FAT, SINUS, BONE = 24, 507, 511, 514, 515

CEREBRA = {
    11: 16, 21: 51, 27: 52, 40: 49, 41: 43, 49: 50, 4: 58, 48: 53, 19: 54, 26: 60, 39: 46, 46: 47, 5: 44, 2: 47, 20: 47,
    50: 47, 29: 14, 37: 15, 62: 16, 72: 12, 78: 13, 91: 10, 92: 4, 100: 11, 55: 26, 99: 17, 70: 18, 77: 28, 90: 7,
    97: 8, 56: 5, 53: 8, 71: 8, 101: 8, 80: 14, 88: 15,
}  # fmt: skip
"""FreeSurfer's label of the subcortical labels of CerebrA (Manera 2020, doi:10.1038/s41597-020-0557-9)."""

MNI_CENTRES = {
    10: (-12, -18, 7), 49: (12, -18, 7), 11: (-14, 10, 10), 50: (14, 10, 10), 12: (-26, 3, 0), 51: (26, 3, 0),
    17: (-26, -22, -14), 53: (26, -22, -14), 18: (-23, -4, -21), 54: (23, -4, -21), 8: (-27, -63, -39),
    47: (27, -63, -39),
}  # fmt: skip
"""Centres of structures in ICBM152, mm: landmarks that bring a place known in that space into a head."""


CAVITIES = (
    ((4.0, 20.0, -36.0), (9.0, 12.0, 10.0)),
    ((6.0, 48.0, -34.0), (9.0, 16.0, 10.0)),
    ((10.0, 76.0, -8.0), (12.0, 6.0, 14.0)),
    ((48.0, -26.0, -44.0), (9.0, 13.0, 12.0)),
)
"""Air: sphenoid, ethmoid and frontal sinuses, mastoid cells: centre in ICBM152 (right), half axes in mm. They lie under
the gyrus rectus and the temporal lobes, where T2* images drop out (Ojemann 1997, doi:10.1006/nimg.1997.0289)."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A labelled head: ``labels`` on a 1 mm grid whose axes run to right, front and top, ``affine`` to world mm."""

    name: str
    labels: Labels
    affine: FloatArray


def load_freesurfer(folder: Path) -> Anatomy:
    """Read ``aparc.a2009s+aseg.mgz`` of a FreeSurfer subject's ``mri`` folder and build a head around the brain."""
    labels, affine = _read(folder / "aparc.a2009s+aseg.mgz")
    labels = np.where((labels >= 11000) & (labels < 12000), 3, np.where(labels >= 12000, 42, labels)).astype(np.int16)
    labels[np.isin(labels, (251, 252, 253, 254, 255))] = 2
    labels, affine = _crop(labels, affine)
    return Anatomy("freesurfer", build_skull(_open_sulci(labels)), affine)


def load_labelmap(path: Path) -> Anatomy:
    """Read a whole-head label map; what is no tissue of its own here takes the label of the nearest tissue."""
    labels, affine = _read(path)
    labels = labels.astype(np.int16)
    for source, target in {
        506: CSF,
        508: SOFT,
        509: SOFT,
        502: SOFT,
        512: SOFT,
        516: FAT,
        530: SOFT,
        30: 12,
        62: 51,
    }.items():
        labels[labels == source] = target
    labels, affine = _crop(labels, affine)
    unknown = np.isin(labels, (136, 137, 163, 164)) | _specks(labels == 0) | _specks(labels == BONE)
    nearest = ndimage.distance_transform_edt(unknown, return_distances=False, return_indices=True)
    return Anatomy(path.name.split(".")[0], labels[tuple(nearest)], affine)


def _specks(mask: npt.NDArray[np.bool_], largest: int = 150) -> npt.NDArray[np.bool_]:
    """Return the pieces of up to ``largest`` voxels.

    Of air and bone these are voxels of the label maps that no tissue was found for, not bubbles or chips in the fluid.
    """
    pieces, _ = ndimage.label(mask)
    small = np.bincount(pieces.ravel()) <= largest
    small[0] = False
    return small[pieces]


def load_icbm(cerebra: Path) -> Anatomy:
    """Label the ICBM152 2009a template that nilearn holds (tissue probabilities) with the nuclei of CerebrA."""
    from nilearn import datasets

    template = datasets.load_mni152_template(resolution=1)
    gray, white, brain = (
        np.asarray(image.get_fdata(dtype=np.float32))
        for image in (
            datasets.load_mni152_gm_template(resolution=1),
            datasets.load_mni152_wm_template(resolution=1),
            datasets.load_mni152_brain_mask(resolution=1),
        )
    )
    affine = np.asarray(template.affine)
    numbers, atlas_affine = _read(cerebra)
    grid = np.indices(gray.shape).reshape(3, -1)
    shift = np.linalg.inv(atlas_affine) @ affine
    atlas = ndimage.map_coordinates(numbers, shift[:3, :3] @ grid + shift[:3, 3:], order=0).reshape(gray.shape)
    right = (affine[0, 0] * grid[0] + affine[0, 3]).reshape(gray.shape) > 0
    fluid = np.clip(brain - gray - white, 0, 1)
    tissue = np.argmax([0.9 * fluid, gray, white], axis=0)
    labels = np.select([tissue == 1, tissue == 2], [np.where(right, 42, 3), np.where(right, 41, 2)], CSF)
    labels[brain < 0.5] = 0
    for number, label in CEREBRA.items():
        part = atlas == number
        if label in (8, 47):  # cerebellum: the template tells its grey from its white matter
            part &= labels != CSF
            labels[part] = np.where(white[part] > 0.55, 7 if label == 8 else 46, label)
        else:
            labels[part & (brain > 0.5)] = label
    return Anatomy("icbm", build_skull(_open_sulci(labels.astype(np.int16))), affine)


def _read(path: Path) -> tuple[npt.NDArray, FloatArray]:
    image = nib.as_closest_canonical(nib.load(path))
    return np.rint(np.asanyarray(image.dataobj)).astype(np.int32), np.asarray(image.affine, float)


def _crop(labels: Labels, affine: FloatArray, margin: int = 45) -> tuple[Labels, FloatArray]:
    """Cut to the brain and ``margin`` mm around it."""
    where = np.argwhere(brain_of(labels)[::2, ::2, ::2]) * 2
    low = np.maximum(where.min(axis=0) - margin, 0)
    window = tuple(slice(a, b) for a, b in zip(low, where.max(axis=0) + margin, strict=True))
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ low
    return np.ascontiguousarray(labels[window]), moved


def _open_sulci(labels: Labels) -> Labels:
    """Put fluid where the banks of a sulcus touch: voxels of cortex farther from white matter than all around them."""
    cortex = np.isin(labels, (3, 42))
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(~np.isin(labels, (2, 41))).astype(np.float32), 0.6)
    ridge = cortex & (ndimage.laplace(depth) < -0.55) & (depth > 1.6)
    return np.where(ridge, CSF, labels).astype(np.int16)


def build_skull(labels: Labels) -> Labels:
    """Return labels with fluid, bone and scalp put around a bare brain: 3, 7 and 6 mm thick, thicker below."""
    brain = labels > 0
    wide = np.pad(brain, 12)
    hull = ndimage.distance_transform_edt(ndimage.distance_transform_edt(~wide) <= 9)[12:-12, 12:-12, 12:-12] > 8
    hull |= brain
    outward = ndimage.distance_transform_edt(~hull)
    inward = np.where(hull & ~brain, CSF, labels)
    shells = np.select([outward <= 2, outward <= 4, outward <= 6.5, outward <= 8.5, outward <= 14],
                       [CSF, BONE, FAT, BONE, FAT], 0)  # fmt: skip
    below = np.zeros_like(brain)
    floor = np.argwhere(brain)[:, 2].min() + 35  # neck and face: soft tissue below the base of the skull
    under_scalp = (outward <= 14).any(axis=2, keepdims=True)
    below[:, :, :floor] = (outward[:, :, :floor] > 8.5) & (outward[:, :, :floor] <= 45) & under_scalp
    shells[below & (shells != BONE)] = SOFT
    head = np.where(hull, inward, shells).astype(np.int16)
    box = Box(head.shape, 1.0)
    landmarks = place_landmarks(head, box)
    for place, radii in CAVITIES:
        for side in (-1, 1):
            centre = box.indices(landmarks @ np.array([side * place[0], *place[1:], 1.0]))
            window = tuple(slice(max(0, int(c - r)), int(c + r) + 2) for c, r in zip(centre, radii, strict=True))
            part = head[window]
            x, y, z = (np.arange(w.start, w.start + n) for w, n in zip(window, part.shape, strict=True))
            inside = (
                ((x - centre[0]) / radii[0])[:, None, None] ** 2
                + ((y - centre[1]) / radii[1])[None, :, None] ** 2
                + ((z - centre[2]) / radii[2])[None, None, :] ** 2
            ) < 1
            part[inside & ~hull[window] & (outward[window] > 3)] = 0
    return head


def brain_of(labels: Labels) -> npt.NDArray[np.bool_]:
    """Return the voxels of brain and ventricles."""
    return (labels > 0) & (labels != CSF) & (labels < 500)


def deform(anatomy: Anatomy, box: Box, turn: FloatArray, rng: np.random.Generator, strength: float = 1.0) -> Labels:
    """Sample a head onto a box of the scan frame, with other proportions and smooth displacements of up to ~6 mm.

    Parameters
    ----------
    anatomy
        Labelled head.
    box
        Grid of the result; its middle is the middle of the brain.
    turn
        3 x 3: columns are the axes of the scan frame in world coordinates.
    rng
        Source of the deformation.
    strength
        0 gives the head as it is.
    """
    middle = anatomy.affine[:3, :3] @ _middle_of_brain(anatomy.labels) + anatomy.affine[:3, 3]
    scale = 1 + strength * rng.uniform(-0.06, 0.06, 3)
    if strength and rng.random() < 0.5:
        scale[0] *= -1  # mirrored
    to_index = np.linalg.inv(anatomy.affine)[:3, :3] @ np.diag(scale) @ turn
    offset = np.linalg.inv(anatomy.affine)[:3, :3] @ middle + np.linalg.inv(anatomy.affine)[:3, 3]
    x, y, z = np.meshgrid(*(box.axis(i).astype(np.float32) for i in range(3)), indexing="ij", sparse=True)
    index = []
    knots = Box.covering(np.array(box.shape) * box.spacing + 8, 4.0)
    for row, start in zip(to_index.astype(np.float32), offset, strict=True):
        wave = sum(
            np.float32(strength * size) * np.clip(smooth_noise(rng, knots.shape, knots.spacing, wavelength), -2.2, 2.2)
            for wavelength, size in ((55.0, 2.5), (25.0, 0.8))
        )
        moved = resample(np.asarray(wave), knots, box)
        moved += row[0] * x + row[1] * y + row[2] * z + np.float32(start)
        index.append(moved)
    return ndimage.map_coordinates(anatomy.labels, index, order=0, mode="nearest").astype(np.int16)


def _middle_of_brain(labels: Labels) -> FloatArray:
    where = np.argwhere(brain_of(labels)[::2, ::2, ::2]) * 2
    return (where.min(axis=0) + where.max(axis=0)) / 2


def place_landmarks(labels: Labels, box: Box) -> FloatArray:
    """Return the 3 x 4 affine that brings ICBM152 mm into the scan frame, by least squares over nuclei."""
    present = [label for label in MNI_CENTRES if (labels == label).any()]
    centres = box.spacing * (np.array(ndimage.center_of_mass(labels > 0, labels, present)) - box.middle)
    known = np.column_stack([np.array([MNI_CENTRES[label] for label in present]), np.ones(len(present))])
    solution, *_ = np.linalg.lstsq(known, centres, rcond=None)
    return solution.T
