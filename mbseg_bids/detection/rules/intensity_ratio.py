"""The intensity ratio rule of Dadar et al. 2022 ("Post-processing"): a microbleed is darker than what surrounds it.

Definitions, for one component of a label map:

ring
    The component dilated by two voxels in plane (an ellipse of 2 mm, in whole voxels); across slices only where they
    are at most 2 mm apart, as far as 2 mm reach (an ellipsoid). Without the component, without every other component,
    inside the brain.
border voxel
    A voxel with a face neighbour that is not of the component, in those directions in which the ring extends.
    What lies beyond the array is not of the component.
ratio
    Mean T2* of the ring / T2* of the voxel. Below the component's threshold the voxel is removed.

The paper prints the inverse quotient; with its thresholds (1.2 and 1.4) only this form keeps a dark lesion.

A pass judges every component against the labels as they stand at its start, then removes all failing voxels at once,
so that the result does not depend on the order of voxels or components. Pieces of a component that no longer touch are
components of their own from the next pass on, each with the threshold of the whole. Passes repeat until one removes
nothing: applied to its own result, the rule changes nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.detection.geometry.components import TOUCHING

RING_MM = 2.0
TOLERANCE = 1e-3
"""Relative slack on distances: a spacing taken from a float32 affine is 2.0000002 where 2 is meant."""

Window = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class RatioResult:
    """What the rule leaves.

    Attributes
    ----------
    labels
        int32 of shape (I, J, K): the input labels without the removed voxels. A component that fell apart keeps one
        label for all its pieces.
    n_passes
        Passes until nothing was removed, the last one included.
    """

    labels: npt.NDArray[np.int32]
    n_passes: int


def apply_intensity_ratio(
    t2star: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    brain: npt.NDArray[np.bool_],
    spacing: tuple[float, float, float],
    thresholds: Mapping[int, float],
) -> RatioResult:
    """Remove the border voxels that are not dark against their ring, to a fixed point.

    Parameters
    ----------
    t2star
        Shape (I, J, K), axis 2 across slices; any linear scale through the origin.
    labels
        Shape (I, J, K): 0 outside, one positive integer for each component; parts of one label that do not touch
        (26-neighbourhood) are components of their own.
    brain
        Shape (I, J, K). Rings stay inside; components may reach out.
    spacing
        Voxel size in mm along the three axes.
    thresholds
        Smallest ratio that keeps a border voxel, for every label present.

    Returns
    -------
    RatioResult. A component without any ring cannot be judged and is kept as it is.

    Raises
    ------
    ValueError
        If a label has no threshold.

    Examples
    --------
    >>> import numpy as np
    >>> from mbseg_bids.steps import apply_intensity_ratio
    >>> t2star, labels = np.full((9, 9, 1), 60.0), np.zeros((9, 9, 1), np.int32)
    >>> labels[4, 4:6] = 1
    >>> t2star[4, 4], t2star[4, 5] = 30.0, 55.0  # 60 / 55 is below the threshold
    >>> brain = np.ones(labels.shape, bool)
    >>> left = apply_intensity_ratio(t2star, labels, brain, (1.0, 1.0, 3.0), {1: 1.2})
    >>> np.argwhere(left.labels).tolist(), left.n_passes
    ([[4, 4, 0]], 2)
    """
    present = np.unique(labels[labels > 0])
    if missing := [int(label) for label in present if label not in thresholds]:
        raise ValueError(f"no intensity ratio threshold for the labels {missing}")
    geometry = RingGeometry.of(spacing)
    pieces = _Pieces(labels, {int(label): float(thresholds[label]) for label in present})
    changed, altered, n_passes = np.ones(labels.shape, dtype=bool), set(), 0
    while True:
        n_passes += 1
        removed = np.zeros(labels.shape, dtype=bool)
        for piece, window in pieces.windows(geometry.reach):
            # Where neither the piece nor its surroundings changed, the last pass has already found it stable.
            if piece in altered or changed[window].any():
                failing = _failing(t2star[window], pieces.labels[window], piece, brain[window], geometry, pieces)
                removed[window] |= failing
        if not removed.any():
            return RatioResult(np.where(pieces.labels > 0, labels, 0).astype(np.int32), n_passes)
        changed, altered = removed, pieces.remove(removed)


def contrast_ratios(
    t2star: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
    brain: npt.NDArray[np.bool_],
    spacing: tuple[float, float, float],
) -> dict[int, float]:
    """Return mean T2* of the ring / mean T2* of the component, for every label present.

    NaN without a ring; infinity for a component without any signal. Arguments as in :func:`apply_intensity_ratio`.

    Examples
    --------
    >>> import numpy as np
    >>> from mbseg_bids.steps import contrast_ratios
    >>> t2star, labels = np.full((9, 9, 1), 60.0), np.zeros((9, 9, 1), np.int32)
    >>> t2star[4, 4], labels[4, 4] = 30.0, 1
    >>> contrast_ratios(t2star, labels, np.ones(labels.shape, bool), (1.0, 1.0, 3.0))
    {1: 2.0}
    """
    geometry, ratios = RingGeometry.of(spacing), {}
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        window = _widen(box, geometry.reach, labels.shape)
        own = labels[window] == label
        ring = _ring(own, labels[window], brain[window], geometry)
        inside = _mean(t2star[window][own])
        if not ring.any():
            ratios[label] = math.nan
        else:
            ratios[label] = _mean(t2star[window][ring]) / inside if inside > 0 else math.inf
    return ratios


@dataclass(frozen=True, eq=False)
class RingGeometry:
    """How far a ring reaches on one grid.

    Attributes
    ----------
    element
        Structuring element of the dilation that makes the ring.
    faces
        Structuring element of the neighbours that a border voxel lacks one of.
    reach
        Half width of ``element`` in voxels along each axis.
    """

    element: npt.NDArray[np.bool_]
    faces: npt.NDArray[np.bool_]
    reach: tuple[int, int, int]

    @classmethod
    def of(cls, spacing: tuple[float, float, float]) -> "RingGeometry":
        """Return the geometry for a voxel size in mm; axis 2 goes across the slices."""
        # In plane the ring is whole voxels wide: 2 of them on the detection grid, whose voxels may be 0.95-1.05 mm.
        in_plane = (max(1, round(RING_MM / spacing[0])), max(1, round(RING_MM / spacing[1])))
        across = int(RING_MM * (1 + TOLERANCE) / spacing[2])  # 0 where slices are more than 2 mm apart
        reach = (*in_plane, across)
        offsets = np.indices([2 * r + 1 for r in reach]) - np.reshape(reach, (3, 1, 1, 1))
        radii = np.reshape([*in_plane, RING_MM / spacing[2]], (3, 1, 1, 1))
        element = ((offsets / radii) ** 2).sum(axis=0) <= 1 + 2 * TOLERANCE
        faces = ndimage.generate_binary_structure(3, 1)
        if across == 0:
            faces[:, :, [0, 2]] = False
        return cls(element, faces, reach)


class _Pieces:
    """The components as they stand: one label for each connected piece, with the threshold it inherited."""

    def __init__(self, labels: npt.NDArray[np.integer], thresholds: dict[int, float]) -> None:
        self.labels = np.where(labels > 0, labels, 0).astype(np.int32)
        self.thresholds = thresholds
        self._part(sorted(thresholds))

    def windows(self, reach: tuple[int, int, int]) -> list[tuple[int, Window]]:
        """Return each piece with its bounding box widened by the reach of a ring."""
        boxes = enumerate(ndimage.find_objects(self.labels), start=1)
        return [(piece, _widen(box, reach, self.labels.shape)) for piece, box in boxes if box is not None]

    def remove(self, removed: npt.NDArray[np.bool_]) -> set[int]:
        """Clear voxels, give every piece that has come loose a label of its own, and return the pieces concerned."""
        touched = np.unique(self.labels[removed]).tolist()
        self.labels[removed] = 0
        return {*touched, *self._part(touched)}

    def _part(self, pieces: list[int]) -> list[int]:
        """Give all but one of the unconnected parts of each piece a label of its own; return the new labels."""
        boxes, added = ndimage.find_objects(self.labels), []
        for piece in pieces:
            if piece > len(boxes) or boxes[piece - 1] is None:
                continue
            view = self.labels[boxes[piece - 1]]
            parts, n = ndimage.label(view == piece, structure=TOUCHING)
            for part in range(2, n + 1):
                new = max(self.thresholds) + 1
                self.thresholds[new] = self.thresholds[piece]
                added.append(new)
                view[parts == part] = new
        return added


def _failing(
    t2star: npt.NDArray[np.floating],
    labels: npt.NDArray[np.int32],
    piece: int,
    brain: npt.NDArray[np.bool_],
    geometry: RingGeometry,
    pieces: _Pieces,
) -> npt.NDArray[np.bool_]:
    """Return the border voxels of a piece that are not dark enough, in its window."""
    own = labels == piece
    ring = _ring(own, labels, brain, geometry)
    if not ring.any():
        return np.zeros(own.shape, dtype=bool)
    border = own & ~ndimage.binary_erosion(own, geometry.faces)
    failing = np.zeros(own.shape, dtype=bool)
    intensity = t2star[border].astype(np.float64)
    ratio = np.full(intensity.shape, math.inf)  # a voxel without signal is as dark as can be
    np.divide(_mean(t2star[ring]), intensity, out=ratio, where=intensity > 0)
    failing[border] = ratio < pieces.thresholds[piece]
    return failing


def _ring(
    own: npt.NDArray[np.bool_], labels: npt.NDArray[np.integer], brain: npt.NDArray[np.bool_], geometry: RingGeometry
) -> npt.NDArray[np.bool_]:
    return ndimage.binary_dilation(own, geometry.element) & (labels == 0) & brain


def _mean(values: npt.NDArray[np.floating]) -> float:
    # fsum is exact, so that flipping or transposing the array cannot move a voxel across a threshold.
    return math.fsum(values.tolist()) / values.size


def _widen(box: Window, reach: tuple[int, int, int], shape: tuple[int, ...]) -> Window:
    i, j, k = (
        slice(max(0, side.start - r), min(size, side.stop + r)) for side, r, size in zip(box, reach, shape, strict=True)
    )
    return i, j, k
