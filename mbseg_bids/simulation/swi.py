"""Susceptibility-weighted imaging: what a phase mask adds to the magnitude."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

SWI_REACH = 1.6
"""The phase about a source is seen farther away than its dephasing: fields are computed this many times as far."""


def phase_mask(
    ratio: npt.NDArray[np.complex64],
    spacing: Sequence[float],
    *,
    power: int = 4,
    filter_width: float = 4.0,
) -> npt.NDArray[np.float32]:
    """Factor by which the phase darkens the magnitude: (1 - phase / pi) ^ power where the phase is positive, else 1.

    Haacke et al., MRM 2004, 52:612 (whose scanner counts phase with the opposite sign). Phase is positive where a
    source strengthens the field: in veins along it, and above and below a microbleed. The slow part of the phase is
    removed as there, by the phase of the complex image seen through a low-pass filter in plane.

    Parameters
    ----------
    ratio
        Shape (I, J, K): complex signal with the sources / without, axis 2 across slices, 1 + 0i beyond its edges.
    spacing
        mm.
    power
        How often the mask is multiplied.
    filter_width
        Standard deviation of the filter, mm.
    """
    sigma = (filter_width / spacing[0], filter_width / spacing[1], 0)
    real = ndimage.gaussian_filter(ratio.real, sigma, mode="constant", cval=1.0, truncate=3.0)
    imaginary = ndimage.gaussian_filter(ratio.imag, sigma, mode="constant", cval=0.0, truncate=3.0)
    phase = np.angle(ratio * (real - 1j * imaginary))
    return ((1 - np.maximum(phase, 0) / np.pi) ** power).astype(np.float32)
