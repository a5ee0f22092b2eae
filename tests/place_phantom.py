"""A brain of boxes in which every place of a reader is known, as FreeSurfer numbers and as a warped place atlas."""

from dataclasses import dataclass

import numpy as np

from mbseg_bids.imaging.place_labels import PLACES, SIDES
from mbseg_bids.imaging.regions import regions_from_freesurfer

SHAPE, SPACING = (40, 50, 20), (2.0, 2.0, 2.0)
MIDDLE = 20
"""First index of the right half; x of the left half is smaller."""
CORTEX, WHITE = slice(16, 20), slice(8, 16)
LOBE_PARCELS = {"frontal": 28, "parietal": 29, "temporal": 30, "occipital": 11, "insula": 35}
"""Desikan-Killiany number of one parcel of each lobe; lobes lie one behind the other, 10 voxels each."""
BASE = {  # place, y, FreeSurfer numbers left and right; the lowest 6 slices
    "basal_ganglia": (slice(0, 8), (12, 51)),
    "internal_capsule": (slice(8, 14), (2, 41)),
    "thalamus": (slice(14, 22), (10, 49)),
    "external_capsule": (slice(22, 26), (2, 41)),
    "cerebellum": (slice(28, 38), (8, 47)),
}
NUMBER = {name: place for place, name in PLACES.items()}


@dataclass(frozen=True)
class PlacePhantom:
    aseg: np.ndarray
    atlas: np.ndarray
    regions: np.ndarray
    ventricles: np.ndarray


def place_phantom() -> PlacePhantom:
    aseg, atlas = np.zeros(SHAPE, np.int32), np.zeros(SHAPE, np.uint8)
    for half, side, cortex, white in (
        (slice(0, MIDDLE), "left", 1000, 2),
        (slice(MIDDLE, 40), "right", 2000, 41),
    ):
        for number, (lobe, parcel) in enumerate(LOBE_PARCELS.items()):
            y = slice(10 * number, 10 * number + 10)
            aseg[half, y, CORTEX], aseg[half, y, WHITE] = cortex + parcel, white
            atlas[half, y, 8:20] = NUMBER[lobe] + SIDES[side]
        for name, (y, numbers) in BASE.items():
            aseg[half, y, :6] = numbers[side == "right"]
            atlas[half, y, :6] = NUMBER[name] + SIDES[side]
    brainstem, callosum = (slice(14, 26), slice(40, 50), slice(0, 6)), (slice(14, 26), slice(20, 30), slice(8, 10))
    aseg[brainstem], aseg[callosum] = 16, 253
    for box, name in ((brainstem, "brainstem"), (callosum, "corpus_callosum")):
        x = np.arange(box[0].start, box[0].stop)[:, None, None]
        side = np.where(x < MIDDLE - 1, SIDES["left"], np.where(x > MIDDLE, SIDES["right"], SIDES["midline"]))
        atlas[box] = NUMBER[name] + side
    aseg[12:MIDDLE, 10:40, 6:8], aseg[MIDDLE:28, 10:40, 6:8] = 4, 43
    regions, _, unknown = regions_from_freesurfer(aseg, SPACING)
    assert not unknown
    return PlacePhantom(aseg, atlas, regions, np.isin(aseg, (4, 43)))
