"""Whether the head lies as its header says: upright, and not upside down, back to front or on its side.

A header that tells a wrong orientation harms no registration within a session, for all scans may share it; but the
template is upright, and a deformation from a wrong pose ends in a wrong minimum that its own check may let pass. So the
brain is put upon the template in each of the 24 poses that quarter turns can give, and must fit best as it is.
"""

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.imaging.grids import Grid
from mbseg_bids.imaging.transforms import bounding_grid, grid_points, resample
from mbseg_bids.imaging.volume import Volume

SPACING = 5.0
"""Voxel size at which brains are compared, mm: shape and rough contrast count, not sulci."""
SMOOTHING = 1.0
"""Standard deviation of the smoothing, voxels of that size: heads differ, and are tilted by some degrees."""
MINIMUM_GAIN = 0.05
"""How much better, in correlation, another pose must fit than the header's for the header to be doubted: turned by half
a turn, the head least like the template (aged 87, simulated) loses 0.11 to 0.16."""
SMALLEST_BEST = 0.65
"""Correlation that the best pose must reach to be believed. Whole heads as they should lie reach 0.78 to 0.96
(simulated, and real T1w of three people); halves of a head 0.36 to 0.59, and their best pose is chance."""
_NAMES = ("right to left", "back to front", "upside down")


@dataclass(frozen=True)
class Pose:
    """How a brain fits the template in the best of 24 poses.

    Attributes
    ----------
    correlation
        With the template, as the header has it.
    best
        With the template, in the pose that fits best.
    turn
        Shape (3, 3): the rotation from the header's pose to the best one, RAS+ axes.
    """

    correlation: float
    best: float
    turn: npt.NDArray[np.float64]

    @property
    def doubtful(self) -> bool:
        """Whether another pose than the header's fits clearly better."""
        return self.best >= SMALLEST_BEST and self.best - self.correlation > MINIMUM_GAIN

    @property
    def sentence(self) -> str:
        """What is wrong, in words and figures."""
        flipped = [name for name, sign in zip(_NAMES, np.diag(self.turn), strict=True) if sign < 0]
        how = " and ".join(flipped) if len(flipped) == 2 else "on its side"
        return (
            f"the head lies {how} by its header: turned, it fits the template with a correlation of {self.best:.2f} "
            f"instead of {self.correlation:.2f}; left and right cannot be trusted either"
        )


def find_pose(brain_image: Volume, template: Volume) -> Pose:
    """Return how well a brain fits the template as it lies, and in the best of the 24 poses of quarter turns.

    Brains are matched by the centres of their masks and by volume; no registration is needed.

    Parameters
    ----------
    brain_image
        T1w, or an image with the order of tissues of one; zero outside the brain.
    template
        T1w template, zero outside the brain.
    """
    fixed, moving = _reduced(template), _reduced(brain_image)
    points = grid_points(fixed.shape, fixed.affine).reshape(3, -1)
    target = fixed.data.ravel()
    centre, size = _centre_and_size(template)
    own_centre, own_size = _centre_and_size(brain_image)
    scale = np.cbrt(own_size / size)
    to_index = np.linalg.inv(moving.affine)
    turns, found = _quarter_turns(), []
    for turn in turns:
        # The header's pose turned by ``turn`` lies upon the template; so points go back by its transpose.
        there = own_centre[:, None] + scale * (turn.T @ (points - centre[:, None]))
        index = to_index[:3, :3] @ there + to_index[:3, 3:]
        moved = ndimage.map_coordinates(moving.data, index, order=1, mode="constant")
        either = (target > 0.05 * target.max()) | (moved > 0.05 * moving.data.max())
        found.append(float(np.corrcoef(target[either], moved[either])[0, 1]))
    number = int(np.argmax(found))
    return Pose(found[0], found[number], turns[number])


def _quarter_turns() -> list[npt.NDArray[np.float64]]:
    """Return the 24 rotations that bring the axes onto the axes, that by no angle first."""
    turns = []
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            turn = np.zeros((3, 3))
            turn[range(3), order] = signs
            if np.linalg.det(turn) > 0:
                turns.append(turn)
    return turns


def _reduced(image: Volume) -> Volume:
    """Return the image on upright voxels of :data:`SPACING`, smoothed."""
    grid: Grid = bounding_grid(image, SPACING)
    coarse = resample(image, grid)
    return coarse.with_data(ndimage.gaussian_filter(coarse.data, SMOOTHING, mode="constant"))


def _centre_and_size(image: Volume) -> tuple[npt.NDArray[np.float64], float]:
    """Return the centre of the non-zero voxels, RAS+ mm, and their volume, mm3."""
    inside = image.data > 0
    return image.centre_of(inside), np.count_nonzero(inside) * image.voxel_volume
