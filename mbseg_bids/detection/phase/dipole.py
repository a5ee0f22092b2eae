"""The dipole about a candidate in the phase: its moment, signed, with a standard error.

A compact source of susceptibility dChi and volume V disturbs the main field outside itself by
dB = (dChi V) B0 / (4 pi) (3 cos^2 - 1) / r^3, along B0 (Haacke et al., Magnetic Resonance Imaging, 1999, ch. 25: a
sphere's (dChi B0 / 3) (a / r)^3 (3 cos^2 - 1), with V = 4/3 pi a^3). Only the moment dChi V can be told from outside,
not its two factors. The phase turns by gamma dB TE.

B0 points along z of the scanner, which is z of the world of the image (RAS+ mm).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mbseg_bids.detection.phase.dipole_box import Box, cut_box
from mbseg_bids.imaging.phase import GYROMAGNETIC_RATIO, Echo, wrapped

NEAR_MM = 3.5
"""Voxels nearer than this are averaged over a finer grid of points: the field falls with the third power."""
STEP_MM = {True: 0.5, False: 1.5}
"""Largest distance (mm) of the points that a voxel is averaged over, near the source and elsewhere."""
CORE_MM = 0.6
"""The field of a dipole has a pole; nearer than this it is taken for zero, as in a sphere."""
SEARCH_MM = ((-1.0, 0.0, 1.0), (-0.5, 0.0, 0.5))
"""Steps of the search for the centre along each axis: it ends at most 1.5 mm from where it began."""
ROUNDS = 3
"""How often the fit is mended: wraps, loss of coherence in a voxel, outliers."""
DEPHASED = 0.5
"""A voxel that keeps less of its signal than this is no witness: its phase is that of a few of its spins."""
LEAST_VOXELS = 80
"""Fewer with a signal tell nothing."""
SURE_ERRORS = 4.0
"""|moment| / standard error from which the sign is sure."""
SURE_SHARE = 0.15
"""Part of the variance that background leaves and that the dipole must explain."""
SURE_MOMENT = 2.0
"""ppm mm^3: a smaller moment (a sphere of 1.6 mm and 1 ppm) is texture."""


@dataclass(frozen=True, eq=False)
class PhaseScan:
    """Magnitude and phase of a T2* scan, on its native grid.

    Attributes
    ----------
    echoes
        At least one; all of one shape (i, j, k).
    brain
        Shape (i, j, k).
    affine
        Voxel indices to RAS+ mm of the scanner.
    field_strength
        Tesla.
    """

    echoes: tuple[Echo, ...]
    brain: npt.NDArray[np.bool_]
    affine: npt.NDArray[np.float64]
    field_strength: float


@dataclass(frozen=True)
class DipoleFit:
    """What the phase says of one candidate, in the convention of the scan: the sign means nothing without it.

    Attributes
    ----------
    moment
        dChi V, ppm (SI) mm^3; NaN where nothing could be fitted.
    error
        Its standard error, the same unit.
    explained
        Part of the variance of the phase that the background leaves and that the dipole explains, 0-1.
    sure
        Whether the sign is sure.
    """

    moment: float = math.nan
    error: float = math.nan
    explained: float = math.nan
    sure: bool = False

    def turned(self, sign: int) -> "DipoleFit":
        """Return it with the moment times ``sign``, 1 or -1."""
        return DipoleFit(sign * self.moment, self.error, self.explained, self.sure)


def fit_dipole(scan: PhaseScan, centre: Sequence[float]) -> DipoleFit:
    """Fit one dipole about a candidate to all echoes together.

    Background (a polynomial of second order for each echo) and moment are fitted by least squares, each voxel weighted
    by its squared magnitude, since the variance of the phase goes with its inverse. The centre is searched for up to
    1.5 mm away along each axis. The standard error is the larger one of that of the fit and that between the eight
    octants about the centre, as what is left (veins, other sources) is no noise of single voxels.

    Parameters
    ----------
    scan
        The session's.
    centre
        Of the candidate, RAS+ mm.
    """
    box = cut_box(scan.echoes, scan.brain, scan.affine, centre)
    if box is None or len(box.points) < LEAST_VOXELS:
        return DipoleFit()
    return _Fit(box, scan).result()


def dipole_kernel(
    points: npt.NDArray[np.float64], cells: npt.NDArray[np.float64], centre: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], list[tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]]]:
    """Return (3 cos^2 - 1) / r^3 (mm^-3) averaged over each voxel, and the values that went into it.

    Parameters
    ----------
    points
        Shape (n, 3): middles of the voxels, RAS+ mm.
    cells
        Shape (3, 3): the edges of a voxel as columns, mm.
    centre
        Shape (3,): of the dipole, RAS+ mm.

    Returns
    -------
    Shape (n,), and pairs of the numbers of some voxels (m,) and their values (m, points of a voxel).
    """
    offsets = points - centre
    near = np.linalg.norm(offsets, axis=1) < NEAR_MM + np.linalg.norm(cells, axis=0).max() / 2
    kernel, parts = np.zeros(len(points)), []
    for is_near in (True, False):
        which = np.flatnonzero(near == is_near)
        within = offsets[which, None, :] + _subpoints(cells, STEP_MM[is_near])
        squared = np.maximum((within**2).sum(axis=-1), CORE_MM**2)
        values = (3 * within[..., 2] ** 2 / squared - 1) * squared**-1.5
        values[(within**2).sum(axis=-1) < CORE_MM**2] = 0.0
        kernel[which] = values.mean(axis=1)
        parts.append((which, values))
    return kernel, parts


def _subpoints(cells: npt.NDArray[np.float64], step: float) -> npt.NDArray[np.float64]:
    """Return points (m, 3) spread evenly in a voxel about its middle, mm."""
    lines = []
    for size in np.linalg.norm(cells, axis=0):
        n = math.ceil(size / step)
        lines.append((np.arange(n) + 0.5) / n - 0.5)
    grid = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, 3)
    return grid @ cells.T


class _Fit:
    """One candidate's fit. Rows are the voxels of the first echo, then those of the second, ..."""

    def __init__(self, box: Box, scan: PhaseScan) -> None:
        self.box = box
        n, n_echoes = len(box.points), len(box.phases)
        # Radians for one ppm mm^3 and a kernel of 1 mm^-3.
        turn = GYROMAGNETIC_RATIO * scan.field_strength * 1e-6 / (4 * math.pi)
        self.scale = np.repeat([turn * echo.echo_time for echo in scan.echoes], n)
        terms = box.background_terms()
        self.background = np.kron(np.eye(n_echoes), terms)
        self.phase = np.concatenate(box.phases)
        self.base_weight = np.concatenate(box.weights)
        self.weight = self.base_weight
        self.n_voxels, self.n_echoes = n, n_echoes
        self.centre = box.centre

    def result(self) -> DipoleFit:
        moment = 0.0
        for _ in range(ROUNDS):
            self.centre = self._search()
            kernel, parts = dipole_kernel(self.box.points, self.box.cells, self.centre)
            column = self.scale * np.tile(kernel, self.n_echoes)
            moment, coefficients, _ = self._solve(column, self.weight)
            self._mend(moment, column, self.background @ coefficients, parts)
        moment, _, error = self._solve(column, self.weight)
        projected = _Projection(self.background, self.weight)
        explained = _explained(projected.of(column), projected.of(self.phase))
        error = max(error, self._between_octants(column))
        sure = abs(moment) > max(SURE_ERRORS * error, SURE_MOMENT) and explained > SURE_SHARE
        return DipoleFit(float(moment), float(error), float(explained), bool(sure))

    def _search(self) -> npt.NDArray[np.float64]:
        """Return the centre about which a dipole leaves least."""
        projected = _Projection(self.background, self.weight)
        target = projected.of(self.phase)
        best = self.box.centre
        for steps in SEARCH_MM:
            tried = [best + np.array((x, y, z)) for x in steps for y in steps for z in steps]
            best = max(tried, key=lambda centre: self._gain(centre, projected, target))
        return best

    def _gain(self, centre: npt.NDArray[np.float64], projected: "_Projection", target: npt.NDArray) -> float:
        """Return the part that a dipole at ``centre`` explains."""
        kernel, _ = dipole_kernel(self.box.points, self.box.cells, centre)
        return _explained(projected.of(self.scale * np.tile(kernel, self.n_echoes)), target)

    def _solve(self, column: npt.NDArray, weight: npt.NDArray) -> tuple[float, npt.NDArray, float]:
        """Return moment, coefficients of the background, and the standard error of the moment."""
        root = np.sqrt(weight)
        design = np.column_stack([column, self.background]) * root[:, None]
        solution, *_ = np.linalg.lstsq(design, self.phase * root, rcond=None)
        left = self.phase * root - design @ solution
        used = int((weight > 0).sum())
        variance = float(left @ left) / max(used - design.shape[1], 1)
        projected = _Projection(self.background, weight).of(column)
        power = float(projected @ projected)
        return float(solution[0]), solution[1:], math.sqrt(variance / power) if power > 0 else math.inf

    def _mend(self, moment: float, column: npt.NDArray, background: npt.NDArray, parts: list) -> None:
        """Set turns and weights right by what has been fitted so far."""
        kept, excess = np.ones_like(self.phase), np.zeros_like(self.phase)
        for echo in range(self.n_echoes):
            first = echo * self.n_voxels
            for which, values in parts:
                turned = np.exp(1j * moment * self.scale[first] * (values - values.mean(axis=1, keepdims=True)))
                mean = turned.mean(axis=1)
                kept[first + which], excess[first + which] = np.abs(mean), np.angle(mean)
        model = background + moment * column
        measured = np.concatenate(self.box.phases) - excess
        residual = wrapped(measured - model)
        self.phase = model + residual
        spread = 1.4826 * float(np.median(np.abs(residual[self.base_weight > 0]))) + 1e-6
        outlying = np.maximum(1.0, np.abs(residual) / (2.5 * spread))
        self.weight = self.base_weight * (kept > DEPHASED) / outlying

    def _between_octants(self, column: npt.NDArray) -> float:
        """Return the standard error of the moment by leaving out one octant about the centre at a time (jackknife)."""
        octant = np.tile(((self.box.points > self.centre) @ np.array((1, 2, 4))), self.n_echoes)
        moments = []
        for number in range(8):
            weight = np.where(octant == number, 0.0, self.weight)
            if 0 < (weight > 0).sum() < (self.weight > 0).sum():
                moments.append(self._solve(column, weight)[0])
        if len(moments) < 3:
            return math.inf
        n = len(moments)
        return math.sqrt((n - 1) / n * float(((np.array(moments) - np.mean(moments)) ** 2).sum()))


class _Projection:
    """Takes the background out of columns, in weighted least squares."""

    def __init__(self, background: npt.NDArray, weight: npt.NDArray) -> None:
        self.root = np.sqrt(weight)
        self.base, _ = np.linalg.qr(background * self.root[:, None])

    def of(self, column: npt.NDArray) -> npt.NDArray:
        scaled = column * self.root
        return scaled - self.base @ (self.base.T @ scaled)


def _explained(column: npt.NDArray, target: npt.NDArray) -> float:
    """Return the part of the sum of squares of ``target`` that a multiple of ``column`` explains, 0-1."""
    power = float(column @ column) * float(target @ target)
    return float(column @ target) ** 2 / power if power > 0 else 0.0
