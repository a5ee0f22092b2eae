"""A candidate with its surroundings, cut out of the images of a session."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.detection.rules.intensity_ratio import RingGeometry
from mbseg_bids.imaging.labels import CSF

REACH_MM = 10.0
"""How far about a candidate its surroundings are looked at."""


@dataclass(frozen=True, eq=False)
class Scan:
    """Everything about a session that the features are taken from, on the detection grid.

    Attributes
    ----------
    stack
        Shape (3, I, J, K): T2*, T2w, T1w, 0-100; a contrast that is missing is all zero.
    probability
        Shape (I, J, K): of the network.
    brain, tissue
        Shape (I, J, K); tissue by the numbers of :data:`mbseg_bids.imaging.labels.TISSUES`.
    spacing
        Voxel size in mm along the three axes.
    """

    stack: npt.NDArray[np.floating]
    probability: npt.NDArray[np.floating]
    brain: npt.NDArray[np.bool_]
    tissue: npt.NDArray[np.integer]
    spacing: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class View:
    """One candidate and what is about it, up to 10 mm away: arrays of that window.

    Attributes
    ----------
    stack, probability, brain
        As in :class:`Scan`, float64.
    own, others
        Voxels of the candidate, and of other candidates.
    csf
        Voxels of the tissue CSF.
    ring
        Voxels about the candidate as the intensity ratio rule takes them.
    spacing
        mm.
    """

    stack: npt.NDArray[np.float64]
    probability: npt.NDArray[np.floating]
    own: npt.NDArray[np.bool_]
    others: npt.NDArray[np.bool_]
    brain: npt.NDArray[np.bool_]
    csf: npt.NDArray[np.bool_]
    ring: npt.NDArray[np.bool_]
    spacing: tuple[float, float, float]

    @classmethod
    def of(cls, scan: Scan, labels: npt.NDArray[np.integer], label: int, box: tuple[slice, ...]) -> "View":
        """Cut the window about a label whose bounding box is given."""
        reach = [math.ceil(REACH_MM / s) for s in scan.spacing]
        window = tuple(
            slice(max(0, b.start - r), min(n, b.stop + r)) for b, r, n in zip(box, reach, labels.shape, strict=True)
        )
        own, brain = labels[window] == label, scan.brain[window]
        others = (labels[window] > 0) & ~own
        ring = ndimage.binary_dilation(own, RingGeometry.of(scan.spacing).element) & ~own & ~others & brain
        return cls(
            scan.stack[(slice(None), *window)].astype(np.float64),
            scan.probability[window],
            own,
            others,
            brain,
            scan.tissue[window] == CSF,
            ring,
            scan.spacing,
        )

    @property
    def ring_level(self) -> float:
        """Mean T2* of the ring; NaN without one."""
        return float(self.stack[0][self.ring].mean()) if self.ring.any() else math.nan
