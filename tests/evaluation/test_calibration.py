"""Calibration measures done by hand."""

import numpy as np
import pandas as pd
import pytest
from derivative_trees import write_lesions, write_table

from mbseg_bids.errors import MissingImageError, NothingSelectedError, UnreadableDataError
from mbseg_bids.evaluation.calibration import calibrate, judged_candidates


def judged(probability, is_true, participants=None):
    names = participants or [f"sub-{i:03d}" for i in range(len(probability))]
    return pd.DataFrame({"participant_id": names, "probability": probability, "is_true": is_true})


def measures(calibration):
    return dict(zip(calibration.measures["measure"], calibration.measures["value"], strict=True))


def test_measures_by_hand():
    """Bins 0.2-0.4: mean 0.3, one half true; 0.8-1: mean 0.9, all true."""
    found = calibrate(judged([0.2, 0.4 - 1e-9, 0.9, 0.9], [0, 1, 1, 1]), n_bins=5)
    bins = found.bins
    assert bins[["probability_from", "probability_to"]].values.tolist() == [[0.2, 0.4], [0.8, 1.0]]
    assert bins["n_candidates"].tolist() == [2, 2]
    assert bins["observed"].tolist() == [0.5, 1.0]
    assert bins["probability_mean"].tolist() == pytest.approx([0.3, 0.9])
    values = measures(found)
    assert values["expected_calibration_error"] == pytest.approx((2 * 0.2 + 2 * 0.1) / 4)
    assert values["maximum_calibration_error"] == pytest.approx(0.2)
    brier = (0.04 + 0.36 + 0.01 + 0.01) / 4
    assert values["brier_score"] == pytest.approx(brier)
    assert values["prevalence"] == 0.75
    assert values["brier_skill_score"] == pytest.approx(1 - brier / (0.75 * 0.25))


def test_ends_of_bins():
    found = calibrate(judged([0.0, 0.29, 1.0], [0, 0, 1]), n_bins=100)
    assert found.bins["probability_from"].tolist() == [0.0, 0.29, 0.99]


def test_perfect_and_useless_probabilities():
    perfect = measures(calibrate(judged([0, 1, 1, 0], [0, 1, 1, 0])))
    assert (perfect["brier_score"], perfect["brier_skill_score"], perfect["expected_calibration_error"]) == (0, 1, 0)
    useless = measures(calibrate(judged([0.5] * 4, [0, 1, 1, 0])))
    assert (useless["brier_skill_score"], useless["expected_calibration_error"]) == (0, 0)


def test_true_probabilities_are_found_calibrated(rng):
    probability = rng.uniform(0, 1, 20000)
    participants = [f"sub-{i % 50}" for i in range(20000)]
    found = calibrate(judged(probability, (rng.uniform(0, 1, 20000) < probability).astype(int), participants))
    assert measures(found)["expected_calibration_error"] < 0.02
    assert measures(found)["brier_score"] == pytest.approx(1 / 6, abs=0.005)  # mean of p (1 - p)


def test_order_of_candidates_does_not_matter(rng):
    frame = judged(rng.uniform(0, 1, 60), rng.integers(0, 2, 60), [f"sub-{i % 7}" for i in range(60)])
    there, back = calibrate(frame), calibrate(frame.sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(there.bins, back.bins)
    pd.testing.assert_frame_equal(there.measures, back.measures)


@pytest.fixture
def trees(tmp_path):
    """Truth: 1 at the origin (8 mm3), 2 in the far corner (16 mm3). Candidates: both, a false one, an unjudged one."""
    truth, result = tmp_path / "truth", tmp_path / "result"
    write_lesions(truth, "sub-01", {1: [(0, 0, 0)], 2: [(3, 3, 3), (3, 3, 2)]}, {1: "deep_gm", 2: "deep_gm"})
    write_lesions(result, "sub-01", {}, {})
    places = {1: [(0, 0, 0)], 2: [(3, 3, 3)], 3: [(0, 3, 0)], 4: [(3, 0, 0)]}
    image = write_lesions(result, "sub-01", places, ending="seg-CMBcandidates_dseg")
    table = pd.DataFrame({"index": [1, 2, 3, 4], "region": "deep_gm", "lesion_probability": [0.9, 0.8, 0.1, np.nan]})
    write_table(image, table)
    return truth, result


def test_candidates_are_judged_by_the_truth(trees):
    found = judged_candidates(*trees)
    assert found[["index", "probability", "is_true"]].values.tolist() == [[1, 0.9, 1], [2, 0.8, 1], [3, 0.1, 0]]
    assert found["spacing"].unique().tolist() == ["2x2x2"]
    assert judged_candidates(*trees, minimum_volume=9)["index"].tolist() == [2, 3]  # 1 is of a lesion too small


def test_what_cannot_be_judged_is_an_error(trees):
    table = next(trees[1].glob("**/*candidates_dseg.tsv"))
    whole = pd.read_csv(table, sep="\t")
    with pytest.raises(UnreadableDataError, match="no column probability_max"):
        judged_candidates(*trees, score="probability_max")
    for change, error in (
        ({"lesion_probability": "n/a"}, NothingSelectedError),
        ({"lesion_probability": 1.5}, UnreadableDataError),
        ({"index": [1, 2, 9, 4]}, UnreadableDataError),
    ):
        whole.assign(**change).to_csv(table, sep="\t", index=False)
        with pytest.raises(error):
            judged_candidates(*trees)
    table.unlink()
    with pytest.raises(MissingImageError):
        judged_candidates(*trees)
