"""What a scanner does in k-space: it measures a part of it, with noise, late lines after more decay than early ones."""

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from mbseg_bids.imaging.phase import GYROMAGNETIC_RATIO
from mbseg_bids.simulation.protocol import EPI_LINE, Protocol

FARTHEST = 12.0
"""mm: no voxel of an echo-planar image is displaced farther."""


def window(n: int, kept: float, ringing: float) -> npt.NDArray[np.float32]:
    """Weights of the n frequencies of an axis: 0 beyond `kept` of the width, and falling towards there like a cosine.

    Parameters
    ----------
    ringing
        Share (0-1) of the kept width over which the weight stays 1: 1 is a sharp cut, 0 a Hann window.
    """
    frequency = np.abs(fft.fftfreq(n)) / (0.5 * min(kept, 1.0))
    slope = np.clip((frequency - ringing) / max(1 - ringing, 1e-6), 0, 1)
    return np.where(frequency <= 1, 0.5 + 0.5 * np.cos(np.pi * slope), 0).astype(np.float32)


def measure(
    image: npt.NDArray[np.float32],
    rng: np.random.Generator,
    *,
    sigma: float,
    kept: float,
    ringing: float,
    epi: int = 0,
    t2star: float = 50.0,
) -> npt.NDArray[np.float32]:
    """Magnitude of an image measured in a part of its in-plane k-space, the rest filled with zeros.

    Noise is that of k-space, seen through the same window: neighbours share it where the image is interpolated.

    Parameters
    ----------
    image
        Shape (I, J, K); axes 0 and 1 in plane, axis 1 that of phase.
    sigma
        Standard deviation of the noise in each part, real and imaginary, of the result; 0: none, and no random draw.
    kept
        Width of what is measured, relative to that of the grid, 0-1.
    ringing
        See `window`.
    epi
        Lines read one after the other, `EPI_LINE` ms apart, along axis 1, over which the signal decays; 0: none.
    t2star
        ms, of that decay.
    """
    weights = [window(n, kept, ringing) for n in image.shape[:2]]
    plane = np.outer(*weights)
    signal = plane
    if epi:
        time = fft.fftfreq(image.shape[1]) / min(kept, 1.0) * epi * EPI_LINE  # ms after the middle of k-space
        signal = plane * np.exp(-np.clip(time, -epi * EPI_LINE / 2, epi * EPI_LINE / 2) / t2star)
    spectrum = fft.fft2(image, axes=(0, 1)) * signal[..., None].astype(np.float32)
    if sigma > 0:
        # Unitary scaling: white noise of the grid, then windowed, has this times sigma left.
        left = float(np.sqrt((plane**2).mean()))
        scale = np.float32(sigma / left * np.sqrt(image.shape[0] * image.shape[1]))
        noise = rng.standard_normal((*image.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
        noise *= (scale * plane)[..., None]
        spectrum += noise
    return np.abs(fft.ifft2(spectrum, axes=(0, 1), overwrite_x=True)).astype(np.float32)


def low_pass(image: npt.NDArray[np.float32], kept: float, ringing: float) -> npt.NDArray[np.float32]:
    """The image as `measure` shows it without noise, its sign kept."""
    plane = np.outer(*[window(n, kept, ringing) for n in image.shape[:2]])[..., None]
    return fft.ifft2(fft.fft2(image, axes=(0, 1)) * plane, axes=(0, 1)).real.astype(np.float32)


def epi_shift(
    field: npt.NDArray[np.float32], affine: npt.NDArray[np.float64], protocol: Protocol
) -> npt.NDArray[np.float32]:
    """Displacement (voxels along axis 1) of echo-planar signal where the field is off.

    An offset of f Hz turns the phase from line to line by 2 pi f times `EPI_LINE`, as a shift by that part of the
    field of view does (Jezzard & Balaban, MRM 1995, 34:65).

    Parameters
    ----------
    field
        Shape (I, J, K), T, on the grid.
    affine
        Of the grid.
    """
    hertz = field * GYROMAGNETIC_RATIO / (2 * np.pi)
    view = field.shape[1]
    spacing = float(np.linalg.norm(affine[:3, 1]))
    return np.clip(hertz * EPI_LINE * 1e-3 * view, -FARTHEST / spacing, FARTHEST / spacing).astype(np.float32)


def displace(image: npt.NDArray, shift: npt.NDArray[np.float32], *, order: int = 1) -> npt.NDArray:
    """The image with what lay at index j - shift along axis 1 at j; order 0 for labels."""
    i, j, k = np.indices(image.shape, dtype=np.float32)
    return ndimage.map_coordinates(image, [i, j - shift, k], order=order, mode="nearest").astype(image.dtype)


def width_kept(protocol: Protocol, affine: npt.NDArray[np.float64]) -> float:
    """Share of the in-plane k-space of a grid that the T2*-weighted scan measures: coarser voxels fill less of it."""
    spacing = float(np.linalg.norm(affine[:3, 0]))
    return protocol.kept * min(1.0, spacing / protocol.spacing[0])
