"""What is true of a scan: where its microbleeds and mimics are seen, and the table of the microbleeds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from mbseg_bids.imaging.labels import REGIONS, UNASSIGNED
from mbseg_bids.simulation.lesions import VISIBLE_RATIO
from mbseg_bids.simulation.susceptibility import Feature

MIMIC_RATIO = 0.85
"""A voxel is labelled as a mimic where that leaves less than this share of its signal."""


@dataclass(frozen=True, eq=False)
class Rendering:
    """What all features together do to the voxels of a grid.

    Attributes
    ----------
    ratio
        Float32: T2* signal with the features / without.
    lesions
        Int32 labels of the visible microbleeds, 1 to n.
    mimics
        Uint8 keys of `mimics.MIMICS`.
    numbers
        For each lesion label in turn, the position of its feature in the list.
    darkest
        For each lesion label, the lowest ratio.
    """

    ratio: npt.NDArray[np.float32]
    lesions: npt.NDArray[np.int32]
    mimics: npt.NDArray[np.uint8]
    numbers: list[int]
    darkest: list[float]


def blur_truth(rendering: Rendering, seen: npt.NDArray[np.float32]) -> Rendering:
    """Truth of a blurred scan: lesions where the signal ratio as `seen` is low enough, up to a voxel about them."""
    lesions = rendering.lesions
    grown = np.where(lesions > 0, lesions, ndimage.maximum_filter(lesions, (3, 3, 1)))
    mimics = np.where(seen < MIMIC_RATIO, rendering.mimics, np.uint8(0))
    return replace(rendering, lesions=np.where(seen < VISIBLE_RATIO, grown, 0), mimics=mimics)


def keep_labels(rendering: Rendering, kept: Sequence[int]) -> Rendering:
    """Only some lesion labels, renumbered from 1."""
    new = np.zeros(len(rendering.numbers) + 1, dtype=np.int32)
    new[list(kept)] = np.arange(1, len(kept) + 1)
    return Rendering(
        rendering.ratio,
        new[rendering.lesions],
        rendering.mimics,
        [rendering.numbers[label - 1] for label in kept],
        [rendering.darkest[label - 1] for label in kept],
    )


TABLE_COLUMNS = (
    *("index", "name", "region", "volume_mm3", "n_voxels", "diameter_mm", "i", "j", "k", "x_mm", "y_mm", "z_mm"),
    *("n_slices", "radius_mm", "dchi_ppm", "minimum_ratio"),
)
"""Of the table of microbleeds."""


def _nearest_region(regions: npt.NDArray[np.uint8], centroid: npt.NDArray, *, reach: int = 4) -> str:
    """Name of the region nearest to a place (voxels), for a lesion that bulges into CSF."""
    start = np.maximum(np.rint(centroid).astype(int) - reach, 0)
    part = regions[tuple(slice(s, s + 2 * reach + 1) for s in start)]
    where = np.argwhere(part > 0)
    if not len(where):
        return UNASSIGNED
    nearest = np.linalg.norm(where + start - centroid, axis=1).argmin()
    return REGIONS[int(part[tuple(where[nearest])])]


def lesion_table(
    rendering: Rendering,
    features: Sequence[Feature],
    regions: npt.NDArray[np.uint8],
    affine: npt.NDArray[np.float64],
) -> pd.DataFrame:
    """One row a visible microbleed: index, name, region, size, place, and what it was made of.

    Columns radius_mm (of the sphere of the same volume), dchi_ppm and minimum_ratio are the simulation's own.
    """
    voxel_volume = float(abs(np.linalg.det(affine[:3, :3])))
    rows = []
    boxes = ndimage.find_objects(rendering.lesions, max_label=len(rendering.numbers))
    for index, (number, darkest) in enumerate(zip(rendering.numbers, rendering.darkest, strict=True), start=1):
        box = boxes[index - 1]
        where = np.argwhere(rendering.lesions[box] == index) + [side.start for side in box]
        centroid = where.mean(axis=0)
        place = affine[:3, :3] @ centroid + affine[:3, 3]
        counts = np.bincount(regions[tuple(where.T)], minlength=len(REGIONS) + 1)[1:]
        region = REGIONS[int(counts.argmax()) + 1] if counts.any() else _nearest_region(regions, centroid)
        volume = len(where) * voxel_volume
        spheres = features[number].sources
        rows.append(
            {
                "index": index,
                "name": f"CMB-{index:03d}",
                "region": region,
                "volume_mm3": volume,
                "n_voxels": len(where),
                "diameter_mm": (6 * volume / np.pi) ** (1 / 3),
                **dict(zip("ijk", centroid.tolist(), strict=True)),
                **dict(zip(("x_mm", "y_mm", "z_mm"), place.tolist(), strict=True)),
                "n_slices": len(np.unique(where[:, 2])),
                "radius_mm": float(np.cbrt(sum(s.radius**3 for s in spheres))),
                "dchi_ppm": spheres[0].dchi,
                "minimum_ratio": darkest,
            }
        )
    return pd.DataFrame(rows, columns=TABLE_COLUMNS)
