import numpy as np
import pandas as pd
import pytest
from place_phantom import SPACING, place_phantom

from mbseg_bids.clinical.mars import count_by_place, pattern_of_places
from mbseg_bids.detection.lesions.sheets import in_doubt, rate
from mbseg_bids.imaging.place_labels import PLACE_LABELS
from mbseg_bids.imaging.rating_places import LATERAL_VENTRICLES, places_from_atlas, places_from_freesurfer
from mbseg_bids.imaging.regions import FREESURFER_REGIONS
from mbseg_bids.imaging.template import load_place_atlas, load_region_atlas


def lesion_in_each_place(places):
    """One lesion of 27 voxels, or what fits, in each place and side; its table has every second one as possible."""
    lesions = np.zeros(places.shape, np.int32)
    rows = []
    for index, label in enumerate(sorted(PLACE_LABELS), start=1):
        voxels = np.argwhere(places == label)
        middle = voxels[np.argmin(np.linalg.norm(voxels - voxels.mean(axis=0), axis=1))]
        near = voxels[np.abs(voxels - middle).max(axis=1) <= 1]
        lesions[tuple(near.T)] = index
        rows.append(
            {"index": index, "name": f"CMB-{index:03d}", "longest_diameter_mm": 4.0 + index % 2}
            | {"certainty": ("definite", "possible")[index % 2]}
        )
    return lesions, pd.DataFrame(rows)


NO_CANDIDATES = pd.DataFrame(columns=["index", "name", "status", "reason", "lesion_probability"])


@pytest.mark.parametrize("way", ["atlas", "freesurfer"])
def test_one_lesion_in_each_place_and_side_fills_every_row_with_one(way):
    phantom = place_phantom()
    if way == "atlas":
        places = places_from_atlas(phantom.atlas, phantom.regions, phantom.ventricles, SPACING)
    else:
        places = places_from_freesurfer(phantom.aseg, phantom.atlas, phantom.regions, SPACING)
    lesions, table = lesion_in_each_place(places)
    none = np.zeros_like(lesions)
    sheets = rate(lesions, table, none, NO_CANDIDATES, places, phantom.regions, SPACING)
    mars = sheets.mars.set_index("name")
    for index, label in enumerate(sorted(PLACE_LABELS), start=1):
        row = mars.loc[PLACE_LABELS[label]]
        assert (row["index"], row["lesions"], row["total"]) == (label, f"CMB-{index:03d}", 1)
        assert (row["definite"], row["possible"]) == ((0, 1) if index % 2 else (1, 0))
    assert mars.loc["unassigned", "total"] == 0
    bombs = sheets.bombs.set_index("name")
    assert bombs["total"].sum() == len(table)
    # Deep white matter, callosum and five lobes on each side; the phantom's lobar lesions are in its white matter or
    # cortex, whichever the middle of the lobe is.
    assert bombs.loc["left_internal_external_capsule", "total"] == 2
    assert bombs.loc["midline_brainstem", "total"] == 1
    assert bombs.loc["midline_subcortical_white_matter", "total"] == 1
    lobar = [f"left_{name}" for name in ("cortex_grey_white_junction", "subcortical_white_matter")]
    assert bombs.loc[lobar, "total"].sum() == 7
    small = bombs[["certain_below_5mm", "uncertain_below_5mm"]].to_numpy().sum()
    assert small == (table["longest_diameter_mm"] < 5).sum()


def test_candidates_in_doubt_are_named_where_they_lie():
    phantom = place_phantom()
    places = places_from_atlas(phantom.atlas, phantom.regions, phantom.ventricles, SPACING)
    candidates = np.zeros(places.shape, np.int32)
    candidates[2, 2, 2], candidates[2, 2, 18], candidates[3, 4, 2] = 1, 2, 3
    table = pd.DataFrame(
        {
            "index": [1, 2, 3],
            "name": ["CAND-001", "CAND-002", "CAND-003"],
            "status": ["rejected", "kept", "rejected"],
            "reason": ["second_look", np.nan, "second_look"],
            "lesion_probability": [0.2, 0.9, 0.19],
        }
    )
    empty = pd.DataFrame(columns=["index", "name", "longest_diameter_mm", "certainty"])
    sheets = rate(np.zeros_like(candidates), empty, candidates, table, places, phantom.regions, SPACING)
    named = sheets.mars.set_index("name")["in_doubt"]
    assert named[named != "n/a"].to_dict() == {"left_basal_ganglia": "CAND-001"}
    assert sheets.mars["total"].sum() == 0


def test_what_was_too_large_for_a_microbleed_is_not_in_doubt():
    table = pd.DataFrame(
        {"status": ["rejected"], "reason": ["above_maximum_size"], "lesion_probability": ["0.9"], "index": [1]}
    )
    assert in_doubt(table).empty
    assert len(in_doubt(table.assign(reason="second_look"))) == 1
    assert in_doubt(table.assign(reason="second_look", lesion_probability="n/a")).empty


def test_a_lesion_with_a_voxel_in_cortex_is_of_the_grey_white_junction():
    phantom = place_phantom()
    places = places_from_atlas(phantom.atlas, phantom.regions, phantom.ventricles, SPACING)
    lesions = np.zeros(places.shape, np.int32)
    lesions[3, 3, 14:17], lesions[30, 3, 13:16] = 1, 2  # cortex begins at 16
    table = pd.DataFrame(
        {"index": [1, 2], "name": ["CMB-001", "CMB-002"], "longest_diameter_mm": [5.0, 4.99], "certainty": "definite"}
    )
    sheets = rate(lesions, table, np.zeros_like(lesions), NO_CANDIDATES, places, phantom.regions, SPACING)
    bombs = sheets.bombs.set_index("name")
    assert bombs.loc["left_cortex_grey_white_junction", "certain_5_to_10mm"] == 1
    assert bombs.loc["right_subcortical_white_matter", "certain_below_5mm"] == 1


@pytest.mark.parametrize("x", [-8, 0, 8])
def test_a_lesion_in_the_splenium_of_the_shipped_atlas_is_deep_in_sheet_and_pattern(x):
    """By region it is white matter like any other, and so would be lobar."""
    places, regions = load_place_atlas(), load_region_atlas()
    middle = (np.linalg.inv(places.affine) @ [x, -37, 14, 1])[:3].round().astype(int)
    box = tuple(slice(c - r, c + r) for c, r in zip(middle, (34, 30, 24), strict=True))
    numbers = regions.data[box].astype(int)
    table = np.zeros(numbers.max() + 1, np.uint8)
    for number, region in FREESURFER_REGIONS.items():
        if number < len(table):
            table[number] = region
    own = table[numbers]
    found = places_from_atlas(places.data[box], own, np.isin(numbers, LATERAL_VENTRICLES), (1.0, 1.0, 1.0))
    lesion = np.zeros(own.shape, np.int32)
    lesion[33:36, 29:32, 23:26] = 1
    row = {"index": 1, "name": "CMB-001", "longest_diameter_mm": 3.0, "certainty": "definite"}
    sheets = rate(lesion, pd.DataFrame([row]), np.zeros_like(lesion), NO_CANDIDATES, found, own, (1.0, 1.0, 1.0))
    (here,) = sheets.mars[sheets.mars["total"] > 0].to_dict("records")
    assert (here["location"], here["place"] in ("corpus_callosum", "deep_periventricular_wm")) == ("deep", True)
    assert here["side"] == "midline" or x != 0
    rows = [{key: str(value) for key, value in r.items()} for r in sheets.mars.to_dict("records")]
    assert pattern_of_places(count_by_place(rows)) == "strictly_deep_or_infratentorial"
