import pytest

from mbseg_bids.clinical.bombs import bombs_sheet
from mbseg_bids.clinical.mars import (
    LOCATION_OF_PLACE,
    PlacedLesion,
    changes_of_pattern,
    count_by_place,
    haemorrhagic_part,
    mars_sheet,
    pattern_of_places,
)
from mbseg_bids.imaging.place_labels import PLACE_LABELS, PLACES

LABEL = {name: label for label, name in PLACE_LABELS.items()}


def lesions(*names, certainty="definite"):
    return [PlacedLesion(f"CMB-{n}", LABEL.get(name, 0), certainty, 3.0) for n, name in enumerate(names, start=1)]


def test_every_place_is_lobar_deep_or_infratentorial():
    assert set(LOCATION_OF_PLACE) == set(PLACES.values())
    assert LOCATION_OF_PLACE["corpus_callosum"] == LOCATION_OF_PLACE["deep_periventricular_wm"] == "deep"


def test_sheet_has_each_place_and_side_once_and_loses_no_lesion():
    rows = mars_sheet(lesions("left_frontal", "left_frontal", "right_thalamus", "nowhere"))
    assert [row["index"] for row in rows] == [*PLACE_LABELS, 0]
    by_name = {row["name"]: row for row in rows}
    assert by_name["left_frontal"]["lesions"] == "CMB-1,CMB-2"
    assert by_name["left_frontal"]["definite"] == 2
    assert (by_name["unassigned"]["total"], by_name["unassigned"]["side"]) == (1, "n/a")
    assert sum(row["total"] for row in rows) == 4
    assert count_by_place(rows)["thalamus"] == 1


def test_without_a_second_look_nothing_is_called_definite_or_possible():
    rows = mars_sheet([*lesions("left_frontal"), *lesions("left_insula", certainty="n/a")])
    assert {row["definite"] for row in rows} == {row["possible"] for row in rows} == {"n/a"}
    assert sum(row["total"] for row in rows) == 2
    assert {row["certain_below_5mm"] for row in bombs_sheet(lesions("left_frontal", certainty=""))} == {"n/a"}


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        ([], "none"),
        (["left_frontal"], "strictly_lobar"),
        (["left_insula", "right_cerebellum"], "strictly_lobar"),
        (["midline_corpus_callosum"], "strictly_deep_or_infratentorial"),
        (["left_frontal", "midline_corpus_callosum"], "mixed"),
        (["left_frontal", "left_deep_periventricular_wm"], "mixed"),
        (["left_frontal", "right_external_capsule"], "mixed"),
        (["left_frontal", "midline_brainstem"], "mixed"),
        (["right_cerebellum"], "strictly_deep_or_infratentorial"),
        (["left_frontal", "nowhere"], "undetermined"),
    ],
)
def test_pattern(names, pattern):
    assert pattern_of_places(count_by_place(mars_sheet(lesions(*names)))) == pattern


@pytest.mark.parametrize(
    ("names", "expected", "said"),
    [
        ([], (0, 0, 0), "No lobar"),
        (["left_frontal"], (1, 0, 0), "fewer than the two"),
        (["left_frontal", "right_occipital", "left_cerebellum"], (2, 0, 1), "2 strictly lobar"),
        (["left_frontal", "right_occipital", "left_thalamus"], (2, 1, 0), "not there"),
        (["left_frontal", "right_occipital", "left_brainstem"], (2, 1, 0), "not there"),
        (["left_cerebellum"], (0, 0, 1), "No lobar"),
        (["left_frontal", "left_parietal", "nowhere"], (2, 0, 0), "not known"),
    ],
)
def test_haemorrhagic_part_of_the_boston_criteria(names, expected, said):
    part = haemorrhagic_part(count_by_place(mars_sheet(lesions(*names))))
    assert (part.lobar, part.deep, part.cerebellar) == expected
    assert said in part.sentence


def test_candidates_that_would_change_the_pattern_are_named():
    doubt = [PlacedLesion("CAND-7", LABEL["left_thalamus"]), PlacedLesion("CAND-8", LABEL["right_parietal"])]
    rows = mars_sheet(lesions("left_frontal"), doubt)
    assert changes_of_pattern(rows) == {"mixed": ["CAND-7"]}
    assert changes_of_pattern(mars_sheet(lesions("left_frontal"))) == {}
    assert changes_of_pattern(mars_sheet([], doubt)) == {
        "strictly_lobar": ["CAND-8"],
        "strictly_deep_or_infratentorial": ["CAND-7"],
    }
