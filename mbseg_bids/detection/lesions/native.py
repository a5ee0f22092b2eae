"""Lesions found on the detection grid, brought to the native one and tabulated there: the last step of a run."""

import numpy as np
import numpy.typing as npt

from mbseg_bids.detection.lesions.segment import DetectionResult
from mbseg_bids.detection.lesions.tables import Tabulated, tabulate
from mbseg_bids.imaging.grids import labels_to_native, slice_axis
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.settings import DetectionSettings


def tabulate_on_native_grid(
    found: DetectionResult,
    detection_affine: npt.NDArray[np.float64],
    shape: tuple[int, int, int],
    affine: npt.NDArray[np.float64],
    settings: DetectionSettings,
) -> Tabulated:
    """Return lesions and tables on the native grid, as a run writes them.

    Parameters
    ----------
    found
        On the detection grid, whose affine is ``detection_affine``.
    shape, affine
        Native T2* grid.
    settings
        For the limits of size.
    """
    candidates, survivors = (
        labels_to_native(Volume(labels, detection_affine), shape, affine).data
        for labels in (found.candidates, found.survivors)
    )
    evidence = found.evidence_of_candidates, found.evidence_of_survivors
    return tabulate(candidates, survivors, *evidence, affine, slice_axis(affine), settings)
