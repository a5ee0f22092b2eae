"""Phase images as vendors store them, brought to radians; and what only bears the name of one.

The sign of a phase (whether a stronger field turns it forwards or backwards) is a convention of the scanner's software
that no header tells; it is left as it is here, see :mod:`mbseg_bids.detection.phase.handedness`.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

GYROMAGNETIC_RATIO = 2.6752218744e8
"""Of the proton, rad / s / T (CODATA 2018)."""

FULL_TURNS = {
    "radians": 2 * math.pi,
    "parts of half a turn": 2.0,
    "parts of a turn": 1.0,
    "thousandths of a radian": 2000 * math.pi,
    "12 bits": 4096.0,
    "13 bits": 8192.0,
    "16 bits": 65536.0,
}
"""Values that make one turn, by the name of the scale: dcm2niix and BIDS (rad), scaled radians, GE and Philips
(-3142..3142), Siemens (0..4095 and -4096..4095), 16-bit exports."""
FILLED = 0.9
"""A phase that winds fills its scale, at least to this part; a smaller range fits several scales."""
LEAST_COHERENCE = 0.2
"""Length of the mean of exp(i second difference): 0 in noise, 0.9 where the phase has a deviation of 0.2 rad."""
LIKE_MAGNITUDE = 0.8
"""Correlation from which an image is a magnitude again."""
MOST_COMMON = 0.25
"""Part of the strong voxels with one and the same value from which an image is a mask."""


class NotPhaseError(ValueError):
    """An image is no phase that can be used; the text says why, to follow the name of the file."""


@dataclass(frozen=True, eq=False)
class Echo:
    """Complex signal of one echo.

    Attributes
    ----------
    magnitude
        Shape (i, j, k), any unit.
    radians
        Shape (i, j, k), -pi to pi, wrapped; 0 where the file holds no number.
    echo_time
        Seconds.
    """

    magnitude: npt.NDArray[np.floating]
    radians: npt.NDArray[np.float32]
    echo_time: float


def phase_in_radians(
    values: npt.NDArray[np.generic], magnitude: npt.NDArray[np.generic], units: str | None = None
) -> tuple[npt.NDArray[np.float32], str]:
    """Return a stored phase in radians, -pi to pi, and the name of the scale that it was stored in.

    Parameters
    ----------
    values
        Shape (i, j, k), after the scaling of the file's header.
    magnitude
        Same shape: the magnitude of the same echo, to tell a phase from what is none.
    units
        ``Units`` of the sidecar, ``rad`` or ``arbitrary``. Taken at its word only where the values allow it.

    Raises
    ------
    NotPhaseError
        If it has another shape, no known scale, or is noise, a magnitude or a mask.
    """
    strong = _strong(values, magnitude)
    _refuse_magnitude(values, magnitude)
    _refuse_mask(values, strong)
    scale = _scale(values, units)
    turn = 2 * math.pi / FULL_TURNS[scale]
    radians = wrapped(np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0) * turn)
    _refuse_noise(radians, strong)
    return radians.astype(np.float32), scale


def phase_of_parts(
    real: npt.NDArray[np.generic], imaginary: npt.NDArray[np.generic]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return magnitude and phase (radians, -pi to pi) of the real and the imaginary part, all of one shape.

    Raises
    ------
    NotPhaseError
        If the shapes differ, a part has no values of both signs, or the phase is noise.
    """
    if real.shape != imaginary.shape:
        raise NotPhaseError(f"the parts have {_size(real)} and {_size(imaginary)} voxels")
    parts = [np.nan_to_num(np.asarray(part, dtype=np.float64)) for part in (real, imaginary)]
    if not all(part.min() < 0 < part.max() for part in parts):
        raise NotPhaseError("the real or the imaginary part has values of one sign only")
    magnitude = np.hypot(*parts)
    radians = np.arctan2(parts[1], parts[0])
    _refuse_noise(radians, _strong(real, magnitude))
    return magnitude.astype(np.float32), radians.astype(np.float32)


def wrapped(radians: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Return angles of any shape between -pi and pi."""
    return radians - 2 * np.pi * np.rint(radians / (2 * np.pi))


def coherence(radians: npt.NDArray[np.floating], where: npt.NDArray[np.bool_]) -> float:
    """Return how far the phase of neighbours hangs together, 0 (noise) to 1, whatever its slope.

    The length of the mean of exp(i (before - 2 here + after)) in the best of the three axes (slices may be far apart),
    over voxels of ``where`` whose neighbours are in it too; 0 without any. Shapes (i, j, k).
    """
    best = 0.0
    for axis in range(3):
        line, inside = np.moveaxis(radians, axis, 0), np.moveaxis(where, axis, 0)
        if len(line) < 3:
            continue
        within = inside[:-2] & inside[1:-1] & inside[2:]
        if within.any():
            second = (line[:-2] - 2 * line[1:-1] + line[2:])[within]
            best = max(best, float(abs(np.exp(1j * second).mean())))
    return best


def _strong(values: npt.NDArray[np.generic], magnitude: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    """Return voxels with a signal: above a third of the 95th percentile of the magnitude."""
    if values.shape != magnitude.shape or values.ndim != 3:
        raise NotPhaseError(f"it has {_size(values)} voxels, the magnitude {_size(magnitude)}")
    if not np.isfinite(values).any():
        raise NotPhaseError("it holds no number")
    signal = np.asarray(magnitude, dtype=np.float64)
    return signal > np.nanpercentile(signal, 95) / 3


def _size(values: npt.NDArray[np.generic]) -> str:
    return " x ".join(map(str, values.shape))


def _scale(values: npt.NDArray[np.generic], units: str | None) -> str:
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    low, high = float(finite.min()), float(finite.max())
    if low == high:
        raise NotPhaseError(f"it is {low:g} everywhere")
    if (units or "").strip().lower() in ("rad", "radian", "radians") and high - low <= 40 * math.pi:
        return "radians"  # wrapped or not; a file in units of thousands is not, whatever its sidecar says
    # The range about zero, or from zero up.
    span = 2 * max(-low, high) if low < 0 else high
    for name, turn in FULL_TURNS.items():
        if FILLED <= span / turn <= 1.01:
            return name
    raise NotPhaseError(f"its values, {low:.6g} to {high:.6g}, are of no known scale")


def _refuse_magnitude(values: npt.NDArray[np.generic], magnitude: npt.NDArray[np.generic]) -> None:
    both = np.isfinite(values) & np.isfinite(magnitude)
    pair = np.asarray(values, dtype=np.float64)[both], np.asarray(magnitude, dtype=np.float64)[both]
    if min(part.std() for part in pair) > 0 and np.corrcoef(*pair)[0, 1] > LIKE_MAGNITUDE:
        raise NotPhaseError("it is a magnitude")


def _refuse_mask(values: npt.NDArray[np.generic], strong: npt.NDArray[np.bool_]) -> None:
    within = values[strong & np.isfinite(values)]
    if within.size and np.unique(within, return_counts=True)[1].max() > MOST_COMMON * within.size:
        raise NotPhaseError("it is a mask made of the phase: too many voxels have one value")


def _refuse_noise(radians: npt.NDArray[np.floating], strong: npt.NDArray[np.bool_]) -> None:
    if coherence(radians, strong) < LEAST_COHERENCE:
        raise NotPhaseError("it is noise")
