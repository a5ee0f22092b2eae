"""The additive model of the candidate classifier, by hand."""

import json
import math

import numpy as np
import pytest

from mbseg_bids.detection.candidates.classifier import CandidateClassifier, Curve, load_candidate_classifier
from mbseg_bids.detection.candidates.features import FEATURES
from mbseg_bids.errors import UnreadableDataError

MODEL = CandidateClassifier(
    -1.0,
    {"contrast": Curve((0.0, 1.0), (-2.0, 2.0)), "elongation": Curve((1.0, 2.0, 4.0), (1.0, 0.0, -3.0))},
    {"scans": 3},
)


def features(**known):
    return dict.fromkeys(FEATURES, math.nan) | known


@pytest.mark.parametrize(("value", "expected"), [(-1, -2), (0, -2), (0.25, -1), (1, 2), (9, 2), (math.nan, 0)])
def test_a_curve_is_linear_between_its_points_and_constant_beyond(value, expected):
    assert MODEL.curves["contrast"](value) == expected


def test_probability_is_the_logistic_of_the_sum():
    assert MODEL.probability(features()) == pytest.approx(1 / (1 + math.e))
    assert MODEL.probability(features(contrast=1.0, elongation=3.0)) == pytest.approx(1 / (1 + math.exp(0.5)))


def test_thresholds_belong_to_the_better_class():
    sure = features(contrast=1.0, elongation=1.0)
    probability = MODEL.probability(sure)
    assert MODEL.judge(sure, threshold=0.3, definite=probability).certainty == "definite"
    assert MODEL.judge(sure, threshold=probability, definite=0.99).certainty == "possible"
    assert MODEL.judge(sure, threshold=probability + 1e-9, definite=0.99).certainty == "mimic"


def test_a_mimic_has_the_reason_that_weighs_most():
    assert MODEL.judge(features(contrast=0.4, elongation=4), threshold=0.5, definite=0.9).against == "vessel_like"
    assert MODEL.judge(features(contrast=0.0, elongation=2), threshold=0.5, definite=0.9).against == "faint"
    assert MODEL.judge(features(contrast=1.0, elongation=1), threshold=0.5, definite=0.9).against == ""


def test_extreme_values_overflow_nothing():
    huge = CandidateClassifier(0.0, {"contrast": Curve((0.0,), (-1e6,))})
    assert huge.probability(features(contrast=1.0)) == pytest.approx(0)


def test_a_model_survives_its_file(tmp_path):
    path = tmp_path / "model.json"
    path.write_text(MODEL.to_json(), encoding="utf-8")
    assert load_candidate_classifier(path) == MODEL


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:40],
        lambda text: text.replace("elongation", "colour"),
        lambda text: text.replace("4.0", "NaN"),
        lambda text: text.replace("4.0", "0.5"),
        lambda text: json.dumps({**json.loads(text), "curves": [1]}),
        lambda _: "[]",
    ],
)
def test_a_damaged_model_is_refused(tmp_path, damage):
    path = tmp_path / "model.json"
    path.write_text(damage(MODEL.to_json()), encoding="utf-8")
    with pytest.raises(UnreadableDataError, match="candidate classifier"):
        load_candidate_classifier(path)


def test_the_shipped_model_measures_what_this_version_does():
    model = load_candidate_classifier()
    assert set(model.curves) <= set(FEATURES)
    assert 0 < model.probability(features()) < 1
    # By construction a microbleed in white matter: round, dark, alone, sure to both networks.
    clear = features(
        **{"elongation": 1.1, "blobness": 0.9, "dark_extent": 0.0, "across_slices": 0.02, "in_plane": 0.02},
        **{"structure_elongation": 1.2, "structure_volume": 0.1, "line_from": 0.02, "log_volume": 2.7},
        **{"contrast": 0.7, "darkest": 1.0, "probability_max": 6.0, "probability_mean": 3.0, "csf_share": 0.0},
        neighbourhood=4.0,
    )
    vein = clear | {"across_slices": 0.9, "across_slices_weaker": 0.7, "dark_extent": 9.0, "elongation": 3.0}
    vein |= {"structure_elongation": 4.0, "structure_volume": 2.5, "line_from": 0.5, "neighbourhood": -4.0}
    assert model.probability(clear) > 0.5 > model.probability(vein)
    assert np.isfinite(model.intercept)
