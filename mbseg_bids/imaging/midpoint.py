"""Two scans of one head brought together halfway, so that neither visit is favoured.

A registration to one of the two scans interpolates and smooths the other alone, and depends on which comes first
(Reuter and Fischl 2011, doi:10.1016/j.neuroimage.2011.02.076). Here both directions are registered, averaged, halved.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from mbseg_bids.imaging.registration_check import RegistrationCheck, check_rigid, register_pair
from mbseg_bids.imaging.volume import Volume

LARGEST_DISAGREEMENT = 2.0
"""mm, anywhere in the brain: two directions that differ by more are not both right."""


@dataclass(frozen=True, eq=False)
class Midpoint:
    """How two scans come to the space halfway between them.

    Attributes
    ----------
    first, second
        Shape (4, 4): take points (RAS+ mm) of a scan to points of the midpoint.
    disagreement
        Largest distance (mm), over the brain, between what the two directions of the registration say.
    check
        Of the mean transform.
    """

    first: npt.NDArray[np.float64]
    second: npt.NDArray[np.float64]
    disagreement: float
    check: RegistrationCheck

    @property
    def passed(self) -> bool:
        """Whether the check passed and the two directions agree."""
        return self.check.passed and self.disagreement <= LARGEST_DISAGREEMENT


def register_midpoint(
    first: Volume, second: Volume, first_brain: npt.NDArray[np.bool_], second_brain: npt.NDArray[np.bool_]
) -> Midpoint:
    """Register the T2* scans of two visits; the same, with the roles changed, whichever comes first.

    Parameters
    ----------
    first, second
        Bias corrected.
    first_brain, second_brain
        Masks outlined on each.
    """
    forward = register_pair(second, first, fixed_brain=second_brain, moving_brain=first_brain).transform
    backward = register_pair(first, second, fixed_brain=first_brain, moving_brain=second_brain).transform
    mean = rigid_mean(forward, np.linalg.inv(backward))
    corners = _corners(first, first_brain)
    apart = np.linalg.norm(_move(corners, forward) - _move(corners, np.linalg.inv(backward)), axis=0).max()
    check = check_rigid(second, first, mean, fixed_brain=second_brain, moving_brain=first_brain)
    half = halfway(mean)
    return Midpoint(half, half @ np.linalg.inv(mean), float(apart), check)


def halfway(transform: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return the rigid transform of half the turn that, done twice, is the given one.

    Half of the rotation vector; the shift t solves (R + 1) t = the whole shift, R being half of the rotation.

    Raises
    ------
    ValueError
        If the turn is 180 degrees, which has no single half.
    """
    vector = Rotation.from_matrix(transform[:3, :3]).as_rotvec()
    if np.linalg.norm(vector) > np.pi - 1e-6:
        raise ValueError("a half turn cannot be halved")
    half = np.eye(4)
    half[:3, :3] = Rotation.from_rotvec(vector / 2).as_matrix()
    half[:3, 3] = np.linalg.solve(half[:3, :3] + np.eye(3), transform[:3, 3])
    return half


def rigid_mean(one: npt.NDArray[np.floating], other: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return the rigid transform in the middle of two that lie close together."""
    return one @ halfway(np.linalg.inv(one) @ other)


def _corners(volume: Volume, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return the corners of the box around a mask, shape (3, 8), RAS+ mm."""
    index = np.argwhere(mask)
    low, high = index.min(axis=0), index.max(axis=0)
    box = np.array(np.meshgrid(*zip(low, high, strict=True), indexing="ij")).reshape(3, -1)
    return _move(box, volume.affine)


def _move(points: npt.NDArray, matrix: npt.NDArray) -> npt.NDArray[np.float64]:
    return matrix[:3, :3] @ points + matrix[:3, 3:]
