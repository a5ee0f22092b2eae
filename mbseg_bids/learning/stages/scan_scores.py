"""How a network does on whole simulated scans: every step of detection, lesion by lesion against the truth."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import nn

from mbseg_bids.detection.lesions.segment import DetectionResult, segment_lesions
from mbseg_bids.detection.network.classify import classifier
from mbseg_bids.detection.network.weights import WeightsMetadata
from mbseg_bids.detection.search.mask import search_region
from mbseg_bids.detection.search.region_growing import grow_from_seeds
from mbseg_bids.evaluation.lesion import Score, match_lesions
from mbseg_bids.settings import DetectionSettings
from mbseg_bids.simulation.case import Case


@dataclass(frozen=True)
class ScanScore:
    """One scan at one probability threshold.

    Attributes
    ----------
    threshold
        Of the probability.
    score
        Of the visible lesions of at least the smallest volume that counts.
    dice
        Overlap of all lesion voxels with all found voxels.
    """

    threshold: float
    score: Score
    dice: float


def probability_map(
    model: nn.Module,
    metadata: WeightsMetadata,
    case: Case,
    settings: DetectionSettings,
    *,
    threshold: float | None = None,
    batch_size: int | None = None,
    n_workers: int = 1,
    device: Literal["auto", "cpu", "cuda"] = "cpu",
) -> npt.NDArray[np.float32]:
    """Return the probability of each voxel as a run of the BIDS App would.

    Parameters
    ----------
    model, metadata
        The network and what it takes.
    case, settings
        The scan; where and how to search in it.
    threshold
        Smallest probability that the search follows outwards: the smallest at which the map will be used; None: as a
        run does.
    batch_size, n_workers, device
        As in :func:`mbseg_bids.detection.network.classify.classify_voxels`.

    Returns
    -------
    Shape (I, J, K); zero where the network is not asked.
    """
    mask, seeds = search_region(case.stack[0], case.brain, case.tissue, case.spacing, settings)
    followed = settings.followed if threshold is None else threshold
    options = {"batch_size": batch_size, "n_workers": n_workers, "exact_from": followed}
    ask = classifier(model, metadata, case.stack, device=device, **options)
    return grow_from_seeds(mask, seeds, ask, followed)[0]


def score_scan(
    case: Case,
    probability: npt.NDArray[np.float32],
    settings: DetectionSettings,
    *,
    threshold: float = 0.5,
    minimum_volume: float = 8.0,
) -> tuple[ScanScore, DetectionResult]:
    """Segment a simulated scan and match its lesions with the truth by overlap.

    Parameters
    ----------
    case, probability
        The scan, and what :func:`probability_map` found in it.
    settings
        Of detection; ``threshold`` replaces its probability threshold. Neither reader's criteria nor candidate
        classifier follow: this is about the network.
    threshold, minimum_volume
        Smallest probability of a lesion voxel; smallest true lesion that counts, mm3.
    """
    result = segment_lesions(
        case.stack,
        probability,
        case.brain,
        case.regions,
        case.spacing,
        case.affine,
        replace(settings, probability_threshold=threshold, reader_criteria=False),
    )
    matches = match_lesions(case.lesions, result.lesions, case.spacing, minimum_volume=minimum_volume)
    score = Score(1, len(matches.truth), len(matches.predicted), len(matches.detected), len(matches.correct))
    common = int(((case.lesions > 0) & (result.lesions > 0)).sum())
    total = int((case.lesions > 0).sum() + (result.lesions > 0).sum())
    return ScanScore(threshold, score, 2 * common / total if total else float("nan")), result
