import numpy as np
import pandas as pd
import pytest

from mbseg_bids.detection.network.resnet import build_network
from mbseg_bids.detection.network.weights import WeightsMetadata
from mbseg_bids.learning.examples.patch_set import KINDS
from mbseg_bids.learning.examples.sampling import MicrobleedCounts
from mbseg_bids.learning.examples.simulated import cut_case
from mbseg_bids.learning.stages import scan_scores
from mbseg_bids.learning.stages.scan_scores import probability_map, score_scan
from mbseg_bids.settings import DetectionSettings
from mbseg_bids.simulation.case import Case


@pytest.fixture
def case():
    """Even tissue with two dark lesions, 3 x 3 x 1 voxels of 3 mm3 each, and a dark mimic."""
    shape = (40, 40, 6)
    brain = np.zeros(shape, bool)
    brain[4:36, 4:36] = True
    stack = np.where(brain, np.float32(60), 0)[None].repeat(3, axis=0).astype(np.float32)
    lesions, mimics = np.zeros(shape, np.int32), np.zeros(shape, np.uint8)
    for number, corner in enumerate(((10, 10, 2), (25, 25, 4)), start=1):
        lesions[corner[0] : corner[0] + 3, corner[1] : corner[1] + 3, corner[2]] = number
    mimics[25:28, 10:13, 2] = 1
    stack[0][(lesions > 0) | (mimics > 0)] = 20
    tissue, regions = brain * np.uint8(3), brain * np.uint8(3)
    tissue[4:8] = np.where(brain[4:8], 1, 0)
    return Case(
        stack, lesions, pd.DataFrame(), mimics, tissue, regions, brain, (1.0, 1.0, 3.0), np.diag([1.0, 1, 3, 1]), None
    )


def test_a_lesion_found_a_lesion_missed_and_a_false_one_are_counted(case):
    probability = np.where((case.lesions == 1) | (case.mimics > 0), np.float32(0.8), 0)
    score, result = score_scan(case, probability, DetectionSettings())
    assert (score.score.n_truth, score.score.n_detected, score.score.n_false) == (2, 1, 1)
    assert score.dice == pytest.approx(2 * 9 / (18 + 18))
    assert result.lesions.max() == 2


def test_the_threshold_decides_what_is_found(case):
    probability = np.where(case.lesions > 0, np.float32(0.8), 0)
    assert score_scan(case, probability, DetectionSettings(), threshold=0.9)[0].score.n_detected == 0
    assert score_scan(case, probability, DetectionSettings(), threshold=0.7)[0].dice == 1


def test_the_network_is_asked_within_the_search_mask_only_and_at_every_dark_spot(case):
    metadata = WeightsMetadata("trial", input_size=32)
    found = probability_map(build_network(seed=0).eval(), metadata, case, DetectionSettings(), threshold=2.0)
    dark = (case.lesions > 0) | (case.mimics > 0)
    assert not (found > 0)[~dark].any()
    assert all((found[case.lesions == label] > 0).any() for label in (1, 2))


def test_the_search_follows_what_is_positive_to_its_end(case):
    metadata = WeightsMetadata("trial", input_size=32)
    found = probability_map(build_network(seed=0).eval(), metadata, case, DetectionSettings(), threshold=0.0)
    np.testing.assert_array_equal(found > 0, (case.lesions > 0) | (case.mimics > 0))


def test_a_lesion_whose_darkest_voxel_is_in_doubt_is_found(case, monkeypatch):
    """The middle of each dark spot, the one seed in it, gets 0.25; the rest of the lesions 0.9."""
    middles = ([11, 26], [11, 26], [2, 4])
    case.stack[0][middles] = 15
    truth = np.where(case.lesions > 0, np.float32(0.9), np.float32(0.1))
    truth[middles] = 0.25
    monkeypatch.setattr(scan_scores, "classifier", lambda *_, **__: lambda voxels: truth[tuple(voxels.T)])
    found, given_up = (
        probability_map(None, None, case, DetectionSettings(follow_threshold=follow)) for follow in (0.2, 0.28)
    )
    np.testing.assert_array_equal(found[case.lesions > 0], truth[case.lesions > 0])
    assert given_up.max() == np.float32(0.25)


def test_the_search_grows_from_no_more_than_the_threshold_of_a_lesion():
    assert DetectionSettings().followed == 0.2
    assert DetectionSettings(probability_threshold=0.1).followed == 0.1


def test_patches_of_a_scan_come_from_its_own_search_mask(case, rng):
    counts = MicrobleedCounts(background=20, candidate=50, mimic=20, surround=5)
    patches = cut_case(case, 3, rng, counts=counts, n_tissue=40)
    kinds = np.bincount(patches.microbleed.kinds, minlength=8)
    assert kinds[KINDS["lesion"]] == 18
    assert kinds[KINDS["mimic"]] == 9
    assert kinds[KINDS["candidate"]] == 0  # nothing else is dark
    assert np.bincount(patches.tissue.kinds).tolist() == [20, 20]
    assert set(patches.tissue.participants) == {3}
