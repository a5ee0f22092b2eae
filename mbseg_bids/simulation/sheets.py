"""Sheets of dura between and about the parts of the brain: falx, tentorium, lining of the skull.

They are dark on every contrast, 1 to 2 mm thick; cut by a slice they are lines. Their plaques are in `calcification`.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.simulation.geometry import smooth_field
from mbseg_bids.simulation.relaxation import DURA

_LEFT, _RIGHT = (2, 3), (41, 42)
_CEREBRUM, _CEREBELLUM = (2, 3, 41, 42, 17, 53, 18, 54), (7, 8, 46, 47)
_CSF, _BONE = 24, 515
_EARLIER, _LATER = slice(None, -1), slice(1, None)
_Box = tuple[slice, slice, slice]


def add_dura(labels: npt.NDArray[np.int16], rng: np.random.Generator) -> None:
    """Turn CSF (label 24) into dura where it lies half-way between two parts of the brain, or on the skull.

    Parameters
    ----------
    labels
        1 mm, RAS axes; changed in place.
    rng
        Decides where the sheets have gaps, and how far the falx reaches down.
    """
    bone, lining = labels == _BONE, np.zeros(labels.shape, bool)
    for axis in range(3):
        one, other = (tuple(part if a == axis else slice(None) for a in range(3)) for part in (_LATER, _EARLIER))
        lining[one] |= bone[other]
        lining[other] |= bone[one]
    lining &= labels == _CSF
    for find in (falx, tentorium):
        found = find(labels, rng)
        if found is None:
            continue
        box, sheet = found
        fluid = labels[box] == _CSF
        # Thin places are not seen: gaps, more in some people than in others.
        there = sheet & fluid & (smooth_field(sheet.shape, 12, rng) > rng.uniform(-2.0, 0.0))
        if rng.random() < 0.35:  # 2 mm
            there[1:] |= there[:-1] & fluid[1:]
        labels[box][there] = DURA
    labels[lining] = DURA


def falx(labels: npt.NDArray[np.int16], rng: np.random.Generator) -> tuple[_Box, npt.NDArray[np.bool_]] | None:
    """Where the nearer hemisphere changes from left to right, in the upper part of the cleft between them.

    Returns a box of the labels and the mask in it; None where a hemisphere is missing.
    """
    centres = [np.argwhere(np.isin(labels[::4, ::4, ::4], side))[:, 0] * 4 for side in (_LEFT, _RIGHT)]
    if not all(map(len, centres)):
        return None
    middle = round(sum(float(centre.mean()) for centre in centres) / 2)
    box = (slice(max(0, middle - 14), middle + 15), slice(None), slice(None))
    left, right = np.isin(labels[box], _LEFT), np.isin(labels[box], _RIGHT)
    sheet = _between(left, right, axis=0)
    heights: npt.NDArray[np.bool_] = np.any(np.stack([left, right]), axis=(0, 1))
    sheet[:, ~heights.any(axis=1)] = False
    for y in np.flatnonzero(heights.any(axis=1)):  # the free edge runs a few centimetres under the vault
        sheet[:, y, : max(0, int(np.flatnonzero(heights[y])[-1]) - int(rng.integers(26, 40)))] = False
    return box, sheet


def tentorium(labels: npt.NDArray[np.int16], rng: np.random.Generator) -> tuple[_Box, npt.NDArray[np.bool_]] | None:
    """Where cerebellum changes to cerebrum, going up; returned as by `falx`."""
    coarse = np.argwhere(np.isin(labels[::4, ::4, ::4], _CEREBELLUM)) * 4
    if not len(coarse):
        return None
    low, high = np.maximum(coarse.min(axis=0) - 8, 0), coarse.max(axis=0) + 14
    i, j, k = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    below, above = np.isin(labels[i, j, k], _CEREBELLUM), np.isin(labels[i, j, k], _CEREBRUM)
    return (i, j, k), _between(below, above, axis=2)


def _between(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_], *, axis: int) -> npt.NDArray[np.bool_]:
    """Voxels, one layer thick along an axis, where the nearer of two structures changes and both are near."""
    shares = [ndimage.uniform_filter(part.astype(np.float32), 9) for part in (one, other)]
    nearer = shares[0] > shares[1]
    change = np.zeros(nearer.shape, bool)
    before, after = (tuple(part if a == axis else slice(None) for a in range(3)) for part in (_EARLIER, _LATER))
    change[before] = nearer[before] != nearer[after]
    return change & (np.minimum(*shares) > 0.04)
