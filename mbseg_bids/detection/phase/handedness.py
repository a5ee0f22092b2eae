"""The convention of sign of a scan's phase, learnt from what is surely paramagnetic in it: veins and iron.

Whether a stronger field turns the phase forwards or backwards depends on the vendor, its software and the conversion,
and no header tells. But nearly all that is thin or small and dark on T2* within the brain is venous blood or iron, both
paramagnetic. So the darkness of the magnitude, taken for susceptibility, predicts the sign of the field everywhere,
through the dipole (Marques & Bowtell 2005, Concepts Magn Reson B 25:65); a vein across B0 and one along it, whose
fields are of unlike sign, both count rightly. The predicted field goes with the measured one, or against it.

Two things that are dark and not paramagnetic must stay out: bone, which is diamagnetic, hence no darkness at the edge
of the brain, and the deepest quarter of it must say the same, as a mask may be too wide; and fluid on a T1-weighted
echo, hence no echo too short for T2* to make the contrast.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.detection.phase.dipole import PhaseScan
from mbseg_bids.imaging.dipole_field import field_of

THIN_MM = 2.5
"""Half the thickness up to which what is dark counts."""
SLOW_MM = 4.0
"""Standard deviation of the smooth part that is taken out of the measured and of the predicted field."""
BLOCK_MM = 24.0
"""Edge of the blocks of brain that vote."""
LEAST_BLOCKS = 8
"""Fewer do not tell chance from agreement."""
DEEP_ERRORS = 2.0
"""The same quotient as `SURE_ERRORS`, of the deepest quarter of the brain alone: less of it is left."""
SURE_ERRORS = 4.0
"""Mean vote of the blocks / its standard error from which the convention is sure."""
EDGE_MM = 4.0
"""The brain's edge has no say, nor does what is dark there: skull and air are beyond."""
SHORTEST_ECHO = 0.02
"""Echo time times field, s T (7 ms at 3 T, 13 ms at 1.5 T): before, what is dark is dark by T1 and density."""


@dataclass(frozen=True)
class Convention:
    """How the phase of a scan turns.

    Attributes
    ----------
    sign
        1: a stronger field turns it forwards; -1: backwards; 0: not sure, and the phase is of no use.
    correlation
        Of the predicted field with the measured one, all blocks together, -1 to 1; NaN where nothing was dark.
    errors
        Mean vote / standard error: how sure.
    """

    sign: int
    correlation: float = math.nan
    errors: float = math.nan


def convention(scan: PhaseScan, excluded: npt.NDArray[np.bool_] | None = None) -> Convention:
    """Find the convention of a scan from its last echo.

    Parameters
    ----------
    scan
        The session's.
    excluded
        Shape (i, j, k): voxels that do not count as dark, such as the candidates, which may be calcium.
    """
    spacing = np.linalg.norm(scan.affine[:3, :3], axis=0)
    echo = max(scan.echoes, key=lambda one: one.echo_time)
    if echo.echo_time * scan.field_strength < SHORTEST_ECHO or not scan.brain.any():
        return Convention(0)
    box = _box_about(scan.brain)
    magnitude, brain = np.nan_to_num(np.asarray(echo.magnitude[box], dtype=np.float32)), scan.brain[box]
    depth = _depth(brain, spacing)
    inner = depth > EDGE_MM
    darkness = np.where(inner, _darkness(magnitude, brain, spacing), 0)
    if excluded is not None:
        darkness[excluded[box]] = 0
    if not darkness.any():
        return Convention(0)
    measured, trusted = _local_phase(magnitude, echo.radians[box], brain, spacing)
    predicted = _high_pass(field_of(darkness, scan.affine), spacing)
    trusted &= inner
    weight = magnitude**2 * trusted
    found = _vote(measured, predicted, weight, spacing)
    deep = _vote(measured, predicted, weight * (depth >= np.quantile(depth[inner], 0.75)), spacing)
    agreed = found.sign * deep.errors > DEEP_ERRORS  # NaN, of too few blocks, is no agreement
    return found if agreed else replace(found, sign=0)


