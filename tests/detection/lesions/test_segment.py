"""From a probability map to tables, on volumes small enough to count by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from mbseg_bids.data.columns import describe_columns
from mbseg_bids.detection.candidates.classifier import CandidateClassifier, Curve
from mbseg_bids.detection.lesions.segment import DetectionResult, segment_lesions
from mbseg_bids.settings import DetectionSettings

SHAPE = (24, 24, 6)
SPACING = (1.0, 1.0, 3.0)
AFFINE = np.array([[-1.0, 0, 0, 10], [0, 1, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])  # axis 0 runs to the left
TISSUE = 60.0


class Scan:
    """A uniform brain in which spots are put."""

    def __init__(self):
        self.t2star = np.full(SHAPE, TISSUE, dtype=np.float32)
        self.probability = np.zeros(SHAPE, dtype=np.float32)
        self.brain = np.ones(SHAPE, dtype=bool)
        self.brain[:2] = self.brain[-2:] = self.brain[:, :2] = self.brain[:, -2:] = False
        self.regions = np.where(self.brain, 3, 0)

    def put(self, where, signal, probability=0.9):
        self.t2star[where], self.probability[where] = signal, probability
        return self

    def segment(self, second_look=None, **changes) -> DetectionResult:
        settings = DetectionSettings(**changes)
        stack = np.stack([self.t2star, self.t2star * 0, self.t2star * 0])
        arguments = (stack, self.probability, self.brain, self.regions, SPACING, AFFINE, settings)
        return segment_lesions(*arguments, tissue=np.where(self.brain, 3, 0), second_look=second_look)


SPOT = np.s_[10:12, 8:11, 2]  # 6 voxels, 18 mm3
UPPER = np.s_[15:17, 15:17, 4]  # 4 voxels, 12 mm3


def test_row_of_a_lesion_by_hand():
    scan = Scan().put(SPOT, 30.0)
    scan.probability[10, 8, 2] = 0.6
    result = scan.segment()
    assert len(result.lesion_table) == 1
    assert result.lesion_table.iloc[0].to_dict() == {
        "index": 1,
        "name": "CMB-001",
        "candidate_index": 1,
        "region": "cerebral_wm",
        "volume_mm3": 18.0,
        "n_voxels": 6,
        "diameter_mm": 3.25,  # (6 * 18 / pi) ** (1 / 3)
        "longest_diameter_mm": 3.25,  # its voxels' centres are 2.24 mm apart at most
        "size_class": "large",
        "i": 10,  # 10.5, to even
        "j": 9,
        "k": 2,
        "x_mm": -0.5,
        "y_mm": -11.0,
        "z_mm": 11.0,
        "n_slices": 1,
        "probability_mean": 0.85,
        "probability_max": 0.9,
        "contrast_ratio": 2.0,
        "ratio_threshold": 1.2,
        "parenchyma_share": 1.0,
        "core_brightness": pytest.approx(math.nan, nan_ok=True),
        "vessel_in_plane": 0.0,
        "vessel_across_slices": pytest.approx(math.nan, nan_ok=True),
        "lesion_probability": pytest.approx(math.nan, nan_ok=True),
        "certainty": "n/a",
        "flags": "n/a",
    }
    np.testing.assert_array_equal(result.lesions > 0, scan.probability > 0)


def test_row_of_its_candidate():
    row = Scan().put(SPOT, 30.0).segment().candidate_table.iloc[0]
    assert row[["index", "name", "status", "reason", "lesion_index", "flags"]].tolist() == [
        1,
        "CAND-001",
        "kept",
        "n/a",
        "1",
        "n/a",
    ]


def test_bright_candidate_is_rejected_by_the_ratio_rule():
    result = Scan().put(SPOT, 55.0).put(UPPER, 30.0).segment()
    assert result.candidate_table["status"].tolist() == ["rejected", "kept"]
    assert result.candidate_table["reason"].tolist() == ["intensity_ratio", "n/a"]
    assert result.candidate_table["contrast_ratio"].tolist() == [1.091, 2.0]
    assert result.candidate_table["lesion_index"].tolist() == ["n/a", "1"]
    assert result.lesions[UPPER].min() == 1
    assert not result.lesions[SPOT].any()


def test_lesions_are_numbered_upwards_without_gaps():
    result = Scan().put(SPOT, 30.0).put(UPPER, 30.0).segment()
    assert result.lesions[10, 8, 2] == 1
    assert result.lesions[15, 15, 4] == 2
    assert result.lesion_table["z_mm"].is_monotonic_increasing


def test_threshold_goes_by_region():
    """60 / 45 = 1.33 passes 1.2 and not 1.4."""
    scan = Scan().put(SPOT, 45.0)
    assert len(scan.segment().lesion_table) == 1
    scan.regions[SPOT] = 2
    assert scan.segment().lesion_table.empty
    kept = scan.segment(ratio_threshold_deep_gm=1.3).lesion_table
    assert kept[["region", "ratio_threshold"]].values.tolist() == [["deep_gm", 1.3]]


def test_probability_threshold_is_inclusive():
    assert len(Scan().put(SPOT, 30.0, probability=0.3).segment().lesion_table) == 1
    assert Scan().put(SPOT, 30.0, probability=0.299).segment().candidate_table.empty
    assert len(Scan().put(SPOT, 30.0, probability=0.4).segment(probability_threshold=0.4).lesion_table) == 1


def test_outside_the_brain_there_are_no_candidates():
    assert Scan().put(np.s_[0:2, 5:8, 2], 30.0).segment().candidate_table.empty


def test_too_large_is_listed_apart():
    """13 x 15 voxels of 3 mm3 are 585 mm3, a sphere of 10.4 mm."""
    result = Scan().put(np.s_[5:18, 4:19, 3], 10.0).segment()
    assert result.lesion_table.empty
    assert not result.lesions.any()
    row = result.candidate_table.iloc[0]
    assert (row["status"], row["reason"], row["flags"]) == ("rejected", "above_maximum_size", "above_maximum_size")
    larger = Scan().put(np.s_[5:18, 4:19, 3], 10.0)
    assert len(larger.segment(maximum_diameter=10.5, reader_criteria=False).lesion_table) == 1
    longest = larger.segment(maximum_diameter=10.5).candidate_table.iloc[0]
    assert (longest["reason"], longest["longest_diameter_mm"]) == ("above_maximum_size", 18.44)  # of 12 and 14 mm


def test_small_is_kept_and_flagged_unless_a_minimum_is_set():
    """One voxel of 3 mm3 is a sphere of 1.79 mm."""
    scan = Scan().put(np.s_[10, 10, 2], 30.0).put(UPPER, 30.0)
    table = scan.segment().lesion_table
    assert table["flags"].tolist() == ["below_minimum_size", "n/a"]
    result = scan.segment(minimum_diameter=1.8)
    assert result.lesion_table["name"].tolist() == ["CMB-001"]
    assert result.lesions[UPPER].min() == 1
    assert result.candidate_table["reason"].tolist() == ["below_minimum_size", "n/a"]


def test_candidate_that_falls_apart_becomes_two_lesions():
    scan = Scan().put(np.s_[5:18, 10, 2], TISSUE)
    scan.t2star[5:7, 10, 2] = scan.t2star[16:18, 10, 2] = 20.0
    result = scan.segment()
    assert len(result.candidate_table) == 1
    assert result.candidate_table.iloc[0][["lesion_index", "flags"]].tolist() == ["1,2", "split"]
    assert result.lesion_table["n_voxels"].tolist() == [2, 2]


def test_flags_of_place():
    scan = Scan().put(np.s_[2:4, 10:12, 2], 30.0).put(UPPER, 30.0)
    scan.regions[:] = 0
    scan.regions[19, 15, 4] = 6
    assert scan.segment().lesion_table[["region", "flags"]].values.tolist() == [
        ["unassigned", "touches_brain_edge"],
        ["brainstem", "nearest_region"],
    ]


def test_no_ring_and_no_signal():
    scan = Scan().put(SPOT, 80.0).put(UPPER, 0.0)
    scan.brain[:, :, 2] = False
    scan.brain[SPOT] = True
    table = scan.segment(reader_criteria=False).lesion_table
    assert table["flags"].tolist() == ["no_ring,touches_brain_edge", "no_signal"]
    assert table["contrast_ratio"].isna().all()


def test_empty_map_gives_empty_tables_with_all_columns():
    result = Scan().segment()
    assert list(result.lesion_table.columns) == list(describe_columns("lesions"))
    assert list(result.candidate_table.columns) == list(describe_columns("candidates"))
    assert len(result.lesion_table) == len(result.candidate_table) == 0


@pytest.mark.parametrize("flips", [(0,), (1,), (2,), (0, 1, 2)])
def test_tables_do_not_depend_on_orientation(rng, flips):
    scan = Scan()
    scan.t2star = rng.uniform(20, 90, SHAPE).astype(np.float32)
    scan.probability = rng.choice([0.0, 0.7], SHAPE, p=[0.9, 0.1]).astype(np.float32)
    scan.regions = rng.integers(0, 7, SHAPE)
    plain = scan.segment()
    flipped = np.eye(4)
    for axis in flips:
        flipped[axis, axis], flipped[axis, 3] = -1, SHAPE[axis] - 1
    arrays = (np.flip(a, flips) for a in (scan.probability, scan.brain, scan.regions))
    tissue = np.flip(np.where(scan.brain, 3, 0), flips)
    stack = np.flip(scan.t2star, flips)[None]
    turned = segment_lesions(stack, *arrays, SPACING, AFFINE @ flipped, DetectionSettings(), tissue=tissue)
    assert len(plain.lesion_table) > 5
    np.testing.assert_array_equal(turned.lesions, np.flip(plain.lesions, flips))
    np.testing.assert_array_equal(turned.candidates, np.flip(plain.candidates, flips))
    voxel_columns = ["i", "j", "k"]
    for one, other in ((plain.lesion_table, turned.lesion_table), (plain.candidate_table, turned.candidate_table)):
        pd.testing.assert_frame_equal(one.drop(columns=voxel_columns), other.drop(columns=voxel_columns))


def test_every_voxel_and_volume_is_accounted_for(rng):
    scan = Scan()
    scan.t2star = rng.uniform(20, 90, SHAPE).astype(np.float32)
    scan.probability = (rng.random(SHAPE) < 0.1).astype(np.float32)
    result = scan.segment()
    assert result.candidate_table["n_voxels"].sum() == np.count_nonzero(scan.probability[scan.brain])
    assert result.lesion_table["n_voxels"].tolist() == np.bincount(result.lesions.ravel())[1:].tolist()
    assert math.isclose(result.lesion_table["volume_mm3"].sum(), 3 * np.count_nonzero(result.lesions))
    kept = result.candidate_table.query("status == 'kept'")["lesion_index"].str.split(",").explode().astype(int)
    assert sorted(kept) == result.lesion_table["index"].tolist()


SIZE_DECIDES = CandidateClassifier(0.0, {"log_volume": Curve((math.log(12), math.log(18)), (-2.0, 2.0))})
"""A model that takes the larger spot for a microbleed, the smaller one for a mimic."""


def test_the_second_look_rejects_mimics_and_says_why():
    result = Scan().put(SPOT, 30.0).put(UPPER, 30.0).segment(SIZE_DECIDES)
    assert result.lesion_table[["n_voxels", "certainty"]].to_numpy().tolist() == [[6, "definite"]]
    assert result.lesion_table["lesion_probability"].item() == pytest.approx(1 / (1 + math.exp(-2)), abs=1e-4)
    columns = ["status", "reason", "certainty", "evidence_against", "lesion_index"]
    assert result.candidate_table[columns].to_numpy().tolist() == [
        ["kept", "n/a", "definite", "n/a", "1"],
        ["rejected", "second_look", "mimic", "unusual_size", "n/a"],
    ]
    assert result.candidate_table["lesion_probability"].tolist()[1] == pytest.approx(1 / (1 + math.exp(2)), abs=1e-4)


def test_thresholds_of_the_second_look():
    scan = Scan().put(SPOT, 30.0).put(UPPER, 30.0)
    lenient = scan.segment(SIZE_DECIDES, second_look_threshold=0.1, definite_threshold=0.95)
    assert lenient.lesion_table["certainty"].tolist() == ["possible", "possible"]
    assert scan.segment(SIZE_DECIDES, second_look_threshold=0.95, definite_threshold=0.95).lesion_table.empty


def test_what_is_too_large_is_told_as_such_and_not_as_a_mimic():
    scan = Scan().put(SPOT, 30.0).put(UPPER, 30.0)
    rejected = scan.segment(SIZE_DECIDES, maximum_diameter=1.0).candidate_table
    assert rejected["reason"].tolist() == ["above_maximum_size"] * 2


def test_without_a_second_look_everything_is_kept():
    result = Scan().put(SPOT, 30.0).put(UPPER, 30.0).segment()
    assert result.lesion_table["certainty"].tolist() == ["n/a"] * 2
    assert result.candidate_table["evidence_against"].tolist() == ["n/a"] * 2
