"""What a reader said is what the result is: voxel by voxel, row by row."""

import numpy as np
import pytest
from review_session import CANDIDATE_COLUMNS, LESION_COLUMNS, SPOTS, UNSEEN, ball, judge

from mbseg_bids.clinical.counts import count_lesions
from mbseg_bids.review.decide import REVIEW_COLUMNS, decide

THRESHOLDS = (1.2, 1.4)


def decided(small, *judgements):
    return decide(small.automatic, judgements, "R", small.scan, THRESHOLDS)


def names(rows):
    return [row["name"] for row in rows]


def test_no_decision_changes_nothing_but_adds_the_columns(small):
    made = decided(small)
    np.testing.assert_array_equal(made.result.lesions, small.automatic.lesions)
    assert made.result.lesion_columns == (*LESION_COLUMNS, "origin", *REVIEW_COLUMNS)
    assert made.result.candidate_columns == (*CANDIDATE_COLUMNS, *REVIEW_COLUMNS)
    for before, after in zip(small.automatic.lesion_rows, made.result.lesion_rows, strict=True):
        assert after == before | {"origin": "automatic"} | dict.fromkeys(REVIEW_COLUMNS, "n/a")
    for before, after in zip(small.automatic.candidate_rows, made.result.candidate_rows, strict=True):
        assert after == before | dict.fromkeys(REVIEW_COLUMNS, "n/a")


def test_a_rejected_lesion_is_gone_and_its_candidate_says_who_did_it(small):
    made = decided(small, judge("CMB-001", "reject", note="a vein"))
    assert set(np.unique(made.result.lesions)) == {0, 2}
    np.testing.assert_array_equal(made.result.lesions == 2, small.automatic.lesions == 2)
    assert names(made.result.lesion_rows) == ["CMB-002"]
    first = made.result.candidate_rows[0]
    assert (first["status"], first["reason"], first["lesion_index"]) == ("rejected", "reader", "n/a")
    assert (first["review"], first["reader"], first["reader_note"]) == ("reject", "R", "a vein")
    assert made.removed == ("CMB-001",)


def test_an_accepted_candidate_adds_its_voxels(small):
    made = decided(small, judge("CAND-003", "accept"))
    np.testing.assert_array_equal(made.result.lesions == 3, small.automatic.candidates == 3)
    np.testing.assert_array_equal(made.result.lesions == 1, small.automatic.lesions == 1)
    row = made.result.lesion_rows[-1]
    assert (row["index"], row["name"], row["candidate_index"]) == ("3", "CMB-003", "3")
    assert (row["origin"], row["review"], row["certainty"]) == ("candidate", "accept", "definite")
    assert int(row["n_voxels"]) == (small.automatic.candidates == 3).sum()
    assert [int(row[axis]) for axis in "ijk"] == list(SPOTS[3])
    assert float(row["x_mm"]) == 15 - SPOTS[3][0]
    candidate = made.result.candidate_rows[2]
    assert (candidate["status"], candidate["reason"], candidate["lesion_index"]) == ("kept", "n/a", "3")


def test_unsure_counts_as_before_and_is_possible(small):
    small.automatic.lesion_rows[0]["certainty"] = "definite"
    made = decided(small, judge("CMB-001", "unsure"), judge("CAND-003", "unsure"), judge("CMB-002", "accept"))
    assert [row["certainty"] for row in made.result.lesion_rows] == ["possible", "definite"]
    assert made.result.candidate_rows[2]["status"] == "rejected"
    assert made.result.candidate_rows[2]["review"] == "unsure"


def test_a_spot_that_was_pointed_at_is_outlined_by_the_ratio_rule(small):
    i, j, k = UNSEEN
    made = decided(small, judge("ADDED-1", voxel=(i + 1, j, k), note="missed"))
    np.testing.assert_array_equal(made.result.lesions == 3, ball(UNSEEN))
    row = made.result.lesion_rows[-1]
    assert (row["origin"], row["region"], row["side"]) == ("added_grown", "cerebral_wm", "left")
    assert (row["certainty"], row["review"], row["reader_note"]) == ("definite", "accept", "missed")
    assert (row["reader"], row["reviewed_at"]) == ("R", "2026-01-02T03:04:05Z")
    assert row["candidate_index"] == row["lesion_probability"] == "n/a"
    assert row["contrasts"] == "T2starw"
    assert float(row["contrast_ratio"]) == pytest.approx(60 / 25, abs=1e-3)
    assert made.added == ("CMB-003",)


def test_a_spot_of_nothing_is_a_ball_and_says_so(small):
    made = decided(small, judge("ADDED-1", "unsure", voxel=(26, 6, 9)))
    assert made.result.lesion_rows[-1]["origin"] == "added_ball"
    assert made.result.lesion_rows[-1]["certainty"] == "possible"
    assert "ball" in made.notes[0]


def test_a_spot_taken_back_is_not_added(small):
    made = decided(small, judge("ADDED-1", "reject", voxel=UNSEEN))
    np.testing.assert_array_equal(made.result.lesions, small.automatic.lesions)


def test_a_large_candidate_that_was_accepted_is_counted_and_named(small):
    made = decided(small, judge("CAND-004", "accept"))
    assert made.result.lesion_rows[-1]["flags"] == "touches_brain_edge"
    assert "CAND-004 is larger" in made.notes[0]
    counts = count_lesions(made.result.lesion_rows, made.result.candidate_rows)
    assert (counts.total, counts.macrohaemorrhages) == (3, 0)


@pytest.mark.parametrize("seed", range(5))
def test_counts_and_masks_follow_any_set_of_decisions(small, seed):
    rng = np.random.default_rng(seed)
    choices = ["accept", "reject", "unsure", ""]
    items = ["CMB-001", "CMB-002", "CAND-003", "CAND-004"]
    said = {item: str(rng.choice(choices)) for item in items}
    made = decided(small, *[judge(item, decision) for item, decision in said.items()])
    stay = [label for label in (1, 2) if said[f"CMB-00{label}"] != "reject"]
    come = [label for label in (3, 4) if said[f"CAND-00{label}"] == "accept"]
    assert len(made.result.lesion_rows) == len(stay) + len(come)
    expected = np.isin(small.automatic.lesions, stay) & (small.automatic.lesions > 0)
    expected |= np.isin(small.automatic.candidates, come)
    np.testing.assert_array_equal(made.result.lesions > 0, expected)
    present = sorted(np.unique(made.result.lesions[made.result.lesions > 0]).tolist())
    assert present == sorted(int(row["index"]) for row in made.result.lesion_rows)


def test_a_session_without_lesions_gets_its_first(small):
    small.automatic.lesion_rows.clear()
    small.automatic.lesions[:] = 0
    made = decided(small, judge("CAND-003", "accept"))
    assert list(made.result.lesion_rows[0]) == list(made.result.lesion_columns)
    assert made.result.lesion_rows[0]["name"] == "CMB-001"


@pytest.mark.parametrize(
    ("judgement", "said"),
    [
        (judge("CMB-009", "accept"), "no lesion CMB-009"),
        (judge("CAND-001", "accept"), "no rejected candidate CAND-001"),
        (judge("ADDED-1", voxel=(99, 0, 0)), "outside the image"),
        (judge("ADDED-1", voxel=SPOTS[1]), "in another lesion"),
    ],
)
def test_what_is_not_there_is_named(small, judgement, said):
    with pytest.raises(ValueError, match=said):
        decided(small, judgement)
