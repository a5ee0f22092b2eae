import pytest

from mbseg_bids.detection.lesions.summary import summarise
from mbseg_bids.detection.lesions.tables import as_table
from mbseg_bids.settings import DetectionSettings

SEARCH = {
    "exhaustive": False,
    "n_brain_voxels": 1000,
    "n_mask_voxels": 90,
    "n_searched_voxels": 60,
    "n_positive_voxels": 5,
    "highest_probability": 0.8,
    "weights": {"name": "w", "sha256": "00", "patch_size": 28, "input_size": 64},
    "duration_s": 3.0,
}


def summary(lesions=(), candidates=(), settings=None, **search):
    return summarise(
        as_table(list(lesions), "lesions"),
        as_table(list(candidates), "candidates"),
        SEARCH | search,
        settings or DetectionSettings(),
    )


KEPT = {"status": "kept", "reason": "n/a", "flags": "n/a"}
FAINT = {"status": "rejected", "reason": "intensity_ratio", "flags": "n/a"}
HUGE = {"status": "rejected", "reason": "above_maximum_size", "flags": "above_maximum_size"}


def test_counts():
    result = summary(
        [{"region": "deep_gm"}, {"region": "deep_gm"}, {"region": "unassigned"}], [KEPT, KEPT, FAINT, KEPT]
    )
    assert (result["n_lesions"], result["n_candidates"]) == (3, 4)
    assert result["n_lesions_by_region"]["deep_gm"] == 2
    assert sum(result["n_lesions_by_region"].values()) == 3
    assert len(result["n_lesions_by_region"]) == 7
    assert result["n_rejected_by_reason"] == {"intensity_ratio": 1}
    assert result["weights"]["sha256"] == "00"
    assert result["settings"]["ratio_threshold"] == 1.2
    assert result["warnings"] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"n_searched_voxels": 0, "n_positive_voxels": 0}, "No voxel searched"),
        ({"n_positive_voxels": 0, "highest_probability": 0.21}, "60 voxels searched, highest probability 0.210"),
        ({"candidates": []}, "none of the 5 voxels of probability 0.3 or more is a voxel of the T2* image"),
        ({"candidates": [FAINT, FAINT]}, "all 2 candidates were rejected (2 by intensity_ratio)"),
        ({"candidates": [FAINT]}, "the only candidate was rejected (1 by intensity_ratio)"),
        ({"lesions": [{}], "candidates": [KEPT, HUGE]}, "1 candidate(s) wider than 10 mm"),
        ({"lesions": [{}], "candidates": [KEPT], "n_mask_voxels": 400}, "40% of the brain is dark"),
        (
            {"lesions": [{}], "candidates": [KEPT], "settings": DetectionSettings(patch_size=14)},
            "trained on patches of 28 mm",
        ),
    ],
)
def test_an_odd_result_is_explained(arguments, says):
    (warning,) = summary(**arguments)["warnings"]
    assert says in warning


@pytest.mark.parametrize("n_searched", [0, 60])
@pytest.mark.parametrize("n_positive", [0, 5])
@pytest.mark.parametrize("candidates", [(), (FAINT,), (HUGE,), (FAINT, HUGE)])
def test_never_an_empty_result_without_a_reason(n_searched, n_positive, candidates):
    result = summary(candidates=candidates, n_searched_voxels=n_searched, n_positive_voxels=n_positive)
    assert result["n_lesions"] == 0
    assert result["why_none"].startswith("No ")
    assert result["why_none"] in result["warnings"]
    assert summary([{}], [KEPT])["why_none"] is None


def test_exhaustive_search_is_not_suspicious():
    assert not summary([{}], [KEPT], exhaustive=True, n_mask_voxels=1000)["warnings"]


@pytest.mark.parametrize(("network", "warned"), [(None, False), ("w", False), ("another", True)])
def test_a_second_look_for_another_network_is_told(network, warned):
    tables = (as_table([], "lesions"), as_table([KEPT], "candidates"))
    result = summarise(*tables, SEARCH, DetectionSettings(), second_look_network=network)
    assert any("fitted to candidates of the network another, not of w" in w for w in result["warnings"]) == warned
