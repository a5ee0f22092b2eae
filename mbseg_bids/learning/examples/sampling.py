"""Which voxels of a scan with known lesions become training patches."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.imaging.labels import CSF, GM, WM
from mbseg_bids.learning.examples.patch_set import PatchSet, concatenate, cut_patch_set
from mbseg_bids.simulation.mimics import ignored

RIM = 1
"""Voxels around a lesion, along all axes, that are neither positive nor negative: where it ends is open to dispute."""

SURROUND = 5
"""Voxels around a lesion, in plane, from which patches beside a lesion are drawn."""


@dataclass(frozen=True)
class MicrobleedCounts:
    """Most patches of each kind from one scan.

    Attributes
    ----------
    voxels_per_lesion
        So that a few large lesions do not outweigh many small ones.
    background, candidate, mimic, surround
        Not-microbleeds by kind, see :data:`mbseg_bids.learning.examples.patch_set.KINDS`.
    rotations
        The training will turn each lesion so many times: ``background`` is raised, where that is more, to a novel
        background patch for the upright showing and for every turned one, as in the paper.
    """

    voxels_per_lesion: int = 24
    background: int = 600
    candidate: int = 1500
    mimic: int = 400
    surround: int = 200
    rotations: int = 0


def tissue_patches(
    stack: npt.NDArray[np.float32],
    tissue: npt.NDArray[np.integer],
    brain: npt.NDArray[np.bool_],
    participant: int,
    rng: np.random.Generator,
    *,
    n: int,
    size: int = 28,
) -> PatchSet:
    """Draw as many CSF voxels as GM and WM voxels together (stage 1).

    Parameters
    ----------
    stack
        Shape (3, I, J, K), 0-100.
    tissue
        Shape (I, J, K): 1 CSF, 2 GM, 3 WM.
    brain
        Shape (I, J, K); voxels outside are not drawn.
    participant
        Whose scan it is.
    n
        Patches in all, fewer where a class has fewer voxels.
    size
        Side of the network's patch, voxels.
    """
    csf = _draw(brain & (tissue == CSF), n // 2, rng)
    other = _draw(brain & ((tissue == GM) | (tissue == WM)), n // 2, rng)
    n_each = min(len(csf), len(other))
    return concatenate(
        [
            cut_patch_set(stack, csf[:n_each], "csf", participant, size=size),
            cut_patch_set(stack, other[:n_each], "tissue", participant, size=size),
        ]
    )


def microbleed_patches(
    stack: npt.NDArray[np.float32],
    lesions: npt.NDArray[np.integer],
    brain: npt.NDArray[np.bool_],
    candidates: npt.NDArray[np.bool_],
    mimics: npt.NDArray[np.integer],
    participant: int,
    rng: np.random.Generator,
    *,
    voxel_volume: float,
    counts: MicrobleedCounts | None = None,
    size: int = 28,
    lesion_volumes: Mapping[int, float] | None = None,
) -> PatchSet:
    """Draw microbleed voxels, and of not-microbleeds a mixture that leans to what the network is asked about (stage 2).

    Parameters
    ----------
    stack
        Shape (3, I, J, K), 0-100.
    lesions
        Shape (I, J, K): 0, or the number of the lesion.
    brain, candidates
        Shape (I, J, K): where to draw from, and the dark voxels of the search mask.
    mimics
        Shape (I, J, K): 0, or a label of a vein, calcification, iron and the like. Nothing is drawn from those of
        :data:`mbseg_bids.simulation.mimics.IGNORED_MIMICS`.
    participant
        Whose scan it is.
    voxel_volume
        mm3.
    counts, size
        Most patches of each kind; side of the network's patch, voxels.
    lesion_volumes
        mm3 by number of the lesion, where the scan was outlined on a finer grid than this; None counts voxels.
    """
    counts = counts or MicrobleedCounts()
    lesion_voxels, numbers = _lesion_voxels(lesions, counts.voxels_per_lesion, rng)
    volumes = np.bincount(lesions.ravel())[numbers] * voxel_volume
    if lesion_volumes is not None:
        volumes = np.array([lesion_volumes[n] for n in numbers.tolist()])
    n_background = max(counts.background, len(lesion_voxels) * (counts.rotations + 1))
    near = ndimage.binary_dilation((lesions > 0) | ignored(mimics), np.ones((2 * RIM + 1,) * 3))
    negative = brain & ~near
    wide_plane = np.ones((2 * SURROUND + 1, 2 * SURROUND + 1, 1))
    surround = ndimage.binary_dilation(lesions > 0, wide_plane) & negative
    drawn = {
        "background": _draw(negative, n_background, rng),
        "candidate": _draw(negative & candidates & (mimics == 0), counts.candidate, rng),
        "mimic": _draw_preferred(negative & (mimics > 0), candidates, counts.mimic, rng),
        "surround": _draw_preferred(surround, candidates, counts.surround, rng),
    }
    sets = [cut_patch_set(stack, lesion_voxels, "lesion", participant, size=size, volumes=volumes)]
    sets += [cut_patch_set(stack, voxels, kind, participant, size=size) for kind, voxels in drawn.items()]
    return concatenate(sets)


def _lesion_voxels(lesions: npt.NDArray, most: int, rng: np.random.Generator) -> tuple[npt.NDArray, npt.NDArray]:
    """Return voxels (N, 3) of lesions, at most so many of each, and the number of the lesion of each."""
    voxels, numbers = [np.empty((0, 3), int)], [np.empty(0, int)]
    for number, box in enumerate(ndimage.find_objects(lesions.astype(np.int32)), start=1):
        if box is None:
            continue
        of_lesion = np.argwhere(lesions[box] == number) + [s.start for s in box]
        chosen = rng.permutation(len(of_lesion))[:most]
        voxels.append(of_lesion[chosen])
        numbers.append(np.full(len(chosen), number))
    return np.concatenate(voxels), np.concatenate(numbers)


def _draw(mask: npt.NDArray[np.bool_], n: int, rng: np.random.Generator) -> npt.NDArray:
    """Return up to ``n`` different voxels (n, 3) of a mask."""
    inside = np.flatnonzero(mask)
    chosen = rng.choice(inside, min(n, len(inside)), replace=False) if len(inside) else inside
    return np.stack(np.unravel_index(chosen, mask.shape), axis=1)


def _draw_preferred(
    mask: npt.NDArray[np.bool_], preferred: npt.NDArray[np.bool_], n: int, rng: np.random.Generator
) -> npt.NDArray:
    """Draw three quarters among the preferred voxels of the mask where there are as many, the rest among the others."""
    first = _draw(mask & preferred, 3 * n // 4, rng)
    return np.concatenate([first, _draw(mask & ~preferred, n - len(first), rng)])
