"""Whether a probability of the candidate classifier means what it says: reliability, calibration errors, Brier score.

References: Brier 1950; Murphy and Winkler 1977 (reliability); Naeini et al. 2015 (expected calibration error).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from mbseg_bids.errors import NothingSelectedError, UnreadableDataError
from mbseg_bids.evaluation.intervals import PARTICIPANT, Bootstrap, Metric, pool
from mbseg_bids.evaluation.lesion import MatchRule, match_lesions
from mbseg_bids.evaluation.pairs import (
    CANDIDATE_TABLE,
    CANDIDATES,
    Lesions,
    ScanPair,
    crop_to_lesions,
    pair_trees,
    read_labels,
    read_pair,
    read_table,
    required_siblings,
    sibling,
)
from mbseg_bids.evaluation.trees import scan_columns, smallest_volume

SCORES = ("lesion_probability", "probability_mean", "probability_max")
"""Columns of the table of candidates that say how likely a microbleed is."""
MEASURES = (
    Metric("brier_score", {"squared_error": 1}, {"n_candidates": 1}, kind="mean"),
    Metric("prevalence", {"n_true": 1}, {"n_candidates": 1}),
    Metric("mean_probability", {"sum_of_probability": 1}, {"n_candidates": 1}, kind="mean"),
)


@dataclass(frozen=True, eq=False)
class Calibration:
    """How a probability is calibrated.

    Attributes
    ----------
    bins
        Reliability table: one row a bin of probability, with the share of microbleeds in it and its interval.
    measures
        One row a measure, with its interval.
    """

    bins: pd.DataFrame
    measures: pd.DataFrame


def judged_candidates(
    truth_tree: Path,
    result_tree: Path,
    *,
    score: str = SCORES[0],
    rule: MatchRule = "overlap",
    maximum_distance: float = 5.0,
    minimum_volume: float = 0.0,
    minimum_diameter: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Return every candidate that has a probability, and whether it is in the truth.

    Parameters
    ----------
    truth_tree, result_tree
        Derivative trees; the result must be of this package, with its candidates.
    score
        Column of the table of candidates, one of :data:`SCORES`. Candidates without a value are left out: the second
        look judges what the intensity ratio rule leaves.
    rule, maximum_distance, minimum_volume, minimum_diameter, progress
        As in :func:`mbseg_bids.evaluation.trees.score_trees`; candidates that match true lesions below the smallest
        size alone are left out.

    Returns
    -------
    Columns participant_id, session_id, spacing, index, region, probability, is_true (0 or 1).

    Raises
    ------
    NothingSelectedError
        If no candidate has a value; or as in :func:`mbseg_bids.evaluation.trees.score_trees`.
    MissingImageError, UnreadableDataError
        If a table or image is missing, or not what it should be.
    """
    pairs, _ = pair_trees(truth_tree, result_tree)
    tables = [_candidate_table(pair, score) for pair in pairs]
    limit = smallest_volume(minimum_volume, minimum_diameter)
    rows = []
    for done, (pair, table) in enumerate(zip(pairs, tables, strict=True), start=1):
        candidates = Lesions(read_labels(sibling(pair.result, CANDIDATES)), {})
        whole = read_pair(pair)[0]
        truth, found = crop_to_lesions(whole, candidates)
        matches = match_lesions(
            truth.labels.data,
            found.labels.data,
            truth.labels.spacing,
            rule=rule,
            maximum_distance=maximum_distance,
            minimum_volume=limit,
        )
        absent = set(table["index"]) - set(np.unique(found.labels.data).tolist())
        if absent:
            raise UnreadableDataError(
                f"the candidates {sorted(absent)} of {pair.name} are in the table and not in the image",
                "run the participant level again",
            )
        for candidate in table.itertuples(index=False):
            if candidate.index not in matches.ignored_predicted:
                verdict = {
                    "index": candidate.index,
                    "region": candidate.region,
                    "probability": candidate.probability,
                    "is_true": int(candidate.index in matches.correct),
                }
                rows.append(scan_columns(pair, whole.labels) | verdict)
        if progress:
            progress(done, len(pairs))
    if not rows:
        raise NothingSelectedError(
            f"no candidate in {result_tree} has a {score}", "run the participant level with the candidate classifier"
        )
    return pd.DataFrame(rows)


