"""Where a microbleed may be planted: in tissue, off everything dark, apart from what was reported before.

A microbleed planted on a vein or on an old candidate would be credited for a darkness that it did not bring; one in CSF
or beyond the edge of the brain is none that a reader would count. All arrays are on the native grid of the
T2*-weighted scan, shape (i, j, k), any order of axes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.detection.geometry.components import TOUCHING
from mbseg_bids.detection.search.mask import search_mask
from mbseg_bids.imaging.labels import CSF

APART = 9.0
"""mm between the centres of planted lesions, and between a planted lesion and what was reported before."""
DARK_QUOTIENT = 1.2
"""Local median / voxel of a dark structure: as for the seeds of a search."""
SMALLEST_DARK = 4.2
"""mm3 of a dark structure (a sphere of 2 mm): below, it is noise."""
CLEARANCE = 1.0
"""mm between the outline of a planted lesion and a dark structure."""
VESSEL_LENGTH, VESSEL_THICKNESS = 8.0, 4.0
"""mm: a dark structure at least so long and at most so thick is called a vessel."""
NEAR_VESSEL = (3.0, 6.0)
"""mm from the centre of a lesion to a vessel that it is near to."""


@dataclass(frozen=True, eq=False)
class Ground:
    """What is known of the voxels of tissue, one entry each; shape (n,) but for ``voxels``.

    Attributes
    ----------
    voxels
        Shape (n, 3): indices on the native grid.
    regions
        By the numbers of :data:`mbseg_bids.imaging.labels.REGIONS`.
    from_edge, from_dark, from_reported, from_vessel
        mm to the nearest voxel outside the brain, dark structure or earlier candidate, lesion reported before, vessel;
        infinite without any.
    """

    voxels: npt.NDArray[np.int64]
    regions: npt.NDArray[np.int32]
    from_edge: npt.NDArray[np.float32]
    from_dark: npt.NDArray[np.float32]
    from_reported: npt.NDArray[np.float32]
    from_vessel: npt.NDArray[np.float32]

    def suits(self, diameter: float, *, near_vessel: bool) -> npt.NDArray[np.bool_]:
        """Return which voxels may be the centre of a lesion of this diameter (mm)."""
        suits = (self.from_dark >= diameter / 2 + CLEARANCE) & (self.from_reported >= max(APART, diameter / 2 + 4))
        suits &= self.from_edge >= 0.7 * diameter / 2  # saves tries: :func:`countable` decides
        if near_vessel:
            suits &= self.from_vessel <= max(NEAR_VESSEL[1], diameter / 2 + CLEARANCE + 2)
            suits &= self.from_vessel >= NEAR_VESSEL[0]
        return suits


def survey(
    regions: npt.NDArray[np.integer],
    brain: npt.NDArray[np.bool_],
    dark: npt.NDArray[np.bool_],
    candidates: npt.NDArray[np.integer],
    reported: npt.NDArray[np.integer],
    spacing: tuple[float, float, float],
) -> Ground:
    """Look over a scan.

    Parameters
    ----------
    regions, brain
        0 is CSF or outside.
    dark
        Of :func:`dark_structures`.
    candidates, reported
        Labels of an earlier run: everything that it looked at, and what it called a microbleed.
    spacing
        mm along the three axes.
    """
    tissue = (regions > 0) & brain
    maps = [
        _distance(where, spacing)[tissue]
        for where in (
            ~brain,
            dark | (candidates > 0) | (reported > 0),
            reported > 0,
            linear_structures(dark, spacing),
        )
    ]
    return Ground(np.argwhere(tissue), regions[tissue].astype(np.int32), *maps)


def dark_structures(
    t2star: npt.NDArray[np.floating],
    brain: npt.NDArray[np.bool_],
    tissue: npt.NDArray[np.integer],
    spacing: tuple[float, float, float],
) -> npt.NDArray[np.bool_]:
    """Return what is dark already: veins, calcifications, edges. On the detection grid (axis 2 across slices)."""
    dark = search_mask(
        t2star, brain, tissue == CSF, spacing=spacing, quotient=DARK_QUOTIENT, ratio_threshold=DARK_QUOTIENT
    )
    labels, n = ndimage.label(dark, structure=TOUCHING)
    volumes = np.bincount(labels.ravel(), minlength=n + 1) * float(np.prod(spacing))
    large = volumes >= SMALLEST_DARK
    large[0] = False
    return large[labels]


def linear_structures(dark: npt.NDArray[np.bool_], spacing: tuple[float, float, float]) -> npt.NDArray[np.bool_]:
    """Return the long and thin among dark structures: nearly all of them vessels."""
    labels, _ = ndimage.label(dark, structure=TOUCHING)
    linear = np.zeros(dark.shape, bool)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        own = np.pad(labels[box] == label, 1)
        length = np.linalg.norm((np.array(own.shape) - 2) * spacing)
        if length < VESSEL_LENGTH:
            continue
        thickness = 2 * ndimage.distance_transform_edt(own, spacing).max() - min(spacing)
        if thickness <= VESSEL_THICKNESS:
            linear[box] |= own[1:-1, 1:-1, 1:-1]
    return linear


def countable(
    visible: npt.NDArray[np.bool_],
    tissue: npt.NDArray[np.bool_],
    brain: npt.NDArray[np.bool_],
    dark: npt.NDArray[np.bool_],
) -> bool:
    """Return whether a reader would count a lesion that looks so in its surroundings.

    Inside the brain, mostly in tissue, at least half surrounded by tissue (Greenberg et al. 2009), touching nothing
    that is dark without it. All of one box around the lesion, shape (i, j, k), with at least a voxel of margin.
    """
    if not visible.any() or not brain[visible].all():
        return False
    shell = ndimage.binary_dilation(visible, TOUCHING) & ~visible
    around = ndimage.binary_dilation(visible, TOUCHING)
    mostly = tissue[visible].mean() >= 0.5 and shell.any() and tissue[shell].mean() >= 0.5
    return bool(mostly) and not (dark & around).any()


def _distance(where: npt.NDArray[np.bool_], spacing: tuple[float, float, float]) -> npt.NDArray[np.float32]:
    if not where.any():
        return np.full(where.shape, np.inf, np.float32)
    return ndimage.distance_transform_edt(~where, spacing).astype(np.float32)
