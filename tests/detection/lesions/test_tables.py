import json
from importlib import resources

import numpy as np
import pytest

from mbseg_bids.data.columns import describe_columns
from mbseg_bids.detection.lesions.tables import Evidence, as_table, measure, tabulate, write_table
from mbseg_bids.imaging.labels import REGIONS, UNASSIGNED
from mbseg_bids.settings import DetectionSettings


@pytest.mark.parametrize("table", ["lesions", "candidates", "places"])
def test_columns_are_described(table):
    for name, column in describe_columns(table).items():
        assert column["Description"].endswith("."), name
        assert ("Units" in column) == name.endswith(("_mm", "_mm3"))
    assert list(describe_columns("lesions")["region"]["Levels"]) == [*REGIONS.values(), UNASSIGNED]


def test_no_description_is_left_over():
    specification = json.loads(resources.files("mbseg_bids.data").joinpath("columns.json").read_text("utf-8"))
    used = {name for table in specification["tables"].values() if isinstance(table, list) for name in table}
    assert used == set(specification["columns"])


def test_unknown_table():
    with pytest.raises(ValueError, match="lesions"):
        describe_columns("lesion")


def test_slices_are_counted_along_the_slice_axis():
    labels = np.zeros((5, 5, 5), dtype=np.int32)
    labels[1:4, 2, 2:4] = 1
    rows = [measure(labels, np.eye(4), axis)[1] for axis in range(3)]
    assert [row["n_slices"] for row in rows] == [3, 1, 2]


def test_volume_and_place_with_an_oblique_affine():
    """A shear-free oblique grid of 0.5 x 2 x 1 mm, turned by 30 degrees about z."""
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    affine = np.array([[c, -s, 0, 1], [s, c, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]]) @ np.diag([0.5, 2.0, 1.0, 1.0])
    labels = np.zeros((4, 4, 4), dtype=np.int32)
    labels[2, 0:2, 0] = 7
    row = measure(labels, affine, 2)[7]
    assert row["volume_mm3"] == pytest.approx(2.0)
    assert (row["x_mm"], row["y_mm"], row["z_mm"]) == pytest.approx((1 + c - s, 2 + s + c, 3.0))


def test_size_rules_go_by_the_grid_of_the_table():
    """Fit on one grid, too small on another: the table of each grid agrees with itself."""
    labels = np.zeros((4, 4, 4), dtype=np.int32)
    labels[1:3, 1, 1] = 1
    evidence = {1: Evidence(1, "deep_gm", 0.9, 0.9, 2.0, 1.4)}
    settings = DetectionSettings(minimum_diameter=2.0)
    kept = tabulate(labels, labels, evidence, evidence, np.diag([1.5, 1.5, 1.5, 1]), 2, settings)
    assert kept.lesion_table["diameter_mm"].tolist() == [2.34]
    dropped = tabulate(labels, labels, evidence, evidence, np.eye(4), 2, settings)
    assert dropped.lesion_table.empty
    assert not dropped.lesions.any()
    assert dropped.candidate_table["reason"].tolist() == ["below_minimum_size"]


def test_a_lesion_names_the_candidate_it_came_of():
    """Two candidates, of which the second fell apart into two lesions."""
    candidates = np.zeros((12, 4, 4), dtype=np.int32)
    candidates[0:3, 1, 1], candidates[5:11, 1, 1] = 1, 2
    survivors = np.zeros_like(candidates)
    survivors[0:3, 1, 1], survivors[5:7, 1, 1], survivors[9:11, 1, 1] = 1, 2, 3
    of_candidates = {n: Evidence(n, "deep_gm", 0.9, 0.9, 2.0, 1.4) for n in (1, 2)}
    of_survivors = {n: Evidence(c, "deep_gm", 0.9, 0.9, 2.0, 1.4) for n, c in ((1, 1), (2, 2), (3, 2))}
    found = tabulate(candidates, survivors, of_candidates, of_survivors, np.eye(4), 2, DetectionSettings())
    rows = found.candidate_table.set_index("index")
    for _, lesion in found.lesion_table.iterrows():
        assert str(lesion["index"]) in rows.loc[lesion["candidate_index"], "lesion_index"].split(",")
    assert found.lesion_table["candidate_index"].value_counts().to_dict() == {1: 1, 2: 2}


def test_written_table(tmp_path):
    rows = [{"index": 1, "name": "CMB-001", "x_mm": -0.0001, "contrast_ratio": np.nan, "flags": "n/a"}]
    table = as_table(rows, "lesions")
    write_table(table, tmp_path / "table.tsv")
    header, row = (tmp_path / "table.tsv").read_text().splitlines()
    values = dict(zip(header.split("\t"), row.split("\t"), strict=True))
    assert values["contrast_ratio"] == values["flags"] == "n/a"
    assert values["x_mm"] == "0.0"
