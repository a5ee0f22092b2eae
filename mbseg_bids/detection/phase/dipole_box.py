"""The phase about a candidate, unwrapped: what a dipole is fitted to."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from skimage.restoration import unwrap_phase

from mbseg_bids.imaging.phase import Echo, wrapped

BOX_MM = 13.0
"""Half an edge of the box in which the phase is unwrapped."""
FIT_MM = 9.0
"""Distance from the centre up to which voxels are fitted."""
LEAST_SIGNAL = 0.4
"""Part of the median magnitude about the candidate below which a voxel has no say: signal void, air, vessel."""
ORDER = 2
"""Of the polynomial that the background is taken for."""


@dataclass(frozen=True, eq=False)
class Box:
    """Voxels about a candidate.

    Attributes
    ----------
    centre
        Shape (3,): of the candidate, RAS+ mm.
    points
        Shape (n, 3): middles of the voxels, RAS+ mm.
    cells
        Shape (3, 3): the edges of a voxel as columns, mm.
    phases, weights
        For each echo, shape (n,): unwrapped phase without its steepest slope (rad); weight 0-1.
    """

    centre: npt.NDArray[np.float64]
    points: npt.NDArray[np.float64]
    cells: npt.NDArray[np.float64]
    phases: tuple[npt.NDArray[np.float64], ...]
    weights: tuple[npt.NDArray[np.float64], ...]

    def background_terms(self) -> npt.NDArray[np.float64]:
        """Return the terms (n, 10) of a polynomial of second order in the distance from the centre."""
        offsets = (self.points - self.centre) / FIT_MM
        powers = [p for p in itertools.product(range(ORDER + 1), repeat=3) if sum(p) <= ORDER]
        return np.stack([np.prod(offsets ** np.array(p), axis=1) for p in powers], axis=1)


def cut_box(
    echoes: Sequence[Echo],
    brain: npt.NDArray[np.bool_],
    affine: npt.NDArray[np.float64],
    centre: Sequence[float],
) -> Box | None:
    """Cut the surroundings of a candidate out of all echoes and unwrap them; None where there is no signal.

    Parameters
    ----------
    echoes, brain, affine
        As in :class:`mbseg_bids.detection.phase.dipole.PhaseScan`.
    centre
        RAS+ mm.
    """
    cells = np.asarray(affine[:3, :3], dtype=np.float64)
    middle = np.linalg.solve(cells, np.asarray(centre) - affine[:3, 3])
    window = tuple(
        slice(max(0, math.floor(m - BOX_MM / size)), min(n, math.ceil(m + BOX_MM / size) + 1))
        for m, size, n in zip(middle, np.linalg.norm(cells, axis=0), brain.shape, strict=True)
    )
    inside = brain[window]
    if min(inside.shape) < 2 or not inside.any():
        return None
    starts = np.array([part.start for part in window])
    indices = np.moveaxis(np.indices(inside.shape), 0, -1) + starts
    points = indices @ cells.T + affine[:3, 3]
    fitted = inside & (np.linalg.norm(points - np.asarray(centre), axis=-1) < FIT_MM)
    if not fitted.any():
        return None
    phases, weights = [], []
    for echo in echoes:
        weight = _weights(echo.magnitude[window], inside)
        if not (weight[fitted] > 0).any():
            return None
        phases.append(_unwrapped(echo.radians[window].astype(np.float64), weight)[fitted])
        weights.append(weight[fitted])
    return Box(np.asarray(centre, dtype=np.float64), points[fitted], cells, tuple(phases), tuple(weights))


def _weights(magnitude: npt.NDArray[np.floating], inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return the squared magnitude against its median, at most 1; 0 outside the brain and where there is no signal."""
    signal = np.nan_to_num(magnitude.astype(np.float64))
    level = float(np.median(signal[inside]))
    if level <= 0:
        return np.zeros(signal.shape)
    relative = np.minimum(signal / level, 1.0)
    return np.where(inside & (relative > LEAST_SIGNAL), relative**2, 0.0)


def _unwrapped(radians: npt.NDArray[np.float64], weight: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the phase without its mean slope, and without turns.

    The slope goes first, by the weighted mean of the phase steps between neighbours: across thick slices it may be more
    than half a turn a voxel, and no unwrapping by neighbours would follow it (background of the polynomial takes no
    notice, as a slope is one of its terms).
    """
    flat = radians.copy()
    for axis in range(3):
        line, heavy = np.moveaxis(flat, axis, 0), np.moveaxis(weight, axis, 0)
        steps = np.exp(1j * np.diff(line, axis=0)) * heavy[1:] * heavy[:-1]
        slope = float(np.angle(steps.sum()))
        line -= slope * np.arange(len(line)).reshape(-1, 1, 1)
    whole = np.ma.array(wrapped(flat), mask=weight <= 0)
    if whole.count() == 0:
        return flat
    return np.ma.filled(unwrap_phase(whole, rng=0), 0.0)
