"""How good a T2*-weighted scan is: noise, ghosts, contrast, from its voxels in the brain alone.

Measures of image quality usually rest on the air about the head: Dietrich's SNR (2007, doi:10.1002/jmri.20969), the
entropy focus criterion and the ghost-to-signal ratio of MRIQC (Esteban et al. 2017, doi:10.1371/journal.pone.0184661).
Scanners mask that air and combine coils in ways that change its noise. So nothing outside the brain is taken for noise.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from mbseg_bids.imaging.labels import CEREBRAL_WM, CORTICAL_GM

TO_STANDARD_DEVIATION = 1.4826
"""Of a normal distribution, standard deviation over median absolute deviation."""
SMOOTH_MM = 8.0
"""Full width at half maximum of the local mean that noise is measured against: wider than a microbleed, narrower than
what bias correction leaves."""
CLIPPED_AT = 3.0
"""Standard deviations at which the noise is clipped before ghosts are looked for in it: veins lie beyond."""
NEAREST_GHOST_MM, LEAST_OVERLAP, MOST_SLICES = 10.0, 0.3, 24
"""Displacement from which a copy of the head is a ghost and no blur; part of the white matter that the displaced image
must still cover; slices looked at."""
FEWEST_VOXELS = 500
"""Of a tissue, below which nothing is said about it."""


def measure_t2star(
    image: npt.NDArray[np.floating],
    brain: npt.NDArray[np.bool_],
    regions: npt.NDArray[np.integer],
    spacing: Sequence[float],
) -> dict[str, float | None]:
    """Return ``t2star_snr``, ``t2star_cnr`` and ``t2star_ghosting``; None where there is too little tissue.

    Parameters
    ----------
    image
        T2*, bias corrected, shape (I, J, K), detection grid: axes 0 and 1 in plane, axis 2 across slices. Any scale.
    brain, regions
        Mask and labels (:data:`mbseg_bids.imaging.labels.REGIONS`) of that shape.
    spacing
        mm along the axes.
    """
    values = np.nan_to_num(np.asarray(image, np.float32))
    inside = np.asarray(brain, bool)
    whole = inside & (regions == CEREBRAL_WM)
    white = ndimage.binary_erosion(whole, np.ones((3, 3, 1)))
    white = white if np.count_nonzero(white) >= FEWEST_VOXELS else whole
    grey = inside & (regions == CORTICAL_GM)
    if np.count_nonzero(white) < FEWEST_VOXELS:
        return {"t2star_snr": None, "t2star_cnr": None, "t2star_ghosting": None}
    return {
        "t2star_snr": signal_to_noise(values, white, spacing),
        "t2star_cnr": contrast_to_noise(values, grey, white) if np.count_nonzero(grey) >= FEWEST_VOXELS else None,
        "t2star_ghosting": ghosting(values, white, spacing),
    }


def signal_to_noise(
    image: npt.NDArray[np.float32], tissue: npt.NDArray[np.bool_], spacing: Sequence[float]
) -> float | None:
    """Return the median of a tissue over the standard deviation about its local mean.

    As the SNR of MRIQC (mean over standard deviation within a tissue), but robust, and what varies slowly, such as a
    bias that is left, is no noise.

    Parameters
    ----------
    image
        Shape (I, J, K).
    tissue
        Its voxels.
    spacing
        mm along the axes; the local mean is taken in plane.

    Returns
    -------
    None for an image without any variation.
    """
    noise = robust_deviation(local_difference(image, tissue, spacing)[tissue])
    return float(np.median(image[tissue])) / noise if noise > 0 else None


def contrast_to_noise(
    image: npt.NDArray[np.float32], grey: npt.NDArray[np.bool_], white: npt.NDArray[np.bool_]
) -> float | None:
    """Return (grey - white) / sqrt(deviation of grey ** 2 + deviation of white ** 2): medians, robust deviations.

    The CNR of Magnotta and Friedman 2006 (doi:10.1007/s10278-006-0264-x), which MRIQC has too, with the deviations of
    the tissues instead of that of the air. Positive where grey matter is brighter, as on most T2*. None for an image
    without any variation.
    """
    spread = np.hypot(robust_deviation(image[grey]), robust_deviation(image[white]))
    return float((np.median(image[grey]) - np.median(image[white])) / spread) if spread > 0 else None


def ghosting(image: npt.NDArray[np.float32], tissue: npt.NDArray[np.bool_], spacing: Sequence[float]) -> float | None:
    """Return how much of the noise of a tissue is a displaced copy of the image, 0 to 1.

    A head that moves while its k-space is filled is seen again, fainter, displaced along the phase axis (Wood and
    Henkelman, Med Phys 1985, 12:143): as edges where it moved to and fro, as itself where its signal pulsates. So the
    noise of the tissue is correlated with the image, and with its slope, displaced by every distance along each
    in-plane axis from 10 mm to half of the field. The largest correlation counts. Motion from one slice to the next
    leaves none.

    Parameters
    ----------
    image
        Shape (I, J, K), with what lies about the brain.
    tissue
        Its voxels.
    spacing
        mm along the axes.

    Returns
    -------
    None for an image without any variation.
    """
    chosen = _slices(tissue)
    image, tissue = image[..., chosen], tissue[..., chosen]
    noise = local_difference(image, tissue, spacing)
    limit = CLIPPED_AT * robust_deviation(noise[tissue])
    if limit <= 0:
        return None
    noise = np.where(tissue, np.clip(noise, -limit, limit), 0).astype(np.float32)
    everywhere = np.ones(image.shape, bool)
    detail = image - _local_mean(image, everywhere, spacing)
    return max(
        _largest_correlation(noise, copy, tissue, axis, spacing[axis])
        for axis in (0, 1)
        for copy in (np.gradient(image, axis=axis), detail)
    )


def local_difference(
    image: npt.NDArray[np.float32], tissue: npt.NDArray[np.bool_], spacing: Sequence[float]
) -> npt.NDArray[np.float32]:
    """Return a tissue less its local mean in plane; zero elsewhere."""
    return np.where(tissue, image - _local_mean(image, tissue, spacing), np.float32(0))


def robust_deviation(values: npt.NDArray[np.floating]) -> float:
    """Return 1.4826 times the median absolute deviation."""
    return TO_STANDARD_DEVIATION * float(np.median(np.abs(values - np.median(values))))


def shares(values: npt.NDArray[np.floating], edges: Sequence[float]) -> list[int]:
    """Return how many values lie from each edge up to the next, the last edge included."""
    return [int(n) for n in np.histogram(values, np.asarray(edges, np.float64))[0]]


def round_measures(measures: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return the measures to four significant digits, so that they are written the same wherever they were computed."""
    return {name: None if value is None else float(f"{value:.4g}") for name, value in measures.items()}


