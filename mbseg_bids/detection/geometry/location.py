"""In which region a lesion lies."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.imaging.labels import REGIONS, UNASSIGNED

NEAREST_REGION_MM = 5.0
"""How far from a lesion that touches no region the nearest one is looked for."""


class Location(NamedTuple):
    """Region of a lesion, by the names of :data:`mbseg_bids.imaging.labels.REGIONS`.

    ``nearest`` is True if the lesion touches no region and the nearest one was taken.
    """

    region: str
    nearest: bool


def locate(
    labels: npt.NDArray[np.integer],
    regions: npt.NDArray[np.integer],
    spacing: tuple[float, float, float],
    names: Mapping[int, str] = REGIONS,
) -> dict[int, Location]:
    """Return the region of every component.

    That is the region which most of its voxels fall in; voxels in no region have no vote. Of equal counts, the region
    with a lesion voxel nearest to the lesion's centroid, then the nearer on average, then the smaller label. A
    component in no region takes the nearest one within 5 mm (equal distances: nearer to the centroid), else it is
    ``unassigned``.

    Parameters
    ----------
    labels, regions
        Shape (I, J, K), the same grid; 0 is background.
    spacing
        Voxel size in mm along the three axes.
    names
        Name of each label in ``regions``.
    """
    reach = [int(NEAREST_REGION_MM / s) + 1 for s in spacing]
    locations = {}
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        window = tuple(
            slice(max(0, b.start - r), min(n, b.stop + r)) for b, r, n in zip(box, reach, labels.shape, strict=True)
        )
        own, around = labels[window] == label, regions[window]
        touched = own & (around > 0)
        if touched.any():
            locations[label] = Location(names[_vote(touched, own, around, spacing)], nearest=False)
        else:
            locations[label] = _nearest(own, around, spacing, names)
    return locations


def _vote(
    touched: npt.NDArray[np.bool_],
    own: npt.NDArray[np.bool_],
    regions: npt.NDArray[np.integer],
    spacing: tuple[float, float, float],
) -> int:
    counts = np.bincount(regions[touched])
    tied = np.flatnonzero(counts == counts.max())
    if len(tied) == 1:
        return int(tied[0])
    distance = _distance_to_centroid(own, spacing)

    def nearness(region: int) -> tuple[float, float, int]:
        inside = distance[touched & (regions == region)]
        return round(inside.min(), 6), round(inside.mean(), 6), region

    return min(map(int, tied), key=nearness)


def _nearest(
    own: npt.NDArray[np.bool_],
    regions: npt.NDArray[np.integer],
    spacing: tuple[float, float, float],
    names: Mapping[int, str],
) -> Location:
    labelled = np.nonzero(regions)
    gap = np.round(ndimage.distance_transform_edt(~own, sampling=spacing)[labelled], 6)
    if not gap.size or gap.min() > NEAREST_REGION_MM:
        return Location(UNASSIGNED, nearest=False)
    closest = gap == gap.min()
    from_centroid = np.round(_distance_to_centroid(own, spacing)[labelled][closest], 6)
    region = min(zip(from_centroid, regions[labelled][closest], strict=True))[1]
    return Location(names[int(region)], nearest=True)


def _distance_to_centroid(own: npt.NDArray[np.bool_], spacing: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    """Return the distance in mm of every voxel of the window to the centroid of a component."""
    centroid = np.argwhere(own).mean(axis=0)
    offsets = (np.indices(own.shape).T - centroid) * np.asarray(spacing)
    return np.sqrt((offsets**2).sum(axis=-1)).T
