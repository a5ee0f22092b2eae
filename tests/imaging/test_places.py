"""Sides and template positions in tables."""

import numpy as np
import pytest
from head_phantom import rigid

from mbseg_bids.data.columns import describe_columns
from mbseg_bids.imaging.places import COLUMNS, add_places, side_of
from mbseg_bids.imaging.transforms import PointField


@pytest.mark.parametrize(
    ("x", "side"), [(-40, "left"), (-2.1, "left"), (-2, "midline"), (0, "midline"), (2, "midline"), (2.1, "right")]
)
def test_side_goes_by_the_plane_of_symmetry(x, side):
    assert side_of(x) == side


def test_a_head_off_centre_and_turned_keeps_its_sides():
    """The scanner's x says right for both lesions; the registration knows that the head lay 60 mm to the right."""
    to_template = np.linalg.inv(rigid((0, 0, 20), (60.0, 0, 0)))
    in_scanner = rigid((0, 0, 20), (60.0, 0, 0)) @ np.array([[-30, 30], [10, 10], [5, 5], [1, 1]], float)
    rows = "".join(f"CMB-{n}\t{x:.4f}\t{y:.4f}\t{z:.4f}\n" for n, (x, y, z, _) in enumerate(in_scanner.T))
    assert (in_scanner[0] > 0).all()
    header, *lines = add_places("name\tx_mm\ty_mm\tz_mm\n" + rows, [to_template]).splitlines()
    assert header.split("\t")[4:] == list(COLUMNS) == list(describe_columns("places"))
    assert [line.split("\t")[4:] for line in lines] == [
        ["left", "-30.0", "10.0", "5.0"],
        ["right", "30.0", "10.0", "5.0"],
    ]


def test_transforms_go_one_after_the_other_and_unknown_places_stay_unknown():
    shift = PointField(np.full((2, 2, 2, 3), 1.0, np.float32), np.diag([100.0, 100.0, 100.0, 1.0]))
    table = "x_mm\ty_mm\tz_mm\n1\t2\t3\nn/a\t2\t3\n"
    lines = add_places(table, [rigid((0, 0, 0), (-2.0, 0, 0)), shift]).splitlines()
    assert lines[1].split("\t")[3:] == ["midline", "0.0", "3.0", "4.0"]
    assert lines[2].split("\t")[3:] == ["n/a"] * 4


def test_a_table_without_rows_gets_its_columns():
    assert add_places("x_mm\ty_mm\tz_mm\n", [np.eye(4)]) == "x_mm\ty_mm\tz_mm\t" + "\t".join(COLUMNS) + "\n"
