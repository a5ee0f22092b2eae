"""Found and lost lesions by construction."""

import numpy as np
import pandas as pd
import pytest

from mbseg_bids.detection.lesions.segment import DetectionResult
from mbseg_bids.detection.lesions.tables import Tabulated
from mbseg_bids.planting.count import fates, not_planted
from mbseg_bids.planting.detect import Found

SHAPE = (30, 4, 4)
REASONS = {2: "intensity_ratio", 3: "second_look", 4: "n/a", 5: "n/a"}
"""Of the candidates; n/a: kept."""


def labels(*numbers):
    """Boxes of 2 x 2 x 2 voxels, number n from index 4 n - 4 on."""
    array = np.zeros(SHAPE, np.int32)
    for number in numbers:
        array[4 * number - 4 : 4 * number - 2, 1:3, 1:3] = number
    return array


@pytest.fixture
def found():
    """Six planted: lost at network, ratio rule, classifier, reported beside, found, never asked; one not planted."""
    truth = labels(1, 2, 3, 4, 5, 6)
    probability = np.where((truth > 1) & (truth < 6), 0.9, np.where(truth == 1, 0.3, 0)).astype(np.float32)
    lesions = labels(5, 7)
    lesions[4 * 4 - 2, 1, 1] = 4  # of the candidate, not of what was planted
    table = pd.DataFrame({"index": [4, 5, 7], "region": "deep_gm", "size_class": "small"})
    status = ["kept" if reason == "n/a" else "rejected" for reason in REASONS.values()]
    candidates = pd.DataFrame({"index": list(REASONS), "status": status, "reason": list(REASONS.values())})
    native = Tabulated(lesions, table, candidates)
    result = DetectionResult(lesions, labels(2, 3, 4, 5), table, candidates, lesions, {}, {})
    return Found(probability, (truth > 0) & (truth < 6), result, native)


def test_fates(found):
    truth = labels(1, 2, 3, 4, 5, 6)
    came = fates(truth, truth, found)
    assert {label: fate.lost_at for label, fate in came.items()} == {
        1: "network",
        2: "intensity_ratio",
        3: "second_look",
        4: "elsewhere",
        5: "",
        6: "not_searched",
    }
    assert [label for label, fate in came.items() if fate.found] == [5]
    assert came[1].probability == pytest.approx(0.3)
    assert came[6].probability == 0


def test_not_planted(found):
    truth, nothing = labels(1, 2, 3, 4, 5, 6), np.zeros(SHAPE, bool)
    assert [row["index"] for row in not_planted(truth, nothing, found)] == [4, 7]
    assert [row["index"] for row in not_planted(truth, labels(7) > 0, found)] == [4]
