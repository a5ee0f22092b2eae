"""Magnetic fields of tissue and of haemosiderin: what a magnetic susceptibility does to the frequency of water.

Susceptibilities are volume susceptibilities (SI), as differences from water, in ppm. References: Salomir et al. 2003,
doi:10.1002/cmr.b.10083, and Marques and Bowtell 2005, doi:10.1002/cmr.b.20034 (field by Fourier transform); Yablonskiy
and Haacke 1994, doi:10.1002/mrm.1910320610 (static dephasing); Schenck 1996, doi:10.1118/1.597854 (values).
"""

import numpy as np
import numpy.typing as npt
from scipy import fft

from benchmarks.worlds.grids import FloatArray

LARMOR = 42.577478e6
"""Hz/T: gyromagnetic ratio of the proton over 2 pi (CODATA)."""
AIR, BONE, VEIN, CALCIUM = 9.4, -2.3, 0.45, -2.0
"""ppm from water. Air, cortical bone: Schenck 1996. Venous blood: 3.39 ppm (Spees 2001, doi:10.1002/mrm.1072) times
haematocrit 0.42 times 1 - saturation of about 0.68. Calcified tissue: Schweser 2010, doi:10.1118/1.3481505."""


def sphere_frequency(
    points: FloatArray, centre: npt.ArrayLike, radius: float, chi: float, b0: float, direction: npt.ArrayLike
) -> FloatArray:
    """Return the frequency shift in Hz that a homogeneous sphere causes.

    ``gamma b0 chi/3 (a/r)^3 (3 cos^2 theta - 1)`` outside, 0 inside (with the Lorentz sphere corrected).

    Parameters
    ----------
    points
        (..., 3) in mm.
    centre, radius
        mm.
    chi
        ppm.
    b0
        T.
    direction
        Unit vector of the main field in the frame of the points.
    """
    offset = np.asarray(points) - np.asarray(centre)
    square = np.einsum("...i,...i->...", offset, offset)
    along = offset @ np.asarray(direction)
    outside = square > radius**2
    safe = np.where(outside, square, 1.0)
    shift = LARMOR * b0 * chi * 1e-6 / 3 * radius**3 * (3 * along**2 / safe - 1) / safe**1.5
    return np.where(outside, shift, 0.0)


def frequency_map(
    chi: FloatArray, spacing: float, b0: float, direction: npt.ArrayLike, pad: int = 0
) -> npt.NDArray[np.float32]:
    """Return the frequency shift in Hz that a map of susceptibility causes, by Fourier transform.

    ``B(k) = b0 (1/3 - (k.b)^2/k^2) chi(k)``; the mean of the field is set to zero.

    Parameters
    ----------
    chi
        (n0, n1, n2), ppm.
    spacing
        mm, of an isotropic grid.
    b0, direction
        As in :func:`sphere_frequency`.
    pad
        Voxels of border value added on every side, so that the sources do not act round the corner.
    """
    padded = np.pad(chi.astype(np.float32, copy=False), pad, mode="edge") if pad else chi.astype(np.float32)
    shape = tuple(fft.next_fast_len(n, real=True) for n in padded.shape)
    spectrum = fft.rfftn(padded, shape)
    del padded
    k0, k1 = (np.fft.fftfreq(n, spacing).astype(np.float32) for n in shape[:2])
    k2 = np.fft.rfftfreq(shape[2], spacing).astype(np.float32)
    b = np.asarray(direction, np.float32)
    for i, value in enumerate(k0):  # plane by plane: the kernel of the whole would be as large as the spectrum
        square = value**2 + (k1**2)[:, None] + (k2**2)[None, :]
        along = value * b[0] + (k1 * b[1])[:, None] + (k2 * b[2])[None, :]
        square[square == 0] = np.inf
        kernel = np.float32(1 / 3) - along**2 / square
        if i == 0:
            kernel[0, 0] = 0
        spectrum[i] *= kernel
    field = fft.irfftn(spectrum, shape, overwrite_x=True)
    keep = tuple(slice(pad, pad + n) for n in chi.shape)
    return np.ascontiguousarray(field[keep], np.float32) * np.float32(LARMOR * b0 * 1e-6)


def static_dephasing_rate(chi: FloatArray | float, b0: float) -> FloatArray | float:
    """Return the rate R2' in 1/s within tissue that holds small grains, their mean susceptibility being ``chi`` ppm.

    Yablonskiy and Haacke 1994: ``R2' = 2 pi/(3 sqrt 3) v (gamma chi_grain b0/3)``, and ``v chi_grain`` is the mean.
    """
    return 2 * np.pi / (9 * np.sqrt(3)) * 2 * np.pi * LARMOR * np.abs(chi) * 1e-6 * b0


def shim(field: FloatArray, spacing: float, inside: npt.NDArray[np.bool_]) -> FloatArray:
    """Subtract the polynomial of second order that fits a field within a mask, as a scanner's shims do."""
    step = 4
    sparse = tuple(slice(None, None, step) for _ in range(3))
    where = np.argwhere(inside[sparse]) * step
    centre = (np.array(field.shape) - 1) / 2
    fit, *_ = np.linalg.lstsq(_second_order(((where - centre) * spacing).T), field[tuple(where.T)], rcond=None)
    axes = [((np.arange(n) - c) * spacing).astype(np.float32) for n, c in zip(field.shape, centre, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    terms = (1, x, y, z, x * x, y * y, z * z, x * y, y * z, x * z)
    for value, term in zip(fit, terms, strict=True):
        field = field - np.float32(value) * term
    return field


def _second_order(points: FloatArray) -> FloatArray:
    x, y, z = points
    return np.stack([np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, y * z, x * z], axis=1)
