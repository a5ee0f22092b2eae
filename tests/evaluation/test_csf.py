from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from torch import nn

from mbseg_bids.detection.network.weights import WeightsMetadata
from mbseg_bids.evaluation import csf
from mbseg_bids.evaluation.csf import csf_probability, draw_csf, score_csf


@pytest.fixture
def truth():
    """1000 voxels of CSF in a brain of 4000."""
    truth = np.zeros((20, 20, 10), bool)
    truth[:10, :10] = True
    return truth


def test_a_known_overlap(truth):
    found = np.zeros(truth.shape, np.float32)
    found[5:15, :10] = 0.5  # half of the truth, and as much beside it
    score = score_csf(found, truth, np.ones(truth.shape, bool), (1.0, 1.0, 4.0))
    assert (score.dice, score.sensitivity, score.precision) == (0.5, 0.5, 0.5)
    assert (score.true_volume, score.found_volume) == (4.0, 4.0)  # 1000 voxels of 4 mm3


def test_a_generous_map_is_more_sensitive_than_precise(truth):
    found = np.where(np.pad(truth[:, :, :], 0), np.float32(1), 0)
    found[10:12, :10] = 1
    score = score_csf(found, truth, np.ones(truth.shape, bool), (1, 1, 1))
    assert score.dice == pytest.approx(2 * 1000 / 2200)
    assert (score.sensitivity, score.precision) == (1, pytest.approx(1000 / 1200))


def test_outside_the_brain_nothing_counts(truth):
    brain = np.zeros(truth.shape, bool)
    brain[:10, :10] = True
    score = score_csf(np.ones(truth.shape, np.float32), truth, brain, (1, 1, 1))
    assert (score.dice, score.found_volume) == (1, 1.0)


def test_nothing_true_and_nothing_found_is_no_number(truth):
    score = score_csf(np.zeros(truth.shape), truth & False, ~truth, (1, 1, 1))
    assert np.isnan(score.dice)
    with pytest.raises(ValueError, match="shapes"):
        score_csf(np.zeros((2, 2, 2)), truth, truth, (1, 1, 1))


def test_the_classifier_is_asked_about_every_brain_voxel_and_no_other(truth, monkeypatch):
    asked = []

    def classifier(model, metadata, stack, **_):
        def ask(voxels):
            asked.append((voxels, metadata.patch_size, metadata.input_size))
            return stack[0][tuple(voxels.T)] / 100

        return ask

    monkeypatch.setattr("mbseg_bids.evaluation.csf.classifier", classifier)
    stack = np.random.default_rng(0).uniform(1, 100, (3, *truth.shape)).astype(np.float32)
    found = csf_probability(nn.Identity(), WeightsMetadata("x", "csf", 28, 48), stack, truth)
    assert len(asked[0][0]) == truth.sum()
    assert asked[0][1:] == (28, 48)
    np.testing.assert_allclose(found, np.where(truth, stack[0] / 100, 0))


def test_the_picture_is_yellow_where_both_agree_purple_and_green_where_one_is_alone(truth):
    found = np.zeros(truth.shape, bool)
    found[5:15, :10] = True
    picture = draw_csf(np.full(truth.shape, 50.0), truth, {"network": found}, [2, 5])
    assert picture.startswith(b"\x89PNG")
    pixels = np.asarray(Image.open(BytesIO(picture)).convert("RGB")).astype(int)
    grey = np.array([127, 127, 127])
    for colour in (csf.BOTH, csf.TRUTH_ONLY, csf.FOUND_ONLY):
        wanted = 0.85 * np.array([int(colour[n : n + 2], 16) for n in (1, 3, 5)]) + 0.15 * grey
        assert (np.abs(pixels - wanted).max(axis=-1) < 8).sum() > 500
