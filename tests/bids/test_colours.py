"""Colours of labels, and label files as each viewer's own documentation describes them."""

import re

import pytest

from mbseg_bids.bids import colours
from mbseg_bids.bids.outputs import BIDSIGNORE, regions_table
from mbseg_bids.imaging.place_labels import PLACE_LABELS

LESIONS = "index\tname\tcertainty\n1\tCMB-001\tdefinite\n3\tCMB-003\tpossible\n4\tCMB-004\tn/a\n"


def cells(table, column):
    header, *rows = [line.split("\t") for line in table.splitlines()]
    return [row[header.index(column)] for row in rows]


def test_lesions_are_coloured_by_certainty_and_candidates_by_fate():
    assert cells(colours.coloured(LESIONS, "lesions"), "color") == [colours.RED, colours.AMBER, colours.RED]
    candidates = "index\tname\tstatus\n1\tA\tkept\n2\tB\trejected\n"
    assert cells(colours.coloured(candidates, "candidates"), "color") == [colours.RED, colours.BLUE]


def test_every_region_and_place_has_a_colour_of_its_own():
    regions = cells(colours.coloured(regions_table(), "regions"), "color")
    assert len(set(regions)) == len(regions) == 6
    places = [colours.place_colour(label) for label in PLACE_LABELS]
    assert len(set(places)) == len(places)
    assert all(re.fullmatch("#[0-9A-F]{6}", colour) for colour in [*regions, *places])
    sheet = "index\tname\n0\tunassigned\n1\tleft_frontal\n"
    assert cells(colours.coloured(sheet, "mars"), "color")[0] == "n/a"


def test_the_label_files_hold_the_same_labels_in_the_formats_of_the_viewers():
    made = colours.label_files(colours.coloured(LESIONS, "lesions"))
    assert set(made) == set(colours.ENDINGS)
    lut = [line.split() for line in made[".lut"].splitlines()]
    assert [(int(line[0]), line[4]) for line in lut] == [(1, "CMB-001"), (3, "CMB-003"), (4, "CMB-004")]
    assert [float(v) for v in lut[0][1:4]] == pytest.approx([1, 0x5A / 255, 0x36 / 255], abs=1e-5)
    first, *ctbl = made[".ctbl"].splitlines()
    assert first == "# Color table file"
    assert ctbl[:2] == ["0 Background 0 0 0 0", "1 CMB-001 255 90 54 255"]
    label = [line for line in made[".label"].splitlines() if not line.startswith("#")]
    assert label[:2] == ['0 0 0 0 0 0 0 "Clear Label"', '1 255 90 54 1 1 1 "CMB-001"']


def test_names_cannot_break_a_line():
    made = colours.label_files('index\tname\tcolor\n1\ta "b" c\t#000000\n2\t\t#FFFFFF\n')
    assert '"a_b_c"' in made[".label"]
    assert "2 label_2 255 255 255 255" in made[".ctbl"]


def test_the_validator_is_told_to_leave_them_alone():
    assert {f"*{ending}" for ending in colours.ENDINGS} <= set(BIDSIGNORE)
