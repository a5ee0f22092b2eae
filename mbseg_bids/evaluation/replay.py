"""Post-processing of a finished run once more, from its maps, with other thresholds.

Everything after the probability map is local: rings reach 2 mm, the nearest region is looked for within 5 mm, and
labels are parted from their neighbours on the native grid. So a scan is taken apart into blocks that hold whole
candidates with a wide margin, and each block goes through the code of a run. The lesions are those of the whole scan.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.detection.geometry.components import TOUCHING
from mbseg_bids.detection.lesions.native import tabulate_on_native_grid
from mbseg_bids.detection.lesions.segment import segment_lesions
from mbseg_bids.evaluation.pairs import Lesions
from mbseg_bids.imaging.grids import detection_grid, to_detection_grid
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.settings import DetectionSettings

MARGIN_MM, MARGIN_VOXELS = 6.0, 2
"""Around the candidates of a block: more than any step looks."""

Window = tuple[slice, slice, slice]


@dataclass(frozen=True, eq=False)
class ScanMaps:
    """What post-processing needs of one scan, on its detection grid; and the native grid it goes back to.

    Attributes
    ----------
    t2star
        Standardised 0-100, shape (I, J, K), axis 2 across slices.
    probability, brain, regions
        Of the same shape: 0-1; boolean; numbers of :data:`mbseg_bids.imaging.labels.REGIONS`.
    shape, affine
        Native T2* grid.
    """

    t2star: Volume
    probability: npt.NDArray[np.float32]
    brain: npt.NDArray[np.bool_]
    regions: npt.NDArray[np.int32]
    shape: tuple[int, int, int]
    affine: npt.NDArray[np.float64]

    @classmethod
    def from_native(cls, t2star: Volume, probability: Volume, brain: Volume, regions: Volume) -> "ScanMaps":
        """Bring maps of the native grid to the detection grid: the identity where that is not resampled in plane."""
        grid = detection_grid(t2star.shape, t2star.affine)
        return cls(
            t2star=to_detection_grid(t2star, grid),
            probability=to_detection_grid(probability, grid).data,
            brain=to_detection_grid(brain, grid, order=0).data > 0,
            regions=to_detection_grid(regions, grid, order=0).data.astype(np.int32),
            shape=t2star.shape,
            affine=t2star.affine,
        )

    def segment(self, settings: DetectionSettings) -> Lesions:
        """Return the lesions on the native grid, as a run with these settings finds them, without the classifier."""
        found = segment_lesions(
            self.t2star.data[None],
            self.probability,
            self.brain,
            self.regions,
            self.t2star.spacing,
            self.t2star.affine,
            settings,
        )
        result = tabulate_on_native_grid(found, self.t2star.affine, self.shape, self.affine, settings)
        table = result.lesion_table
        regions = dict(zip(table["index"].astype(int).tolist(), table["region"].tolist(), strict=True))
        return Lesions(Volume(result.lesions, self.affine), regions)

    def blocks(self, lowest: float) -> list[tuple["ScanMaps", Window]]:
        """Return parts of the scan that together hold every candidate at a probability of ``lowest`` or above.

        Each comes with its place on the native grid. No part holds a piece of a candidate of another.
        """
        margin = [int(np.ceil(MARGIN_MM / s)) + MARGIN_VOXELS for s in self.t2star.spacing]
        labels, _ = ndimage.label((self.probability >= lowest) & self.brain, structure=TOUCHING)
        boxes = [[(s.start, s.stop) for s in box] for box in ndimage.find_objects(labels)]
        boxes = [[(a - m, b + m) for (a, b), m in zip(box, margin, strict=True)] for box in boxes]
        ends = [
            [(max(0, a), min(n, b)) for (a, b), n in zip(box, labels.shape, strict=True)] for box in merge_boxes(boxes)
        ]
        return [self._crop((slice(*i), slice(*j), slice(*k))) for i, j, k in ends]

    def _crop(self, window: Window) -> tuple["ScanMaps", Window]:
        to_native = np.linalg.inv(self.affine) @ self.t2star.affine
        corners = np.array([[s.start - 0.5 for s in window], [s.stop - 0.5 for s in window]])
        ends = np.sort(corners @ to_native[:3, :3].T + to_native[:3, 3], axis=0)
        start = np.clip(np.floor(ends[0]), 0, np.array(self.shape) - 1).astype(int)
        stop = np.clip(np.ceil(ends[1]) + 1, start + 1, self.shape).astype(int)
        i, j, k = (slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
        native = (i, j, k)
        part = ScanMaps(
            Volume(self.t2star.data[window], shifted(self.t2star.affine, window)),
            self.probability[window],
            self.brain[window],
            self.regions[window],
            tuple((stop - start).tolist()),
            shifted(self.affine, native),
        )
        return part, native


def segment_blocks(
    blocks: Iterable[tuple[ScanMaps, Window]],
    settings: DetectionSettings,
    shape: tuple[int, int, int],
    affine: npt.NDArray[np.float64],
) -> Lesions:
    """Segment every block and put the lesions together on the native grid; labels count on from block to block."""
    labels = np.zeros(shape, np.int32)
    regions: dict[int, str] = {}
    for maps, window in blocks:
        found = maps.segment(settings)
        inside = found.labels.data > 0
        labels[window][inside] = found.labels.data[inside] + len(regions)
        regions |= {label + len(regions): region for label, region in found.regions.items()}
    return Lesions(Volume(labels, affine), regions)


def merge_boxes(boxes: list[list[tuple[int, int]]]) -> list[list[tuple[int, int]]]:
    """Replace boxes (start and stop along each axis) that overlap by the one around both, until none overlap."""
    merged: list[list[tuple[int, int]]] = []
    for box in boxes:
        growing = True
        while growing:
            growing = False
            for other in merged:
                if all(a < d and c < b for (a, b), (c, d) in zip(box, other, strict=True)):
                    merged.remove(other)
                    box = [(min(a, c), max(b, d)) for (a, b), (c, d) in zip(box, other, strict=True)]
                    growing = True
                    break
        merged.append(box)
    return merged


def shifted(affine: npt.NDArray[np.float64], window: Window) -> npt.NDArray[np.float64]:
    """Return the affine of a part of an array."""
    new = affine.copy()
    new[:3, 3] += affine[:3, :3] @ [s.start for s in window]
    return new