def local_phase(scan: PhaseScan, sign: int) -> npt.NDArray[np.float32]:
    """Return what is left of the phase of the last echo without its smooth part, for the eye.

    Parameters
    ----------
    scan
        The session's.
    sign
        Its convention, 1 or -1.

    Returns
    -------
    Shape (i, j, k), radians, positive where the field is stronger; 0 outside the brain.
    """
    spacing = np.linalg.norm(scan.affine[:3, :3], axis=0)
    echo = max(scan.echoes, key=lambda one: one.echo_time)
    whole = np.zeros(scan.brain.shape, np.float32)
    box = _box_about(scan.brain)
    magnitude = np.nan_to_num(np.asarray(echo.magnitude[box], dtype=np.float32))
    local, _ = _local_phase(magnitude, echo.radians[box], scan.brain[box], spacing)
    whole[box] = np.where(scan.brain[box], sign * local, 0)
    return whole


def _darkness(
    magnitude: npt.NDArray[np.float32], brain: npt.NDArray[np.bool_], spacing: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Return how much darker than what is about them thin and small things of the brain are, 0-1."""
    level = float(np.median(magnitude[brain])) if brain.any() else 0.0
    if level <= 0:
        return np.zeros(magnitude.shape, np.float32)
    filled = np.where(brain, magnitude / level, 1).astype(np.float32)
    size = [2 * max(1, round(THIN_MM / s)) + 1 for s in spacing]
    closed = ndimage.grey_closing(filled, size=size)
    hat = (closed - filled) / np.maximum(closed, 0.1)
    noise = 1.4826 * float(np.median(hat[brain]))
    return np.where(brain & (hat > 2 * noise), hat, 0).astype(np.float32)


def _local_phase(
    magnitude: npt.NDArray[np.float32],
    radians: npt.NDArray[np.floating],
    brain: npt.NDArray[np.bool_],
    spacing: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return the phase without its smooth part (radians), no turn being in the way, and where that holds.

    The smooth part is the phase of the smoothed complex signal (Haacke et al. 2004, Magn Reson Med 52:612).
    """
    signal = np.where(brain, magnitude, 0) * np.exp(1j * radians)
    slow = _smooth(signal.real, spacing) + 1j * _smooth(signal.imag, spacing)
    local = np.angle(signal * np.conj(slow)).astype(np.float32)
    # Where the background turns fast, the smooth signal is nothing, and its phase means nothing.
    expected = _smooth(np.abs(signal), spacing)
    return local, brain & (magnitude > 0) & (np.abs(slow) > 0.5 * expected) & (np.abs(local) < 0.8 * math.pi)


def _smooth(values: npt.NDArray[np.floating], spacing: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    return ndimage.gaussian_filter(values.astype(np.float32), SLOW_MM / spacing, truncate=2.5)


def _high_pass(values: npt.NDArray[np.float32], spacing: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    return values - _smooth(values, spacing)


def _box_about(brain: npt.NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the box of the brain with a voxel about it, where the image goes on."""
    (box,) = ndimage.find_objects(brain.astype(np.uint8))
    return tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)


def _depth(brain: npt.NDArray[np.bool_], spacing: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the distance (mm) from the edge of the brain, 0 outside; the faces of the image are no edge."""
    if brain.all():
        return np.full(brain.shape, 1e6)
    grown = np.pad(brain, 1, mode="edge")
    return ndimage.distance_transform_edt(grown, sampling=spacing)[1:-1, 1:-1, 1:-1]


def _vote(
    measured: npt.NDArray[np.float32],
    predicted: npt.NDArray[np.float32],
    weight: npt.NDArray[np.float32],
    spacing: npt.NDArray[np.float64],
) -> Convention:
    """Correlate the two in each block of brain; a block counts by how much field is predicted in it."""
    index = [np.arange(n) * s // BLOCK_MM for n, s in zip(measured.shape, spacing, strict=True)]
    counts = [int(line[-1]) + 1 for line in index]
    x, y, z = np.ix_(*[line.astype(np.int64) for line in index])
    blocks = ((x * counts[1] + y) * counts[2] + z).ravel()

    def total(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        sums = np.bincount(blocks, weights=(values * weight).ravel(), minlength=math.prod(counts))
        return np.asarray(sums, dtype=np.float64)

    product, power, strength = total(measured * predicted), total(predicted**2), total(measured**2)
    used = (power > 0) & (strength > 0)
    if int(used.sum()) < LEAST_BLOCKS:
        return Convention(0)
    votes = product[used] / np.sqrt(power[used] * strength[used])
    correlation = float(product.sum() / math.sqrt(power.sum() * strength.sum()))
    error = float(votes.std(ddof=1)) / math.sqrt(len(votes))
    errors = float(votes.mean()) / error if error > 0 else 0.0
    sure = abs(errors) > SURE_ERRORS and errors * correlation > 0
    return Convention(int(np.sign(errors)) if sure else 0, correlation, errors)
