"""The pure steps of the method under names that stay, wherever their modules move.

Arrays and spacings go in, arrays come out; no file, no dataset, no workflow. In the order of the method: bring a scan
to the detection grid (:func:`detection_grid`, :func:`to_detection_grid`, :func:`standardise`), say where to search
(:func:`search_region`), ask the network (:func:`load_weights`, :func:`classify_voxels`, :func:`search_outwards`), turn
probabilities into lesions (:func:`segment_lesions`, which joins components, intensity ratio, criteria and second look),
and bring these back (:func:`labels_to_native`).

A step is imported when it is first asked for: only :func:`load_weights` and :func:`classify_voxels` need torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mbseg_bids.detection.candidates.classifier import load_second_look
    from mbseg_bids.detection.geometry.components import find_components
    from mbseg_bids.detection.lesions.segment import segment_lesions
    from mbseg_bids.detection.network.classify import classify_voxels
    from mbseg_bids.detection.network.weights import load_weights
    from mbseg_bids.detection.rules.intensity_ratio import apply_intensity_ratio, contrast_ratios
    from mbseg_bids.detection.search.mask import search_mask, search_region
    from mbseg_bids.detection.search.region_growing import local_minima, search_outwards
    from mbseg_bids.imaging.grids import detection_grid, labels_to_native, probability_to_native, to_detection_grid
    from mbseg_bids.imaging.intensity import standardise
    from mbseg_bids.imaging.volume import Volume

__all__ = [
    "Volume",
    "apply_intensity_ratio",
    "classify_voxels",
    "contrast_ratios",
    "detection_grid",
    "find_components",
    "labels_to_native",
    "load_second_look",
    "load_weights",
    "local_minima",
    "probability_to_native",
    "search_mask",
    "search_outwards",
    "search_region",
    "segment_lesions",
    "standardise",
    "to_detection_grid",
]

_HOMES = {
    "Volume": "mbseg_bids.imaging.volume",
    "apply_intensity_ratio": "mbseg_bids.detection.rules.intensity_ratio",
    "classify_voxels": "mbseg_bids.detection.network.classify",
    "contrast_ratios": "mbseg_bids.detection.rules.intensity_ratio",
    "detection_grid": "mbseg_bids.imaging.grids",
    "find_components": "mbseg_bids.detection.geometry.components",
    "labels_to_native": "mbseg_bids.imaging.grids",
    "load_second_look": "mbseg_bids.detection.candidates.classifier",
    "load_weights": "mbseg_bids.detection.network.weights",
    "local_minima": "mbseg_bids.detection.search.region_growing",
    "probability_to_native": "mbseg_bids.imaging.grids",
    "search_mask": "mbseg_bids.detection.search.mask",
    "search_outwards": "mbseg_bids.detection.search.region_growing",
    "search_region": "mbseg_bids.detection.search.mask",
    "segment_lesions": "mbseg_bids.detection.lesions.segment",
    "standardise": "mbseg_bids.imaging.intensity",
    "to_detection_grid": "mbseg_bids.imaging.grids",
}
"""Where each lives now."""


def __getattr__(name: str) -> Any:
    """Import a step when it is first asked for."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
