"""From the probability map to lesions: components, regions, ratio rule, criteria, candidate classifier, size, table."""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from mbseg_bids.detection.candidates.classifier import CandidateClassifier
from mbseg_bids.detection.candidates.features import AskNetwork, Features, lesion_features
from mbseg_bids.detection.geometry.components import find_components
from mbseg_bids.detection.geometry.location import locate
from mbseg_bids.detection.lesions.tables import Evidence, tabulate
from mbseg_bids.detection.rules.criteria import CriteriaFacts, measure_criteria
from mbseg_bids.detection.rules.intensity_ratio import RingGeometry, apply_intensity_ratio, contrast_ratios
from mbseg_bids.detection.rules.lesion_view import Scan
from mbseg_bids.imaging.labels import DEEP_GM, REGIONS
from mbseg_bids.settings import DetectionSettings

SLICE_AXIS = 2
"""Axis across slices of the detection grid."""


@dataclass(frozen=True, eq=False)
class DetectionResult:
    """Lesions of one session on the detection grid.

    Attributes
    ----------
    lesions
        int32 of shape (I, J, K): 1..n as in ``lesion_table``.
    candidates
        int32 of shape (I, J, K): every component of the probability map, 1..m as in ``candidate_table``.
    lesion_table, candidate_table
        Columns as described in ``data/columns.json``, measured on the detection grid.
    survivors
        int32 of shape (I, J, K): components that passed the intensity ratio rule, before the size rules.
    evidence_of_candidates, evidence_of_survivors
        By label: what the tables say apart from size and place, for tables on another grid (:func:`tabulate`).
    criteria
        What the reader's criteria can tell on this scan; None where they were left out.
    """

    lesions: npt.NDArray[np.int32]
    candidates: npt.NDArray[np.int32]
    lesion_table: pd.DataFrame
    candidate_table: pd.DataFrame
    survivors: npt.NDArray[np.int32]
    evidence_of_candidates: dict[int, Evidence]
    evidence_of_survivors: dict[int, Evidence]
    criteria: CriteriaFacts | None = None


def segment_lesions(
    stack: npt.NDArray[np.floating],
    probability: npt.NDArray[np.floating],
    brain: npt.NDArray[np.bool_],
    regions: npt.NDArray[np.integer],
    spacing: tuple[float, float, float],
    affine: npt.NDArray[np.float64],
    settings: DetectionSettings,
    *,
    tissue: npt.NDArray[np.integer] | None = None,
    second_look: CandidateClassifier | None = None,
) -> DetectionResult:
    """Turn a probability map into lesions, as Dadar et al. 2022 ("Post-processing").

    Candidates are the 26-connected components of brain voxels with a probability of at least
    ``probability_threshold``. The region of a candidate decides the threshold of the intensity ratio rule; what the
    rule leaves is located anew, held against the reader's criteria, judged by the candidate classifier where
    one is given, and by size. Without criteria and candidate classifier this is the method of the paper.

    Parameters
    ----------
    stack
        Shape (3, I, J, K): T2*, T2w, T1w on the detection grid (axis 2 across slices). Only the criteria and the
        candidate classifier use more than T2*.
    probability
        Shape (I, J, K), 0-1.
    brain, regions
        Shape (I, J, K); regions by the numbers of :data:`mbseg_bids.imaging.labels.REGIONS`.
    spacing
        Voxel size in mm along the three axes.
    affine
        Voxel indices of the detection grid to RAS+ mm.
    settings
        Thresholds and limits of size.
    tissue
        Shape (I, J, K), by the numbers of :data:`mbseg_bids.imaging.labels.TISSUES`; the candidate classifier needs it.
        Without it the criteria do not know what surrounds a candidate.
    second_look
        The model that judges what the rule leaves; None: everything is kept.
    """
    t2star = stack[0]
    candidates = find_components((probability >= settings.probability_threshold) & brain, affine)
    locations = locate(candidates, regions, spacing)
    thresholds = {label: ratio_threshold(location.region, settings) for label, location in locations.items()}
    left = apply_intensity_ratio(t2star, candidates, brain, spacing, thresholds).labels

    survivors = find_components(left > 0, affine)
    # Two candidates never touch, so every survivor lies within one.
    origin = dict(zip(survivors[left > 0].tolist(), left[left > 0].tolist(), strict=True))
    observe = _Observer(t2star, probability, brain, regions, spacing)
    evidence_of_candidates = observe(candidates, {label: label for label in thresholds}, thresholds)
    evidence_of_survivors = observe(survivors, origin, thresholds)
    if second_look is not None and tissue is None:
        raise ValueError("the candidate classifier needs the tissue segmentation")
    known = np.zeros(brain.shape, np.uint8) if tissue is None else tissue
    scan = Scan(stack, probability, brain, known, spacing)
    criteria = None
    if settings.reader_criteria:
        criteria, measured = measure_criteria(scan, survivors)
        evidence_of_survivors = {
            label: replace(evidence, criteria=measured[label]) for label, evidence in evidence_of_survivors.items()
        }
    if second_look is not None:
        evidence_of_survivors = _look_again(second_look, scan, candidates, survivors, evidence_of_survivors, settings)
    tabulated = tabulate(
        candidates, survivors, evidence_of_candidates, evidence_of_survivors, affine, SLICE_AXIS, settings
    )
    return DetectionResult(
        lesions=tabulated.lesions,
        candidates=candidates,
        lesion_table=tabulated.lesion_table,
        candidate_table=tabulated.candidate_table,
        survivors=survivors,
        evidence_of_candidates=evidence_of_candidates,
        evidence_of_survivors=evidence_of_survivors,
        criteria=criteria,
    )


