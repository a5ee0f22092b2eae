"""The detection of a run, step by step as in :mod:`mbseg_bids.interfaces.detection`, on arrays in memory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from mbseg_bids.detection.candidates.classifier import CandidateClassifier, load_candidate_classifier
from mbseg_bids.detection.lesions.native import tabulate_on_native_grid
from mbseg_bids.detection.lesions.segment import DetectionResult, segment_lesions
from mbseg_bids.detection.lesions.tables import Tabulated
from mbseg_bids.detection.network.classify import classifier
from mbseg_bids.detection.network.weights import WeightsMetadata, load_weights
from mbseg_bids.detection.search.mask import search_region
from mbseg_bids.detection.search.region_growing import grow_from_seeds
from mbseg_bids.settings import DetectionSettings

AS_RUN, WITHOUT_SECOND_LOOK = "as_run", "without_second_look"


@dataclass(frozen=True, eq=False)
class Head:
    """What detection needs of a scan besides its contrasts.

    Attributes
    ----------
    brain, tissue, regions
        Shape (I, J, K), detection grid.
    spacing, affine
        Of the detection grid.
    native_shape, native_affine
        Of the T2*-weighted scan.
    """

    brain: npt.NDArray[np.bool_]
    tissue: npt.NDArray[np.integer]
    regions: npt.NDArray[np.int32]
    spacing: tuple[float, float, float]
    affine: npt.NDArray[np.float64]
    native_shape: tuple[int, int, int]
    native_affine: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Found:
    """What a detection found. ``probability``, ``asked``, ``result``: detection grid; ``native``: native grid."""

    probability: npt.NDArray[np.float32]
    asked: npt.NDArray[np.bool_]
    result: DetectionResult
    native: Tabulated


@dataclass(frozen=True, eq=False)
class Detector:
    """Networks and settings of a run.

    Attributes
    ----------
    model, metadata
        The first network.
    settings
        Of the run.
    second_look
        None where the settings are without.
    options
        Of :func:`mbseg_bids.detection.network.classify.classifier`: device, number of threads. Precision is that of a
        run unless ``exact_from`` is among them.
    """

    model: nn.Module
    metadata: WeightsMetadata
    settings: DetectionSettings
    second_look: CandidateClassifier | None
    options: Mapping[str, Any]

    @classmethod
    def load(cls, settings: DetectionSettings, **options: Any) -> "Detector":
        """Load what the settings name."""
        model, metadata = load_weights(settings.weights, task="microbleed")
        return cls(model, metadata, settings, load_candidate_classifier() if settings.second_look else None, options)

    def __call__(self, stack: npt.NDArray[np.float32], head: Head) -> dict[str, Found]:
        """Return what is found in T2*, T2w, T1w, shape (3, I, J, K), with the steps of the run and without the last."""
        mask, seeds = search_region(stack[0], head.brain, head.tissue, head.spacing, self.settings)
        options = {"exact_from": self.settings.followed, **self.options}
        ask: Callable = classifier(self.model, self.metadata, stack, **options)
        probability, asked = grow_from_seeds(mask, seeds, ask, self.settings.followed)
        found = {}
        for name, settings in variants(self.settings).items():
            result = segment_lesions(
                stack, probability, head.brain, head.regions, head.spacing, head.affine, settings,
                tissue=head.tissue, second_look=self.second_look if settings.second_look else None,
            )  # fmt: skip
            native = tabulate_on_native_grid(result, head.affine, head.native_shape, head.native_affine, settings)
            found[name] = Found(probability, asked, result, native)
        return found


def variants(settings: DetectionSettings) -> dict[str, DetectionSettings]:
    """Return the settings of a run, and those without its last steps, by name."""
    return {AS_RUN: settings} | (
        {WITHOUT_SECOND_LOOK: replace(settings, second_look=False)} if settings.second_look else {}
    )
