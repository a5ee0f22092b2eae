"""Seeded region growing: the network is asked about the darkest voxels first, then about what touches a positive one.

A microbleed has a darkest voxel. Once the network says no to that, what surrounds it is not asked about. Everything it
says yes to is followed to its end, so that a component found this way is, to the voxel, the one which classifying the
whole mask would give. A component is missed only if the network says no to every seed in it, or it has none. So that
this happens to few lesions, a run takes for positive what is far from sure
(:attr:`mbseg_bids.settings.DetectionSettings.follow_threshold`): the components of a higher threshold lie within those.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.detection.geometry.components import TOUCHING

Classify = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]
"""From voxel indices, shape (N, 3), to probabilities, shape (N,)."""


def local_minima(t2star: npt.NDArray[np.floating], brain: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the brain voxels that none of their eight in-plane neighbours in the brain is darker than.

    Parameters
    ----------
    t2star, brain
        Shape (I, J, K), detection grid (axis 2 across slices).
    """
    inside = brain & np.isfinite(t2star)
    intensity = np.where(inside, t2star, np.inf)
    return inside & (intensity <= ndimage.minimum_filter(intensity, size=(3, 3, 1), mode="nearest"))


def grow_from_seeds(
    mask: npt.NDArray[np.bool_], seeds: npt.NDArray[np.bool_], classify: Classify, threshold: float
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Classify the seeds, then again and again the voxels of the mask that touch a positive one.

    Parameters
    ----------
    mask, seeds
        Shape (I, J, K): the voxels that may be asked about; those that are asked about first, if in the mask.
    classify
        Called with the voxels of one round, in array order.
    threshold
        Smallest probability of a positive voxel.

    Returns
    -------
    Probabilities, float32 of shape (I, J, K), 0 where not asked; and where the network was asked.
    """
    probability, asked = np.zeros(mask.shape, dtype=np.float32), np.zeros(mask.shape, dtype=bool)
    front = np.argwhere(seeds & mask)
    while len(front):
        asked[tuple(front.T)] = True
        found = classify(front)
        probability[tuple(front.T)] = found
        front = _touching(front[found >= threshold], mask & ~asked)
    return probability, asked


def _touching(voxels: npt.NDArray[np.int64], among: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return those voxels of ``among`` that touch one of ``voxels`` (N, 3), each once, in array order.

    Looks at the neighbours of these few instead of dilating the volume, round after round.
    """
    neighbours = (voxels[:, None] + (np.argwhere(TOUCHING) - 1)).reshape(-1, 3)
    neighbours = neighbours[((neighbours >= 0) & (neighbours < among.shape)).all(axis=1)]
    neighbours = neighbours[among[tuple(neighbours.T)]]
    flat = np.unique(np.ravel_multi_index(tuple(neighbours.T), among.shape))
    return np.stack(np.unravel_index(flat, among.shape), axis=1)
