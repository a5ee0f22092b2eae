import pytest

from mbseg_bids.clinical.counts import count_lesions, split_flags


def lesion(region="cortical_gm", volume=8.0, size="medium", flags="n/a"):
    return {"region": region, "volume_mm3": str(volume), "size_class": size, "flags": flags}


def test_no_lesion_counts_zero_everywhere():
    counts = count_lesions([])
    assert counts.total == 0
    assert set(counts.by_region.values()) == {0}
    assert (counts.pattern, counts.burden) == ("none", "0")


def test_counts_and_volumes_by_region_and_size():
    counts = count_lesions(
        [lesion(), lesion(volume=2, size="small"), lesion("deep_gm", 20, "large"), lesion("brainstem", 5)]
    )
    assert counts.total == 4
    assert (counts.by_region["cortical_gm"], counts.by_region["deep_gm"], counts.by_region["brainstem"]) == (2, 1, 1)
    assert dict(counts.by_size) == {"small": 1, "medium": 2, "large": 1}
    assert counts.volume == 35
    assert counts.volume_by_region["cortical_gm"] == 10
    assert (counts.pattern, counts.burden) == ("mixed", "2 to 4")


def test_too_large_lesion_is_listed_apart_and_too_small_one_counts():
    counts = count_lesions([lesion(volume=900, flags="touches_brain_edge,above_maximum_size"), lesion(volume=2)])
    assert (counts.total, counts.macrohaemorrhages, counts.volume) == (1, 1, 2)
    counts = count_lesions([lesion(flags="below_minimum_size")])
    assert (counts.total, counts.below_minimum) == (1, 1)


def test_unknown_region_is_unassigned_not_lost():
    counts = count_lesions([lesion("ventricle")])
    assert counts.by_region["unassigned"] == counts.total == 1


@pytest.mark.parametrize("volume", ["0", "-3", "nan", "inf", "n/a", ""])
def test_impossible_volume_is_an_error(volume):
    with pytest.raises(ValueError, match=r"mm3|convert"):
        count_lesions([lesion(volume=volume)])


def test_candidate_rejected_as_too_large_is_a_possible_macrohaemorrhage():
    candidates = [
        {"status": "rejected", "reason": "above_maximum_size"},
        {"status": "rejected", "reason": "intensity_ratio"},
        {"status": "kept", "reason": "n/a"},
    ]
    counts = count_lesions([lesion()], candidates)
    assert (counts.total, counts.macrohaemorrhages) == (1, 1)


def test_flags_are_split_and_na_is_none():
    assert split_flags("n/a") == ()
    assert split_flags("no_ring, touches_brain_edge") == ("no_ring", "touches_brain_edge")


def test_certainties_are_counted_where_they_are_known():
    rows = [lesion() | {"certainty": c} for c in ("definite", "possible", "possible")]
    assert count_lesions(rows).by_certainty == {"definite": 1, "possible": 2}
    assert count_lesions([lesion(), lesion() | {"certainty": "n/a"}]).by_certainty == {}
