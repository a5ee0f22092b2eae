"""Connected components numbered by where they are, not by how the array is stored."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

TOUCHING = np.ones((3, 3, 3), dtype=bool)
"""26-connectivity: voxels that share a face, an edge or a corner belong together."""


def find_components(
    mask: npt.NDArray[np.bool_], affine: npt.NDArray[np.float64] | None = None
) -> npt.NDArray[np.int32]:
    """Label the 26-connected components of a mask.

    Parameters
    ----------
    mask
        Shape (I, J, K).
    affine
        Shape (4, 4), voxel index to RAS+ mm. With it, the numbering does not depend on the orientation of the array.
        Without it, voxel indices stand for millimetres.

    Returns
    -------
    int32 of shape (I, J, K): 0 outside, then 1..n in the order of :func:`position_order`.

    Examples
    --------
    >>> import numpy as np
    >>> from mbseg_bids.steps import find_components
    >>> mask = np.zeros((5, 5, 5), bool)
    >>> mask[0, 0, 0] = mask[1, 1, 1] = mask[4, 4, 4] = True  # the first two share a corner
    >>> labels = find_components(mask)
    >>> int(labels[0, 0, 0]), int(labels[1, 1, 1]), int(labels[4, 4, 4])
    (1, 1, 2)
    """
    labels, n = ndimage.label(mask, structure=TOUCHING)
    return renumber(labels.astype(np.int32), position_order(labels, np.eye(4) if affine is None else affine, n))


def position_order(labels: npt.NDArray[np.integer], affine: npt.NDArray[np.float64], n: int) -> list[int]:
    """Return those labels of 1..n that are present, from inferior to superior by centroid.

    Equal heights go from posterior to anterior, then from left to right, all to 0.001 mm; components with one and
    the same centroid (one inside the other) from small to large, then by label.
    """
    sizes = np.bincount(labels.ravel(), minlength=n + 1)[1 : n + 1]
    present = [int(label) for label in np.flatnonzero(sizes) + 1]
    if not present:
        return []
    centres = centroids(labels, n)
    world = np.round(centres @ affine[:3, :3].T + affine[:3, 3], 3) + 0.0  # + 0.0: no negative zero
    return sorted(present, key=lambda c: (*world[c - 1, ::-1], sizes[c - 1], c))


def centroids(labels: npt.NDArray[np.integer], n: int) -> npt.NDArray[np.float64]:
    """Return the mean voxel index of labels 1..n, shape (n, 3); NaN for an absent label."""
    where = np.nonzero(labels)
    values = labels[where]
    sizes = np.bincount(values, minlength=n + 1)[1:]
    with np.errstate(invalid="ignore"):
        # Sums of integers are exact in float64, so the centroid does not depend on the order of the voxels.
        return np.stack([np.bincount(values, weights=axis, minlength=n + 1)[1:] / sizes for axis in where], axis=1)


def renumber(labels: npt.NDArray[np.int32], order: list[int]) -> npt.NDArray[np.int32]:
    """Return the labels with ``order[0]`` as 1, ``order[1]`` as 2 and so on; labels not in ``order`` become 0."""
    new = np.zeros(max([int(labels.max(initial=0)), *order]) + 1, dtype=np.int32)
    new[order] = np.arange(1, len(order) + 1, dtype=np.int32)
    return new[labels]


def middle_voxels(labels: npt.NDArray[np.integer]) -> dict[int, npt.NDArray[np.int64]]:
    """Return by label its own voxel that is nearest to its centroid, counted in voxels; the first of several."""
    middles = {}
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            own = np.argwhere(labels[box] == label)
            nearest = ((own - own.mean(axis=0)) ** 2).sum(axis=1).argmin()
            middles[label] = own[nearest] + [side.start for side in box]
    return middles
