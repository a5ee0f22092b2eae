"""CSF, grey and white matter from the T1w signal alone: a mixture with partial volume, and a Markov random field.

Each voxel is pure CSF, grey or white matter (a Gaussian each), or a mixture of CSF and grey or of grey and white matter
in any proportion (as in Santago and Gage 1993, IEEE Trans Med Imaging 12:566); a mixed voxel belongs to the tissue that
fills more than half of it. Without the mixtures the Gaussian of grey matter widens over all of them and takes a quarter
of the white matter, first where it is thin. The model is fitted by expectation maximisation to the histogram inside the
brain; then the six neighbours of each voxel have their say (a Potts field solved by mean-field iterations).

There is no spatial prior: with one, the ventricles of old people become white matter. Deep grey matter, half of which
looks like white matter on T1w, comes from the region atlas.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.imaging.labels import CSF, GM, WM

BINS = 512
EM_ITERATIONS = 200
MIXTURE_STEPS = 10
"""Proportions in which two tissues mix; even, so that one always has more than half."""
SMALLEST_WEIGHT = 0.005
RIM = 3.0
"""Depth of the rim, mm, that the fit leaves out: dura and bone, darker than CSF, lie in it."""
FIELD_STRENGTH = 0.6
"""Weight of the neighbours: log odds that one agreeing neighbour at 1 mm adds."""
FIELD_ITERATIONS = 12
LARGEST_ISLAND = 600.0
"""Islands of CSF smaller than this (mm3; a sphere of 10.5 mm) that lie wholly inside tissue are given to it: on
gradient-echo T1w a microbleed is dark like CSF, and voxels of CSF are never searched for microbleeds."""


def segment_tissue(
    t1w: npt.NDArray, brain: npt.NDArray[np.bool_], spacing: tuple[float, float, float]
) -> npt.NDArray[np.uint8]:
    """Label CSF, grey matter and white matter inside the brain.

    Parameters
    ----------
    t1w
        Shape (i, j, k), bias corrected; unit and scale do not matter.
    brain
        Mask of the same shape.
    spacing
        Voxel size in mm; neighbours across thick slices count less.

    Returns
    -------
    uint8 of the same shape: 0 outside the brain, else 1 CSF, 2 GM, 3 WM.

    Raises
    ------
    UnreadableDataError
        If the image does not show three tissues.
    """
    brain = np.asarray(brain, bool)
    if not brain.any():
        raise UnreadableDataError("the brain mask is empty", "look at the brain mask")
    box = ndimage.find_objects(brain.astype(np.uint8))[0]
    values = np.asarray(t1w[box], np.float32)
    inside = brain[box]
    evidence = fit_mixture(values[_core(inside, spacing)]).evidence(values)
    belief = _smooth_beliefs(evidence, inside, spacing)
    labels = np.zeros(brain.shape, np.uint8)
    labels[box] = np.where(inside, belief.argmax(axis=0) + 1, 0)
    return fill_csf_islands(labels, spacing)


def grey_white_contrast(t1w: npt.NDArray, brain: npt.NDArray[np.bool_], spacing: tuple[float, float, float]) -> float:
    """Return how far apart grey and white matter are on T1w, in standard deviations (of both, root mean square).

    Arguments as for :func:`segment_tissue`. Where they are not told apart by intensity, the border between cortex and
    white matter is a guess.
    """
    mixture = fit_mixture(np.asarray(t1w, np.float32)[_core(np.asarray(brain, bool), spacing)])
    spread = np.sqrt((mixture.deviations[1:] ** 2).mean())
    return float((mixture.means[2] - mixture.means[1]) / spread)


@dataclass(frozen=True, eq=False)
class Mixture:
    """What T1w intensities say of the tissue. CSF, GM, WM in this order."""

    means: npt.NDArray
    """Of the pure tissues, shape (3,), rising."""
    deviations: npt.NDArray
    """Standard deviations of the pure tissues, shape (3,)."""
    weights: npt.NDArray
    """Shape (5,), sum 1: pure CSF, GM and WM, then CSF with GM, and GM with WM."""

    def evidence(self, values: npt.NDArray) -> npt.NDArray[np.float32]:
        """Return the log likelihood of each tissue, shape (3, *values.shape).

        It is tabulated between two deviations below CSF and two above WM and constant beyond: what is darker than
        CSF is CSF, what is brighter than WM is WM.
        """
        low, high = self.means[0] - 2 * self.deviations[0], self.means[2] + 2 * self.deviations[2]
        nodes = np.linspace(low, high, 4 * BINS)
        density = _densities(nodes, self.means, self.deviations, self.weights) @ _TISSUE_OF_COMPONENT
        table = np.log(np.maximum(density, 1e-30))
        flat = np.ravel(values)
        found = [np.interp(flat, nodes, column).astype(np.float32) for column in table.T]
        return np.stack(found).reshape(3, *np.shape(values))


def fit_mixture(values: npt.NDArray) -> Mixture:
    """Fit three pure tissues and their mixtures to T1w intensities, in any order; deterministic.

    Raises
    ------
    UnreadableDataError
        If all intensities are alike.
    """
    low, high = np.percentile(values, (0.5, 99.5))
    if not high > low:
        raise UnreadableDataError("the T1w image is flat inside the brain", "look at the image and the brain mask")
    counts, edges = np.histogram(values, BINS, (low, high))
    centres = (edges[:-1] + edges[1:]) / 2
    means = _three_means(centres, counts)
    deviations = np.full(3, (high - low) / 20)
    weights = np.array([0.15, 0.35, 0.3, 0.1, 0.1])
    smallest = (high - low) / 60
    for _ in range(EM_ITERATIONS):
        density = _densities(centres, means, deviations, weights)
        share = counts[:, None] * density / np.maximum(density.sum(axis=1, keepdims=True), 1e-300)
        before = means
        means = _weighted_means(share, centres, deviations)
        pure = np.maximum(share[:, :3].sum(axis=0), 1e-6)
        spread = (share[:, :3] * (centres[:, None] - means) ** 2).sum(axis=0) / pure
        deviations = np.maximum(np.sqrt(spread), smallest)
        # Vessels and meninges run through CSF: it is never more uniform than GM. Without this the few darkest voxels
        # (bone, flow) become "pure CSF" where sulci are narrow, and half of CSF becomes GM.
        deviations[0] = max(deviations[0], deviations[1])
        weights = np.maximum(share.sum(axis=0) @ _GROUP_OF_COMPONENT / counts.sum(), SMALLEST_WEIGHT)
        weights /= weights.sum()
        if np.abs(means - before).max() < 1e-5 * (high - low):
            break
    return Mixture(means, deviations, weights)


def _components() -> tuple[npt.NDArray, npt.NDArray, npt.NDArray]:
    """Return the make-up of each component (rows: parts of CSF, GM, WM), its tissue and its group, both one-hot."""
    parts = (np.arange(MIXTURE_STEPS) + 0.5) / MIXTURE_STEPS
    rows, group = list(np.eye(3)), [0, 1, 2]
    for pair in (0, 1):
        for part in parts:
            row = np.zeros(3)
            row[pair], row[pair + 1] = 1 - part, part
            rows.append(row)
            group.append(3 + pair)
    makeup = np.array(rows)
    return makeup, np.eye(3)[makeup.argmax(axis=1)], np.eye(5)[group]


_MAKEUP, _TISSUE_OF_COMPONENT, _GROUP_OF_COMPONENT = _components()


def _densities(values: npt.NDArray, means: npt.NDArray, deviations: npt.NDArray, weights: npt.NDArray) -> npt.NDArray:
    """Return the weighted density of each component at each value, shape (values, components)."""
    centre, spread = _MAKEUP @ means, np.sqrt(_MAKEUP @ deviations**2)
    weight = _GROUP_OF_COMPONENT @ (weights / _GROUP_OF_COMPONENT.sum(axis=0))
    return weight / spread * np.exp(-0.5 * ((values[:, None] - centre) / spread) ** 2)


def _weighted_means(share: npt.NDArray, centres: npt.NDArray, deviations: npt.NDArray) -> npt.NDArray:
    """Return the pure means that fit all components best: weighted least squares over pure and mixed voxels."""
    precision = 1 / (_MAKEUP @ deviations**2)
    normal = (_MAKEUP * (share.sum(axis=0) * precision)[:, None]).T @ _MAKEUP
    right = _MAKEUP.T @ ((share * centres[:, None]).sum(axis=0) * precision)
    return np.linalg.solve(normal + 1e-9 * np.trace(normal) * np.eye(3), right)


def fill_csf_islands(
    tissue: npt.NDArray[np.uint8], spacing: tuple[float, float, float], largest: float = LARGEST_ISLAND
) -> npt.NDArray[np.uint8]:
    """Give islands of CSF wholly inside grey and white matter to the tissue that most of their border voxels have.

    Parameters
    ----------
    tissue
        0 outside the brain, else 1 CSF, 2 GM, 3 WM; shape (i, j, k).
    spacing
        Voxel size, mm.
    largest
        Islands of this volume or more, mm3, are left: ventricles, cavities.
    """
    filled = tissue.copy()
    touching = np.ones((3, 3, 3), bool)
    islands, count = ndimage.label(tissue == CSF, touching)
    limit = largest / float(np.prod(spacing))
    sizes = np.bincount(islands.ravel(), minlength=count + 1)
    for label, box in enumerate(ndimage.find_objects(islands), start=1):
        if sizes[label] >= limit:
            continue
        wide = tuple(slice(max(0, b.start - 1), b.stop + 1) for b in box)
        island = islands[wide] == label
        border = tissue[wide][ndimage.binary_dilation(island, touching) & ~island]
        if border.size and (border > 0).all():  # an island at the rim of the brain is a sulcus
            filled[wide][island] = GM if (border == GM).sum() > (border == WM).sum() else WM
    return filled


def _core(brain: npt.NDArray[np.bool_], spacing: tuple[float, float, float]) -> npt.NDArray[np.bool_]:
    """Return the brain without its rim, or the whole of it where less than half would be left."""
    core = ndimage.distance_transform_edt(brain, sampling=spacing) > RIM
    return core if np.count_nonzero(core) > 0.5 * np.count_nonzero(brain) else brain


def _three_means(centres: npt.NDArray, counts: npt.NDArray) -> npt.NDArray:
    """Return k-means centres of a histogram, from starts spread over it; deterministic."""
    cumulative = np.cumsum(counts) / counts.sum()
    means = np.interp((0.1, 0.45, 0.85), cumulative, centres)
    for _ in range(100):
        nearest = np.abs(centres[:, None] - means).argmin(axis=1)
        mass = np.bincount(nearest, counts, 3)
        moved = np.where(mass > 0, np.bincount(nearest, counts * centres, 3) / np.maximum(mass, 1e-9), means)
        if np.allclose(moved, means):
            break
        means = moved
    return np.sort(means)


def _smooth_beliefs(
    evidence: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_], spacing: tuple[float, float, float]
) -> npt.NDArray[np.float32]:
    """Solve the Potts field by damped mean-field iterations; shape (3 classes, i, j, k)."""
    strengths = [FIELD_STRENGTH / max(s, 1.0) for s in spacing]
    belief = _normalise(evidence) * inside
    for _ in range(FIELD_ITERATIONS):
        support = np.zeros_like(belief)
        for axis, strength in enumerate(strengths, start=1):
            ahead = tuple(slice(1, None) if a == axis else slice(None) for a in range(4))
            behind = tuple(slice(None, -1) if a == axis else slice(None) for a in range(4))
            support[ahead] += strength * belief[behind]
            support[behind] += strength * belief[ahead]
        belief = 0.5 * belief + 0.5 * _normalise(evidence + support) * inside
    return belief


def _normalise(logarithm: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    probability = np.exp(logarithm - logarithm.max(axis=0))
    return probability / probability.sum(axis=0)
