"""Sweeps over a scan whose lesions have known ratios and probabilities."""

import numpy as np
import pandas as pd
import pytest
from derivative_trees import write_image, write_lesions, write_table

from mbseg_bids.errors import MissingImageError, UnreadableDataError
from mbseg_bids.evaluation.sweep import pool_sweep, settings_at, sweep_trees
from mbseg_bids.settings import DetectionSettings

GRID = {"spacing": (1.0, 1.0, 3.0)}
SHAPE = (40, 40, 8)
PLACES = {"faint": (8, 8, 4), "dark": (20, 20, 4), "mimic": (32, 32, 4)}


@pytest.fixture
def trees(tmp_path):
    """Tissue of 100; a faint lesion of 80 (ratio 1.25), a dark one of 50 (ratio 2), a mimic of 60 (ratio 1.67)."""
    truth, result = tmp_path / "truth", tmp_path / "result"
    t2star, probability = np.full(SHAPE, 100, np.float32), np.zeros(SHAPE, np.float32)
    for name, value, sure in (("faint", 80, 0.95), ("dark", 50, 0.75), ("mimic", 60, 0.55)):
        i, j, k = PLACES[name]
        t2star[i : i + 2, j : j + 2, k] = value
        probability[i : i + 2, j : j + 2, k] = sure

    def blob(name):
        i, j, k = PLACES[name]
        return [(i + a, j + b, k) for a in (0, 1) for b in (0, 1)]

    regions = np.full(SHAPE, 3, np.uint8)
    regions[:15] = 2
    true = {1: blob("faint"), 2: blob("dark")}
    write_lesions(truth, "sub-01", true, {1: "deep_gm", 2: "cerebral_wm"}, shape=SHAPE, **GRID)
    write_lesions(result, "sub-01", {}, {}, shape=SHAPE, **GRID)
    write_image(result, "sub-01", "desc-preproc_T2starw", t2star, **GRID)
    write_image(result, "sub-01", "label-CMB_probseg", probability, **GRID)
    write_image(result, "sub-01", "desc-brain_mask", np.ones(SHAPE, np.uint8), **GRID)
    write_image(result, "sub-01", "seg-regions_dseg", regions, **GRID)
    found = {1: blob("faint"), 2: blob("dark"), 3: blob("mimic")}
    candidates = write_lesions(result, "sub-01", found, shape=SHAPE, ending="seg-CMBcandidates_dseg", **GRID)
    write_table(
        candidates,
        pd.DataFrame(
            {
                "index": [1, 2, 3],
                "reason": ["second_look", "n/a", "n/a"],
                "region": ["deep_gm", "cerebral_wm", "cerebral_wm"],
                "lesion_probability": [0.2, 0.9, 0.4],
            }
        ),
    )
    return truth, result


def counts(pooled, parameter, region="all"):
    """(found, false) by threshold."""
    rows = pooled[(pooled["parameter"] == parameter) & (pooled["region"] == region)]
    return {row.threshold: (row.n_detected, row.n_false) for row in rows.itertuples()}


def sweep(trees, **thresholds):
    return pool_sweep(sweep_trees(*trees, DetectionSettings(), thresholds=thresholds))


def test_ratio_threshold_removes_lesions_in_the_order_of_their_ratio(trees):
    pooled = sweep(trees, ratio_threshold=(1.0, 1.2, 1.3, 1.6, 1.7, 2.1))
    expected = {1.0: (2, 1), 1.2: (2, 1), 1.3: (1, 1), 1.6: (1, 1), 1.7: (1, 0), 2.1: (0, 0)}
    assert counts(pooled, "ratio_threshold") == expected
    # In deep grey matter too the one threshold rules: its own default of 1.4 would have removed the lesion at 1.2.
    assert counts(pooled, "ratio_threshold", "deep_gm")[1.2] == (1, 0)
    row = pooled[(pooled["threshold"] == 1.3) & (pooled["region"] == "all")].iloc[0]
    assert (row["sensitivity"], row["precision"], row["dice"]) == (0.5, 0.5, 0.5)


def test_probability_threshold(trees):
    """At the usual ratios the faint lesion, in deep grey matter (1.4), is gone."""
    pooled = sweep(trees, probability_threshold=(0.5, 0.6, 0.8))
    assert counts(pooled, "probability_threshold") == {0.5: (1, 1), 0.6: (1, 0), 0.8: (0, 0)}


def test_probability_of_the_second_look_needs_the_candidates_alone(trees):
    next(trees[1].glob("**/*probseg.nii.gz")).unlink()
    pooled = sweep(trees, lesion_probability=(0.0, 0.3, 0.5))
    assert counts(pooled, "lesion_probability") == {0.0: (2, 1), 0.3: (1, 1), 0.5: (1, 0)}


def test_small_true_lesions_do_not_count(trees):
    """Every lesion has 12 mm3."""
    counted = sweep_trees(*trees, DetectionSettings(), thresholds={"ratio_threshold": [1.2]}, minimum_volume=13)
    row = pool_sweep(counted).iloc[0]
    assert (row["n_truth"], row["n_false"]) == (0, 1)


def test_missing_maps_are_an_error_before_anything_is_computed(trees):
    path = next(trees[1].glob("**/*probseg.nii.gz"))
    path.unlink()
    done = []
    with pytest.raises(MissingImageError, match=path.name):
        sweep_trees(*trees, DetectionSettings(), progress=lambda *count: done.append(count))
    assert not done


def test_a_result_without_second_look_is_an_error(trees):
    path = next(trees[1].glob("**/*candidates_dseg.tsv"))
    pd.read_csv(path, sep="\t").drop(columns="lesion_probability").to_csv(path, sep="\t", index=False)
    with pytest.raises(UnreadableDataError, match="no column lesion_probability"):
        sweep(trees, lesion_probability=(0.5,))


def test_settings_at_a_threshold():
    ratio = settings_at(DetectionSettings(), "ratio_threshold", 1.7)
    assert (ratio.ratio_threshold, ratio.ratio_threshold_deep_gm) == (1.7, 1.7)
    assert settings_at(DetectionSettings(), "probability_threshold", 0.6).probability_threshold == 0.6
