"""CSF, grey and white matter from the T1w signal alone: a Gaussian mixture with a Markov random field.

Three Gaussians are fitted by expectation maximisation to the histogram inside the brain, then the six neighbours of
each voxel have their say (a Potts field solved by mean-field iterations). There is no spatial prior: with one, the
ventricles of old people become white matter. Deep grey matter, half of which looks like white matter on T1w, comes from
the region atlas.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.imaging.labels import CSF, GM, WM

BINS = 512
EM_ITERATIONS = 200
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
    means, deviations, weights = fit_mixture(values[inside])
    evidence = np.stack(
        [
            np.log(w / s)
            - 0.5 * ((np.clip(values, means[0] - 2 * deviations[0], means[2] + 2 * deviations[2]) - m) / s) ** 2
            for m, s, w in zip(means, deviations, weights, strict=True)
        ]
    ).astype(np.float32)
    belief = _smooth_beliefs(evidence, inside, spacing)
    labels = np.zeros(brain.shape, np.uint8)
    labels[box] = np.where(inside, belief.argmax(axis=0) + 1, 0)
    return fill_csf_islands(labels, spacing)


def fit_mixture(values: npt.NDArray) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray]:
    """Fit three Gaussians to T1w intensities.

    Returns
    -------
    Means in rising order (CSF, GM, WM), standard deviations and weights.
    """
    low, high = np.percentile(values, (0.5, 99.5))
    if not high > low:
        raise UnreadableDataError("the T1w image is flat inside the brain", "look at the image and the brain mask")
    counts, edges = np.histogram(values, BINS, (low, high))
    centres = (edges[:-1] + edges[1:]) / 2
    means = _three_means(centres, counts)
    deviations = np.full(3, (high - low) / 12)
    weights = np.full(3, 1 / 3)
    smallest = (high - low) / 60
    for _ in range(EM_ITERATIONS):
        density = weights / deviations * np.exp(-0.5 * ((centres[:, None] - means) / deviations) ** 2)
        share = counts[:, None] * density / np.maximum(density.sum(axis=1, keepdims=True), 1e-12)
        total = np.maximum(share.sum(axis=0), 1e-6)
        before = means
        means = (share * centres[:, None]).sum(axis=0) / total
        spread = (share * (centres[:, None] - means) ** 2).sum(axis=0) / total
        deviations = np.maximum(np.sqrt(spread), smallest)
        weights = np.clip(total / total.sum(), 0.03, None)
        weights /= weights.sum()
        if np.abs(means - before).max() < 1e-5 * (high - low):
            break
    order = np.argsort(means)
    return means[order], deviations[order], weights[order]


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
