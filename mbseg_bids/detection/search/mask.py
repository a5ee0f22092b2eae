"""Which voxels are worth a patch: dark enough on T2* that they could belong to a microbleed.

Classifying every brain voxel takes an order of magnitude longer and finds the same lesions, because the intensity
ratio rule (:mod:`mbseg_bids.detection.rules.intensity_ratio`) throws away what is not dark against its surroundings.
Dadar et al. 2022 (Discussion) propose the same: leave out CSF and what is hyperintense on T2*.
"""

import numpy as np
import numpy.typing as npt

from mbseg_bids.detection.search.region_growing import local_minima
from mbseg_bids.imaging.labels import CSF
from mbseg_bids.settings import DetectionSettings

NEAR_MM = 9.0
"""Side of the in-plane square whose median stands for the tissue around a voxel."""
WIDE_MM = 21.0
"""The same for wide lesions: one of 10 mm fills the near square, so that its middle looks like its surroundings; of
this square it fills less than a fifth."""
CAP_PERCENTILE = 60.0
"""Percentile of T2* in the brain at which these medians are capped: bright CSF makes any tissue beside it look dark."""


def search_region(
    t2star: npt.NDArray[np.floating],
    brain: npt.NDArray[np.bool_],
    tissue: npt.NDArray[np.integer],
    spacing: tuple[float, float, float],
    settings: DetectionSettings,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return where a run may search, and the seeds it starts from (:mod:`mbseg_bids.detection.search.region_growing`).

    With ``settings.exhaustive`` both are the whole brain; else the search mask, and those local minima in it that are
    darker by ``settings.seed_quotient``. Neither asks for more contrast than the intensity ratio rule will: a user who
    lowers a ratio threshold also widens the search.

    Parameters
    ----------
    t2star, brain, tissue
        Shape (I, J, K), detection grid; tissue by the numbers of :data:`mbseg_bids.imaging.labels.TISSUES`.
    spacing
        Voxel size in mm along the three axes.
    settings
        Quotients, ratio thresholds, whether to search exhaustively.

    Examples
    --------
    >>> import numpy as np
    >>> from mbseg_bids.settings import DetectionSettings
    >>> from mbseg_bids.steps import search_region
    >>> t2star = np.full((31, 31, 1), 60.0)
    >>> t2star[15, 14:17], t2star[15, 15] = 45.0, 30.0
    >>> brain, tissue = np.ones(t2star.shape, bool), np.full(t2star.shape, 3)
    >>> mask, seeds = search_region(t2star, brain, tissue, (1.0, 1.0, 3.0), DetectionSettings())
    >>> int(mask.sum()), np.argwhere(seeds).tolist()
    (3, [[15, 15, 0]])
    """
    if settings.exhaustive:
        return brain, brain
    smallest_ratio = min(settings.ratio_threshold, settings.ratio_threshold_deep_gm)
    mask, dark = (
        search_mask(
            t2star,
            brain,
            tissue == CSF,
            spacing=spacing,
            quotient=min(quotient, smallest_ratio),
            ratio_threshold=smallest_ratio,
        )
        for quotient in (settings.search_quotient, settings.seed_quotient)
    )
    return mask, mask & dark & local_minima(t2star, brain)


def voxels_to_classify(
    t2star: npt.NDArray[np.floating],
    brain: npt.NDArray[np.bool_],
    tissue: npt.NDArray[np.integer],
    spacing: tuple[float, float, float],
    settings: DetectionSettings,
) -> npt.NDArray[np.int64]:
    """Return the indices of all voxels that a run may ask about, shape (N, 3), in array order.

    Arguments as in :func:`search_region`; a run asks about part of them only, see
    :mod:`mbseg_bids.detection.search.region_growing`.
    """
    return np.argwhere(search_region(t2star, brain, tissue, spacing, settings)[0])


def search_mask(
    t2star: npt.NDArray[np.floating],
    brain: npt.NDArray[np.bool_],
    csf: npt.NDArray[np.bool_] | None,
    *,
    spacing: tuple[float, float, float],
    quotient: float = 1.1,
    ratio_threshold: float = 1.2,
) -> npt.NDArray[np.bool_]:
    """Return the voxels that the network is asked about.

    A brain voxel is searched where ``min(near median, cap) / voxel >= quotient``, or where
    ``min(wide median, cap) / voxel >= ratio_threshold``. The medians are those of the brain voxels (background never
    counts) in the in-plane squares of 9 and 21 mm about the voxel; the cap is the 60th percentile of the brain. Both
    conditions exclude what is hyperintense.

    CSF labels come from T1w, where a microbleed may be as dark as CSF. A voxel labelled CSF is therefore excluded only
    if T2* agrees: it is searched where it reaches ``ratio_threshold``, against either median and also against the
    median of all voxels labelled CSF, which on susceptibility-weighted scans are darker than tissue.

    Parameters
    ----------
    t2star
        Shape (I, J, K), detection grid (axis 2 across slices), non-negative. Any linear scale through the origin.
    brain, csf
        Shape (I, J, K). ``csf`` may be None: then no voxel is treated as CSF.
    spacing
        Voxel size in mm along the three axes.
    quotient
        Smallest quotient against the near median. 1.1 leaves a margin below the smallest ratio threshold (1.2), since
        the mean of a two-voxel ring may lie above the 9 mm median.
    ratio_threshold
        Smallest threshold of the intensity ratio rule in this run.

    Returns
    -------
    Boolean array of shape (I, J, K), inside ``brain``.

    Examples
    --------
    >>> import numpy as np
    >>> from mbseg_bids.steps import search_mask
    >>> t2star = np.full((31, 31, 1), 60.0)
    >>> t2star[15, 15], t2star[5, 5] = 50.0, 58.0  # 60 / 58 is too little
    >>> brain = np.ones(t2star.shape, bool)
    >>> np.argwhere(search_mask(t2star, brain, None, spacing=(1.0, 1.0, 3.0))).tolist()
    [[15, 15, 0]]
    """
    brain = brain & np.isfinite(t2star)
    if not brain.any():
        return np.zeros(brain.shape, dtype=bool)
    intensity = np.where(brain, t2star, np.nan).astype(np.float32)
    cap = np.float32(np.percentile(intensity[brain], CAP_PERCENTILE))
    needed = np.full(brain.shape, quotient, dtype=np.float32)
    ceiling = np.full(brain.shape, cap, dtype=np.float32)
    if csf is not None and (csf & brain).any():
        needed[csf] = max(quotient, ratio_threshold)
        ceiling[csf] = min(cap, np.median(intensity[csf & brain]))
    dark = _darker(intensity, needed, ceiling, spacing, NEAR_MM, among=brain)
    needed[:] = ratio_threshold
    return dark | _darker(intensity, needed, ceiling, spacing, WIDE_MM, among=brain & ~dark)


def _darker(
    intensity: npt.NDArray[np.float32],
    quotient: npt.NDArray[np.float32],
    ceiling: npt.NDArray[np.float32],
    spacing: tuple[float, float, float],
    side_mm: float,
    among: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    # A product instead of a quotient: a voxel without any signal is as dark as can be, not a division by zero.
    with np.errstate(invalid="ignore"):
        possible = among & (intensity * quotient <= ceiling)
        median = local_median(intensity, spacing, side_mm=side_mm, where=possible)
        return possible & (intensity * quotient <= median) & (np.minimum(median, ceiling) > 0)


def local_median(
    intensity: npt.NDArray[np.float32],
    spacing: tuple[float, float, float],
    *,
    side_mm: float,
    where: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float32]:
    """Return the median of the finite voxels in the in-plane square about a voxel.

    Parameters
    ----------
    intensity
        Shape (I, J, K), axis 2 across slices; NaN outside the region of interest.
    spacing
        Voxel size in mm along the three axes.
    side_mm
        Side of the square; in voxels, the nearest odd number.
    where
        Shape (I, J, K): the voxels it is wanted for, all of them finite.

    Returns
    -------
    float32 of shape (I, J, K), NaN elsewhere.
    """
    half = [max(1, round((side_mm / spacing[axis] - 1) / 2)) for axis in (0, 1)]
    window = (2 * half[0] + 1, 2 * half[1] + 1)
    median = np.full(intensity.shape, np.nan, dtype=np.float32)
    for k in range(intensity.shape[2]):
        inside = where[:, :, k]
        if not inside.any():
            continue
        padded = np.pad(intensity[:, :, k], [(half[0], half[0]), (half[1], half[1])], constant_values=np.nan)
        windows = np.lib.stride_tricks.sliding_window_view(padded, window)[inside].reshape(-1, window[0] * window[1])
        windows.sort(axis=1)  # NaN sorts last, so the first n are the voxels that count
        n = np.isfinite(windows).sum(axis=1)
        row = np.arange(len(n))
        median[:, :, k][inside] = (windows[row, (n - 1) // 2] + windows[row, n // 2]) / 2
    return median
