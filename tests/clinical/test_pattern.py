import pytest

from mbseg_bids.clinical.pattern import LOCATION_OF_REGION, distribution_pattern
from mbseg_bids.imaging.labels import REGIONS


def test_every_region_has_a_location():
    assert set(LOCATION_OF_REGION) == set(REGIONS.values())


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({}, "none"),
        ({"cortical_gm": 0, "brainstem": 0}, "none"),
        ({"cortical_gm": 3}, "strictly_lobar"),
        ({"cerebral_wm": 1, "cortical_gm": 1}, "strictly_lobar"),
        ({"cortical_gm": 2, "cerebellar_gm": 4}, "strictly_lobar"),
        ({"deep_gm": 1}, "strictly_deep_or_infratentorial"),
        ({"brainstem": 1, "cerebellar_wm": 2}, "strictly_deep_or_infratentorial"),
        ({"cerebellar_gm": 1}, "strictly_deep_or_infratentorial"),
        ({"cortical_gm": 1, "deep_gm": 1}, "mixed"),
        ({"cerebral_wm": 1, "brainstem": 1, "cerebellar_gm": 1}, "mixed"),
    ],
)
def test_patterns(counts, expected):
    assert distribution_pattern(counts) == expected


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"unassigned": 1}, "undetermined"),
        ({"cortical_gm": 4, "unassigned": 1}, "undetermined"),
        ({"deep_gm": 4, "unassigned": 1}, "undetermined"),
        ({"deep_gm": 1, "cortical_gm": 1, "unassigned": 2}, "mixed"),
        ({"cortical_gm": 1, "unassigned": 0}, "strictly_lobar"),
    ],
)
def test_lesion_without_region_leaves_only_mixed_certain(counts, expected):
    assert distribution_pattern(counts) == expected
