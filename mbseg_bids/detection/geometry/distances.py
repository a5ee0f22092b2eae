"""Distance to the edge of the brain."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage


def distance_to_edge(
    brain: npt.NDArray[np.bool_], labels: npt.NDArray[np.integer], spacing: tuple[float, float, float]
) -> npt.NDArray[np.float64]:
    """Return the distance (mm, in plane) of brain voxels to what is not brain, in the slices that have labels."""
    distance = np.zeros(brain.shape)
    for k in np.flatnonzero((labels > 0).any(axis=(0, 1))):
        distance[:, :, k] = ndimage.distance_transform_edt(np.pad(brain[:, :, k], 1), sampling=spacing[:2])[1:-1, 1:-1]
    return distance