def calibrate(judged: pd.DataFrame, n_bins: int = 10, bootstrap: Bootstrap | None = None) -> Calibration:
    """Compare probabilities with what is true.

    Parameters
    ----------
    judged
        Columns participant_id, probability (0-1), is_true (0 or 1), as of :func:`judged_candidates`.
    n_bins
        Bins of equal width; a bin includes its lower end, the last one both.
    bootstrap
        How intervals are made.

    Returns
    -------
    Calibration. Expected calibration error: mean over candidates of |share of microbleeds in the bin - mean
    probability in the bin|. It is never below zero, so sampling alone makes it positive, and its bootstrap interval
    lies somewhat high. Brier score: mean squared difference of probability and truth; the Brier skill score compares
    it with that of always saying the prevalence (1: perfect, 0: no better).
    """
    bootstrap = bootstrap or Bootstrap()
    bin_of = np.searchsorted(np.arange(1, n_bins) / n_bins, judged["probability"].to_numpy(float), side="right")
    counts = pd.DataFrame(
        {
            PARTICIPANT: judged[PARTICIPANT],
            "bin": bin_of,
            "n_candidates": 1,
            "n_true": judged["is_true"],
            "sum_of_probability": judged["probability"],
            "squared_error": (judged["probability"] - judged["is_true"]) ** 2,
        }
    )
    share = Metric("observed", {"n_true": 1}, {"n_candidates": 1})
    bins = pool(counts, ["bin"], [share], bootstrap).sort_values("bin", ignore_index=True)
    bins.insert(1, "probability_from", bins["bin"] / n_bins)
    bins.insert(2, "probability_to", (bins["bin"] + 1) / n_bins)
    bins["probability_mean"] = bins["sum_of_probability"] / bins["n_candidates"]
    bins = bins.drop(columns=["bin", "sum_of_probability", "squared_error"])

    totals = pool(counts.drop(columns="bin").assign(which="all"), ["which"], MEASURES, bootstrap).iloc[0]
    rows = []
    for metric in MEASURES:
        value, low, high, method = (totals[column] for column in metric.columns())
        rows.append({"measure": metric.name, "value": value, "value_low": low, "value_high": high}
                    | {"value_interval": method})  # fmt: skip
    rows += _binned_measures(counts, n_bins, bootstrap)
    measures = pd.DataFrame(rows)
    measures.insert(1, "n_participants", int(totals["n_participants"]))
    measures.insert(2, "n_candidates", int(totals["n_candidates"]))
    return Calibration(bins, measures)


def _binned_measures(counts: pd.DataFrame, n_bins: int, bootstrap: Bootstrap) -> list[dict]:
    """Return what is not a ratio of sums: calibration errors and the Brier skill score, with bootstrap intervals."""
    person, people = pd.factorize(counts[PARTICIPANT], sort=True)
    sums = np.zeros((4, len(people), n_bins))
    for row, name in enumerate(("n_candidates", "n_true", "sum_of_probability", "squared_error")):
        np.add.at(sums[row], (person, counts["bin"].to_numpy()), counts[name].to_numpy(float))
    values = _from_sums(sums.sum(axis=1)[:, None])
    resampled = {}
    if bootstrap.resamples and len(people) > 1:
        resampled = _from_sums(np.stack([bootstrap.weights(len(people)) @ part for part in sums]))
    rows = []
    for name, value in values.items():
        low, high = bootstrap.percentiles(resampled[name]) if resampled else (np.nan, np.nan)
        measured = {"measure": name, "value": float(value[0]), "value_low": float(low), "value_high": float(high)}
        rows.append(measured | {"value_interval": "none" if np.isnan(low) else "bootstrap"})
    return rows


def _from_sums(sums: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
    """Return the measures of samples, from sums of shape (4, samples, bins)."""
    n, true, probability, squared = sums
    total = n.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        gaps = np.abs(true - probability) / np.where(n > 0, n, np.inf)
        prevalence = true.sum(axis=1) / total
        reference = prevalence * (1 - prevalence)
        return {
            "expected_calibration_error": np.abs(true - probability).sum(axis=1) / total,
            "maximum_calibration_error": gaps.max(axis=1),
            "brier_skill_score": 1 - squared.sum(axis=1) / total / np.where(reference > 0, reference, np.nan),
        }


def _candidate_table(pair: ScanPair, score: str) -> pd.DataFrame:
    """Return index, region and probability of the candidates that have one."""
    _, path = required_siblings(pair, (CANDIDATES, CANDIDATE_TABLE))
    table = read_table(path, ["index", "region", score])
    table = table[~table[score].isin(["n/a", ""])]
    return pd.DataFrame(
        {
            "index": _numbers(table, "index", path).astype(int),
            "region": table["region"],
            "probability": _numbers(table, score, path, largest=1.0),
        }
    )


def _numbers(table: pd.DataFrame, column: str, path: Path, largest: float = np.inf) -> pd.Series:
    numbers = pd.to_numeric(table[column], errors="coerce").astype(float)
    wrong: Sequence[str] = table[column][~numbers.between(0, largest)].tolist()
    if wrong:
        raise UnreadableDataError(f"{path} has {column} {wrong[0]}", "run the participant level again")
    return numbers
