"""What the thresholds of post-processing trade: sensitivity against precision (Dadar et al. 2022, Figure 10).

The network is not asked again: its probability map, the corrected T2*, the brain mask and the regions are among the
results of a run. Each threshold goes through the very code of a run, from the map to lesions on the native grid.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.evaluation.intervals import Bootstrap, pool
from mbseg_bids.evaluation.lesion import MatchRule
from mbseg_bids.evaluation.pairs import (
    CANDIDATE_TABLE,
    CANDIDATES,
    Lesions,
    ScanPair,
    crop_to_lesions,
    pair_trees,
    read_image,
    read_labels,
    read_pair,
    read_table,
    required_siblings,
    sibling,
)
from mbseg_bids.evaluation.replay import ScanMaps, segment_blocks
from mbseg_bids.evaluation.trees import (
    ALL,
    COUNTED,
    METRICS,
    scan_columns,
    score_scan,
    smallest_volume,
    with_differences,
)
from mbseg_bids.imaging.labels import REGIONS
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.settings import DetectionSettings

RATIO, PROBABILITY, LESION_PROBABILITY = "ratio_threshold", "probability_threshold", "lesion_probability"
THRESHOLDS: dict[str, tuple[float, ...]] = {
    RATIO: tuple(round(1 + step / 10, 1) for step in range(11)),
    PROBABILITY: tuple(round(0.5 + step / 20, 2) for step in range(10)),
    LESION_PROBABILITY: tuple(round(step / 20, 2) for step in range(20)),
}
"""Thresholds of each sweep. The map of a run holds nothing below the probability threshold of that run beyond the
seeds of its search, so lower ones would show lesions that are too small."""

MAPS = {
    "t2star": "space-T2starw_desc-preproc_T2starw.nii.gz",
    "probability": "space-T2starw_label-CMB_probseg.nii.gz",
    "brain": "space-T2starw_desc-brain_mask.nii.gz",
    "regions": "space-T2starw_seg-regions_dseg.nii.gz",
}
_KEPT = ("n/a", "second_look")
"""Reasons of candidates that no step but the candidate classifier may have rejected."""
BY = ("parameter", "threshold", "match", "region")


def sweep_trees(
    truth_tree: Path,
    result_tree: Path,
    settings: DetectionSettings,
    *,
    thresholds: Mapping[str, Sequence[float]] = THRESHOLDS,
    rules: Sequence[MatchRule] = ("overlap",),
    maximum_distance: float = 5.0,
    minimum_volume: float = 0.0,
    minimum_diameter: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Score a result at a row of thresholds.

    Parameters
    ----------
    truth_tree, result_tree
        Derivative trees; the result must be of this package, with its maps.
    settings
        All other settings of detection. The candidate classifier is left out of the first two sweeps: they show the
        method of the paper.
    thresholds
        By parameter. ``ratio_threshold``: one and the same in every region, so that each curve is of one threshold.
        ``probability_threshold``: of the network's map. ``lesion_probability``: of the candidate classifier; candidates
        that another step rejected stay out. It needs the table of candidates alone.
    rules, maximum_distance, minimum_volume, minimum_diameter, progress
        As in :func:`mbseg_bids.evaluation.trees.score_trees`.

    Returns
    -------
    One row for each scan, parameter, threshold, match rule and region: what was counted.

    Raises
    ------
    MissingImageError
        If a map is missing.
    NothingSelectedError, UnreadableDataError
        As in :func:`mbseg_bids.evaluation.trees.score_trees`.
    """
    pairs, _ = pair_trees(truth_tree, result_tree)
    rerun = {name: values for name, values in thresholds.items() if name != LESION_PROBABILITY}
    _check(pairs, maps=bool(rerun), candidates=LESION_PROBABILITY in thresholds)
    limit = smallest_volume(minimum_volume, minimum_diameter)
    paper = replace(settings, reader_criteria=False, second_look=False)
    rows = []
    for done, pair in enumerate(pairs, start=1):
        truth = read_pair(pair)[0]
        results = _segmentations(pair, paper, rerun) if rerun else {}
        if LESION_PROBABILITY in thresholds:
            results |= _kept_candidates(pair, thresholds[LESION_PROBABILITY])
        for (parameter, threshold), found in results.items():
            point = {"parameter": parameter, "threshold": threshold}
            near_truth, near_found = crop_to_lesions(truth, found)
            counts, _ = score_scan(near_truth, near_found, rules, maximum_distance, limit, sizes=(COUNTED,))
            rows += [scan_columns(pair, truth.labels) | point | row for row in counts]
        if progress:
            progress(done, len(pairs))
    return pd.DataFrame(rows).drop(columns=["size", "lesion_free", "sum_of_voxel_dice", "n_voxel_dice"])


