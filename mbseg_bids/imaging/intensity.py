"""Bias correction and intensity standardisation."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.errors import UnreadableDataError

N4_VOXEL_SIZE = 4.0
"""The bias field is fitted on voxels of about this size, mm; it varies far more slowly than that."""
N4_LEVELS = 4
N4_CONVERGENCE = 1e-4
N4_MASK_DILATION = 2.0
"""The bias field is fitted this far, mm, beyond the brain mask."""
STANDARD_MAXIMUM = 100.0
STANDARD_PERCENTILE = 99.5


def standardise(image: npt.NDArray, brain: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Scale intensities linearly, through the origin, to 0-100.

    The 99.5th percentile inside the brain becomes 100; what lies outside 0-100 is clipped. Zero signal stays zero, so
    that quotients of intensities, which decide about lesions, are unchanged.

    Parameters
    ----------
    image, brain
        Shape (i, j, k), any unit; mask of the same shape.

    Raises
    ------
    UnreadableDataError
        If the brain mask is empty or the image has no positive signal in it.

    Examples
    --------
    >>> import numpy as np
    >>> from mbseg_bids.steps import standardise
    >>> image = np.full((4, 4, 4), 350.0)
    >>> image[0] = 0  # stays zero: quotients of intensities do not change
    >>> scaled = standardise(image, image > 0)
    >>> float(scaled.min()), float(scaled.max())
    (0.0, 100.0)
    """
    values = np.nan_to_num(np.asarray(image, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    inside = values[np.asarray(brain, bool)]
    if inside.size == 0:
        raise UnreadableDataError("the brain mask is empty", "look at the brain mask and the registration")
    top = float(np.percentile(inside, STANDARD_PERCENTILE))
    if top <= 0:
        raise UnreadableDataError("the image has no signal inside the brain", "look at the image and the registration")
    return np.clip(values * np.float32(STANDARD_MAXIMUM / top), 0, STANDARD_MAXIMUM)


def n4_bias_field(
    image: npt.NDArray,
    brain: npt.NDArray[np.bool_],
    spacing: tuple[float, float, float],
    *,
    iterations: int = 50,
) -> npt.NDArray[np.float32]:
    """Estimate the multiplicative bias field by N4 (Tustison et al. 2010) inside the dilated brain mask.

    Parameters
    ----------
    image
        Shape (i, j, k), signal magnitude.
    brain
        Mask of the same shape; a rough one will do.
    spacing
        Voxel size in mm along (i, j, k).
    iterations
        Largest number of iterations at each of four levels.

    Returns
    -------
    Positive float32 array of the shape of ``image``; its geometric mean inside the brain is 1. Dividing by it corrects.
    """
    import SimpleITK as sitk  # noqa: N813

    values = np.nan_to_num(np.asarray(image, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    brain = np.asarray(brain, bool)
    region = dilate_mm(brain, spacing, N4_MASK_DILATION) & (values > 0)
    if not region.any():
        raise UnreadableDataError("the image has no signal inside the brain", "look at the image and the brain mask")
    full = _to_itk(values, spacing)
    mask = _to_itk(region.astype(np.uint8), spacing)
    shrink = [
        int(np.clip(round(N4_VOXEL_SIZE / s), 1, max(1, n // 8))) for s, n in zip(spacing, image.shape, strict=True)
    ]
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations([iterations] * N4_LEVELS)
    corrector.SetConvergenceThreshold(N4_CONVERGENCE)
    with single_itk_thread():
        corrector.Execute(sitk.Shrink(full, shrink), sitk.Shrink(mask, shrink))
        log_field = sitk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(full)).T.astype(np.float32)
    reference = brain & region
    log_field -= log_field[reference if reference.any() else region].mean(dtype=np.float64).astype(np.float32)
    return np.exp(log_field)


def correct_bias(
    image: npt.NDArray,
    brain: npt.NDArray[np.bool_],
    spacing: tuple[float, float, float],
    *,
    iterations: int = 50,
) -> npt.NDArray[np.float32]:
    """Return ``image`` divided by its bias field; see :func:`n4_bias_field`. Zero signal stays zero."""
    field = n4_bias_field(image, brain, spacing, iterations=iterations)
    return np.nan_to_num(np.asarray(image, np.float32), nan=0.0, posinf=0.0, neginf=0.0) / field


@contextmanager
def single_itk_thread() -> Iterator[None]:
    """Run SimpleITK on one thread.

    N4 and the registration metrics sum over threads, inside filters whose work units cannot be set: another number of
    threads gives other last digits, and so other files.
    """
    import SimpleITK as sitk  # noqa: N813

    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def dilate_mm(mask: npt.NDArray[np.bool_], spacing: tuple[float, float, float], reach: float) -> npt.NDArray[np.bool_]:
    """Return the voxels whose centre lies within ``reach`` mm of a voxel centre of the mask."""
    grown = np.zeros(mask.shape, bool)
    if mask.any():
        window, distance = distances_about(mask, spacing, reach)
        grown[window] = distance <= reach
    return grown


def distances_about(
    mask: npt.NDArray[np.bool_], spacing: tuple[float, float, float], reach: float
) -> tuple[tuple[slice, ...], npt.NDArray[np.float64]]:
    """Return a window that holds all within ``reach`` mm of a mask that is not empty, and its voxels' distances to it.

    Distances are in mm, from voxel centre to voxel centre, 0 in the mask.
    """
    margin = [int(np.ceil(reach / s)) for s in spacing]
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    window = tuple(slice(max(0, b.start - m), b.stop + m) for b, m in zip(box, margin, strict=True))
    return window, ndimage.distance_transform_edt(~mask[window], sampling=spacing)


def _to_itk(array: npt.NDArray, spacing: tuple[float, float, float]):
    import SimpleITK as sitk  # noqa: N813

    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing([float(s) for s in spacing])
    return image