def _look_again(
    model: CandidateClassifier,
    scan: Scan,
    candidates: npt.NDArray[np.int32],
    survivors: npt.NDArray[np.int32],
    evidence: dict[int, Evidence],
    settings: DetectionSettings,
) -> dict[int, Evidence]:
    """Return the evidence with the verdicts of the candidate classifier."""
    judged = {}
    for label, features in survivor_features(scan, candidates, survivors, evidence, model.ask).items():
        verdict = model.judge(features, threshold=settings.second_look_threshold, definite=settings.definite_threshold)
        judged[label] = replace(
            evidence[label],
            lesion_probability=verdict.probability,
            certainty=verdict.certainty,
            against=verdict.against,
        )
    return judged


def survivor_features(
    scan: Scan,
    candidates: npt.NDArray[np.int32],
    survivors: npt.NDArray[np.int32],
    evidence: dict[int, Evidence],
    ask: AskNetwork | None = None,
) -> dict[int, Features]:
    """Return what the candidate classifier decides by, for each survivor of the intensity ratio rule."""
    volumes = np.bincount(candidates.ravel()) * math.prod(scan.spacing)
    candidate_volumes = {label: float(volumes[e.candidate]) for label, e in evidence.items()}
    regions = {label: e.region for label, e in evidence.items()}
    return lesion_features(scan, survivors, candidate_volumes, regions, ask)


def ratio_threshold(region: str, settings: DetectionSettings) -> float:
    """Return the threshold of the intensity ratio rule in a region, given by name."""
    return settings.ratio_threshold_deep_gm if region == REGIONS[DEEP_GM] else settings.ratio_threshold


@dataclass(frozen=True, eq=False)
class _Observer:
    """Gathers the evidence about labels of the detection grid."""

    t2star: npt.NDArray[np.floating]
    probability: npt.NDArray[np.floating]
    brain: npt.NDArray[np.bool_]
    regions: npt.NDArray[np.integer]
    spacing: tuple[float, float, float]

    def __call__(
        self, labels: npt.NDArray[np.int32], origin: dict[int, int], thresholds: dict[int, float]
    ) -> dict[int, Evidence]:
        """Return the evidence by label. ``origin``: label to its candidate; ``thresholds``: candidate to threshold."""
        locations = locate(labels, self.regions, self.spacing)
        ratios = contrast_ratios(self.t2star, labels, self.brain, self.spacing)
        at_edge = set(np.unique(labels[self._edge() & (labels > 0)]).tolist())
        boxes = ndimage.find_objects(labels)
        evidence = {}
        for label, location in locations.items():
            box, ratio = boxes[label - 1], ratios[label]
            probabilities = self.probability[box][labels[box] == label].astype(np.float64)
            flags = {
                "no_ring": math.isnan(ratio),
                "no_signal": math.isinf(ratio),
                "touches_brain_edge": label in at_edge,
                "nearest_region": location.nearest,
            }
            evidence[label] = Evidence(
                candidate=origin[label],
                region=location.region,
                probability_mean=math.fsum(probabilities.tolist()) / probabilities.size,
                probability_max=float(probabilities.max()),
                contrast_ratio=ratio if math.isfinite(ratio) else math.nan,
                ratio_threshold=thresholds[origin[label]],
                flags=tuple(flag for flag, raised in flags.items() if raised),
            )
        return evidence

    def _edge(self) -> npt.NDArray[np.bool_]:
        # In those directions in which the ring extends: the top slice of thick ones is not all edge.
        return ~ndimage.binary_erosion(self.brain, RingGeometry.of(self.spacing).faces)