def pool_sweep(counts: pd.DataFrame, bootstrap: Bootstrap | None = None) -> pd.DataFrame:
    """Pool what :func:`sweep_trees` counted over scans: one row for each threshold and region, with intervals."""
    counts = counts.drop(columns=[c for c in counts if "voxel" in c])
    pooled = with_differences(pool(counts, BY, METRICS, bootstrap))
    something = (pooled["n_truth"] > 0) | (pooled["n_predicted"] > 0) | pooled["region"].isin((ALL, *REGIONS.values()))
    return pooled[something].reset_index(drop=True)


def settings_at(settings: DetectionSettings, parameter: str, value: float) -> DetectionSettings:
    """Return the settings with a threshold replaced; that of the ratio rule in every region."""
    if parameter == RATIO:
        return replace(settings, ratio_threshold=value, ratio_threshold_deep_gm=value)
    changes: dict[str, Any] = {parameter: value}
    return replace(settings, **changes)


def _check(pairs: Sequence[ScanPair], *, maps: bool, candidates: bool) -> None:
    """Look for every file, compare every grid, before anything is computed."""
    endings = [*(MAPS.values() if maps else ()), *((CANDIDATES, CANDIDATE_TABLE) if candidates else ())]
    for pair in pairs:
        paths = required_siblings(pair, endings)
        if candidates:
            read_table(paths[-1], ["index", "reason", "region", "lesion_probability"])


def _segmentations(
    pair: ScanPair, settings: DetectionSettings, thresholds: Mapping[str, Sequence[float]]
) -> dict[tuple[str, float], Lesions]:
    volumes = {}
    for name, ending in MAPS.items():
        path = sibling(pair.result, ending)
        image, values = read_image(path)
        volumes[name] = read_labels(path) if name == "regions" else Volume(np.asarray(values, np.float32), image.affine)
    if not np.isfinite(volumes["t2star"].data).all() or not 0 <= volumes["probability"].data.max(initial=0) <= 1:
        raise UnreadableDataError(f"the maps of {pair.name} hold impossible values", "run the participant level again")
    settings_of = {
        (parameter, value): settings_at(settings, parameter, value)
        for parameter, values in thresholds.items()
        for value in values
    }
    maps = ScanMaps.from_native(**volumes)
    blocks = maps.blocks(min(chosen.probability_threshold for chosen in settings_of.values()))
    return {point: segment_blocks(blocks, chosen, maps.shape, maps.affine) for point, chosen in settings_of.items()}


def _kept_candidates(pair: ScanPair, values: Sequence[float]) -> dict[tuple[str, float], Lesions]:
    """Return the candidates that reach each probability of the candidate classifier; lesions of their whole extent."""
    labels = read_labels(sibling(pair.result, CANDIDATES))
    table = read_table(sibling(pair.result, CANDIDATE_TABLE))
    table = table[table["reason"].isin(_KEPT)]
    index = table["index"].astype(int).to_numpy()
    probability = pd.to_numeric(table["lesion_probability"], errors="coerce").to_numpy()
    regions = dict(zip(index.tolist(), table["region"].tolist(), strict=True))
    return {
        (LESION_PROBABILITY, value): Lesions(
            labels.with_data(np.where(np.isin(labels.data, index[probability >= value]), labels.data, 0)), regions
        )
        for value in values
    }
