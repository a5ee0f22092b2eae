"""A scan beside the training scans: what is outside, what is said of it, and when nothing can be said."""

import json
from pathlib import Path

import pytest

from mbseg_bids.data import QUALITY_RANGES, WEIGHTS_MANIFEST
from mbseg_bids.data.columns import describe_columns
from mbseg_bids.imaging.quality_ranges import (
    MEASURES,
    OF_SEARCH,
    PROBABILITIES,
    PROBABILITY_EDGES,
    in_words,
    judge_quality,
    range_in_words,
    scan_measures,
    search_measures,
    training_ranges,
)

WEIGHTS = "ab" * 32
RANGES = {
    "weights": {"sha256": WEIGHTS},
    "measures": {name: {"low": 1.0, "median": 1.5, "high": 2.0} for name in MEASURES},
}
INSIDE = dict.fromkeys(MEASURES, 1.5)


def judge(ranges=RANGES, weights=WEIGHTS, exhaustive=False, **changed):
    return judge_quality(INSIDE | changed, ranges, weights_sha256=weights, exhaustive=exhaustive)


def test_inside_everything_nothing_is_said():
    quality = judge()
    assert (quality.reasons, quality.sentence, quality.judged) == ((), "", True)
    assert quality.as_dict()["unreliable"] is False
    assert quality.as_dict()["warnings"] == []
    assert not any(compared.outside for compared in quality.measures.values())


@pytest.mark.parametrize("name", MEASURES)
def test_each_measure_counts_on_its_sides_alone(name):
    sides = MEASURES[name].sides
    for side, value in (("low", 0.5), ("high", 2.5)):
        quality = judge(**{name: value})
        assert bool(quality.reasons) == (side in sides), (name, side)
        assert bool(quality.measures[name].outside) == (side in sides)
    assert judge(**{name: None}).measures[name].outside is None
    assert judge(**{name: None}).reasons == ()


def test_the_sentence_gives_value_and_range_in_the_units_of_reading():
    quality = judge(t2star_echo_time=0.005, t2star_snr=0.7)
    assert quality.sentence == (
        "Counts unreliable because signal-to-noise ratio of white matter is 0.7 (training scans: 1 to 2); echo time is "
        "5 ms (training scans: 1e+03 to 2e+03 ms)."
    )
    low = judge(t2star_coverage=0.84)
    assert low.sentence == "Counts unreliable because only 84 % of the brain lies in the field of view."
    assert judge(t2star_coverage=0.9).reasons == ()


def test_rounded_headers_are_inside():
    ranges = RANGES | {"measures": RANGES["measures"] | {"t2star_field_strength": {"low": 1.5, "median": 3, "high": 3}}}
    assert judge(ranges, t2star_field_strength=1.494).reasons == ()
    assert judge(ranges, t2star_field_strength=3.0).reasons == ()
    for field in (0.35, 7.0):
        (reason,) = judge(ranges, t2star_field_strength=field).reasons
        assert f"field strength is {field:g} T" in reason


def test_of_other_weights_it_is_not_known_what_they_learned_from():
    quality = judge(weights="cd" * 32, t2star_snr=0.1)
    assert not quality.judged
    assert quality.as_dict()["unreliable"] is None
    assert quality.measures["t2star_snr"].outside is None
    cut = judge(weights=None, t2star_snr=0.1, t2star_coverage=0.5)
    assert cut.as_dict()["unreliable"] is True
    assert len(cut.reasons) == 1


def test_an_exhaustive_search_says_nothing_about_the_scan():
    assert judge(exhaustive=True, **dict.fromkeys(OF_SEARCH, 9.0)).reasons == ()
    assert len(judge(exhaustive=True, t2star_snr=0.2).reasons) == 1


def test_the_table_has_the_columns_that_are_described():
    lines = judge(t2star_snr=None, t2star_cnr=0.2).as_table("anat/x.nii.gz").splitlines()
    header, cells = (line.split("\t") for line in lines)
    assert header == list(describe_columns("quality"))
    row = dict(zip(header, cells, strict=True))
    assert (row["filename"], row["t2star_snr"], row["counts_unreliable"]) == ("anat/x.nii.gz", "n/a", "true")
    assert "contrast-to-noise" in row["unreliable_because"]
    unknown = judge(weights=None).as_table("x").splitlines()[1].split("\t")
    assert unknown[-2:] == ["n/a", "n/a"]


def test_search_measures_are_shares():
    search = {"n_brain_voxels": 200, "n_mask_voxels": 20, "n_searched_voxels": 10}
    found = search_measures(search | {"probability_histogram": [6, 2, 1, 0, 1]})
    assert found["dark_share"] == 0.1
    assert found["asked_share"] == 0.05
    assert [found[name] for name in PROBABILITIES] == [0.6, 0.2, 0.1, 0.0, 0.1]
    assert len(PROBABILITIES) == len(PROBABILITY_EDGES) - 1
    for odd in ({}, search, search | {"probability_histogram": [0] * 5}, {"n_brain_voxels": 0, "n_mask_voxels": 0}):
        assert all(search_measures(odd)[name] is None for name in PROBABILITIES)


def test_scan_measures_come_from_header_and_sidecar():
    metadata = {"EchoTime": 0.02, "MagneticFieldStrength": 3}
    scan = {"spacing": [4.0, 0.9, 0.4], "metadata": metadata}
    assert scan_measures(scan) == {
        "t2star_voxel_size_in_plane": pytest.approx(0.6),
        "t2star_slice_spacing": 4.0,
        "t2star_echo_time": 0.02,
        "t2star_field_strength": 3.0,
    }
    assert scan_measures(scan | {"paths": ["a", "b"]})["t2star_echo_time"] is None
    assert set(scan_measures({"metadata": {"EchoTime": "short"}}).values()) == {None}


def test_shipped_ranges_are_those_of_the_shipped_weights_and_complete():
    ranges = training_ranges()
    manifest = json.loads(WEIGHTS_MANIFEST.read_text())
    assert ranges["weights"]["sha256"] == manifest["weights"][manifest["default"]]["sha256"]
    assert set(ranges["measures"]) == set(MEASURES) - {"t2star_coverage"}
    for name, found in ranges["measures"].items():
        assert found["low"] <= found["median"] <= found["high"], name
        assert found["n"] >= 15, name
    assert "quality_ranges.py" in ranges["made_by"]
    page = (Path(__file__).parents[2] / "docs" / "quality.md").read_text()
    for name, found in ranges["measures"].items():
        measure = MEASURES[name]
        said = f"| {range_in_words(found['low'], found['high'], measure)} | {in_words(found['median'], measure)} |"
        assert f"| `{name}` | {measure.title} {said}" in page
    assert str(QUALITY_RANGES.parent) not in QUALITY_RANGES.read_text()
