"""The pure steps of the method under names that stay, wherever their modules move.

Arrays and spacings go in, arrays come out; no file, no dataset, no workflow. In the order of the method: bring a scan
to the detection grid (:func:`detection_grid`, :func:`to_detection_grid`, :func:`standardise`), say where to search
(:func:`search_region`), ask the network (:func:`load_weights`, :func:`classify_voxels`, :func:`grow_from_seeds`), turn
probabilities into lesions (:func:`segment_lesions`, which joins components, intensity ratio, criteria and candidate
classifier), and bring these back (:func:`labels_to_native`).

A step is imported when it is first asked for: only :func:`load_weights` and :func:`classify_voxels` need torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mbseg_bids.detection.candidates.classifier import load_candidate_classifier
    from mbseg_bids.detection.geometry.components import find_components
    from mbseg_bids.detection.lesions.segment import segment_lesions
    from mbseg_bids.detection.network.classify import classify_voxels
    from mbseg_bids.detection.network.weights import load_weights
    from mbseg_bids.detection.rules.intensity_ratio import apply_intensity_ratio, contrast_ratios
    from mbseg_bids.detection.search.mask import search_mask, search_region
    from mbseg_bids.detection.search.region_growing import grow_from_seeds, local_minima
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
    "grow_from_seeds",
    "labels_to_native",
    "load_candidate_classifier",
    "load_weights",
    "local_minima",
    "probability_to_native",
    "search_mask",
    "search_region",
    "segment_lesions",
    "standardise",
    "to_detection_grid",
]

_HOMES = {
    "Volume": ("mbseg_bids.imaging.volume", "Volume"),
    "apply_intensity_ratio": ("mbseg_bids.detection.rules.intensity_ratio", "apply_intensity_ratio"),
    "classify_voxels": ("mbseg_bids.detection.network.classify", "classify_voxels"),
    "contrast_ratios": ("mbseg_bids.detection.rules.intensity_ratio", "contrast_ratios"),
    "detection_grid": ("mbseg_bids.imaging.grids", "detection_grid"),
    "find_components": ("mbseg_bids.detection.geometry.components", "find_components"),
    "grow_from_seeds": ("mbseg_bids.detection.search.region_growing", "grow_from_seeds"),
    "labels_to_native": ("mbseg_bids.imaging.grids", "labels_to_native"),
    "load_candidate_classifier": ("mbseg_bids.detection.candidates.classifier", "load_candidate_classifier"),
    "load_weights": ("mbseg_bids.detection.network.weights", "load_weights"),
    "local_minima": ("mbseg_bids.detection.search.region_growing", "local_minima"),
    "probability_to_native": ("mbseg_bids.imaging.grids", "probability_to_native"),
    "search_mask": ("mbseg_bids.detection.search.mask", "search_mask"),
    "search_region": ("mbseg_bids.detection.search.mask", "search_region"),
    "segment_lesions": ("mbseg_bids.detection.lesions.segment", "segment_lesions"),
    "standardise": ("mbseg_bids.imaging.intensity", "standardise"),
    "to_detection_grid": ("mbseg_bids.imaging.grids", "to_detection_grid"),
}
"""Module that each lives in now, and its name there."""


def __getattr__(name: str) -> Any:
    """Import a step when it is first asked for."""
    if name in _HOMES:
        module, attribute = _HOMES[name]
        return getattr(importlib.import_module(module), attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