def _local_mean(
    image: npt.NDArray[np.float32], tissue: npt.NDArray[np.bool_], spacing: Sequence[float]
) -> npt.NDArray[np.float32]:
    """Mean of the tissue's voxels about each voxel, in plane, with the weights of a Gaussian."""
    width = (*(SMOOTH_MM / 2.355 / spacing[axis] for axis in (0, 1)), 0)
    weight = ndimage.gaussian_filter(tissue.astype(np.float32), width, truncate=3)
    total = ndimage.gaussian_filter(np.where(tissue, image, np.float32(0)), width, truncate=3)
    return total / np.maximum(weight, np.float32(1e-3))


def _slices(tissue: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Up to `MOST_SLICES` slices with the tissue, evenly spaced."""
    present = np.flatnonzero(tissue.any(axis=(0, 1)))
    return present[np.linspace(0, len(present) - 1, min(len(present), MOST_SLICES)).round().astype(int)]


def _largest_correlation(
    noise: npt.NDArray[np.float32],
    copy: npt.NDArray[np.float32],
    tissue: npt.NDArray[np.bool_],
    axis: int,
    step: float,
) -> float:
    """Largest absolute correlation of the noise with the copy displaced along an axis, over the displacements."""
    n = noise.shape[axis]
    length = fft.next_fast_len(n + n // 2 + 1, real=True)

    def correlate(first: npt.NDArray, second: npt.NDArray) -> npt.NDArray:
        """Sum over voxels of first(y) second(y - d), by displacement d; negative ones from the end."""
        lines = fft.rfft(first, length, axis=axis) * np.conj(fft.rfft(second, length, axis=axis))
        return fft.irfft(lines.sum(axis=tuple(a for a in range(3) if a != axis)), length)

    field = np.ones((n if axis == 0 else 1, n if axis == 1 else 1, 1), np.float32)
    mask = tissue.astype(np.float32)
    overlap = correlate(mask, field)
    energy = np.maximum(correlate(noise**2, field), 0) * np.maximum(correlate(mask, copy**2), 0)
    found = np.abs(correlate(noise, copy)) / np.sqrt(np.maximum(energy, 1e-12 * max(float(energy.max()), 1e-30)))
    displacement = np.arange(length)
    displacement = np.minimum(displacement, length - displacement)
    judged = (displacement * step >= NEAREST_GHOST_MM) & (displacement <= n // 2)
    judged &= overlap >= LEAST_OVERLAP * overlap[0]
    return float(np.minimum(found[judged], 1).max(initial=0))
