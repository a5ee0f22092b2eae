import math

import pandas as pd
import pytest

from mbseg_bids.evaluation.tables import describe, markdown_table, sidecar, to_tsv

FRAME = pd.DataFrame(
    {
        "region": ["all", "deep_gm"],
        "n_truth": [12, 0],
        "sensitivity": [11 / 12, math.nan],
        "sensitivity_low": [0.75, math.nan],
        "sensitivity_high": [1.0, math.nan],
        "sensitivity_interval": ["bootstrap", "none"],
    }
)


def test_markdown_shows_scores_with_their_interval():
    table = markdown_table(FRAME, {"region": "Region", "n_truth": "true", "sensitivity": "Sensitivity"})
    assert table.splitlines() == [
        "| Region | true | Sensitivity |",
        "| --- | ---: | ---: |",
        "| all | 12 | 0.92 (0.75–1.00) |",
        "| deep GM | 0 | n/a |",
    ]


def test_markdown_of_a_table_read_back_is_the_same(tmp_path):
    path = tmp_path / "scores.tsv"
    path.write_text(to_tsv(FRAME))
    columns = ["region", "n_truth", "sensitivity"]
    assert markdown_table(pd.read_csv(path, sep="\t"), columns) == markdown_table(FRAME, columns)


def test_markdown_keeps_chosen_rows():
    assert "all" not in markdown_table(FRAME, ["region"], where={"region": ["deep_gm"]})


def test_a_score_near_one_is_not_rounded_to_one():
    frame = pd.DataFrame({"specificity": [0.9991, 0.99996, 1.0]})
    assert [line.strip("| ") for line in markdown_table(frame, ["specificity"]).splitlines()[2:]] == [
        "0.999",
        "1.0000",
        "1.00",
    ]


def test_every_column_is_described():
    assert "Units" in describe("volume_mm3")
    assert describe("sensitivity_low")["Description"] == "Lower end of the interval of sensitivity."
    assert "wilson" in describe("dice_interval")["Levels"]
    with pytest.raises(KeyError, match="mystery"):
        sidecar(FRAME.assign(mystery=1))


def test_tables_say_what_is_missing():
    assert to_tsv(FRAME).splitlines()[2] == "deep_gm\t0\tn/a\tn/a\tn/a\tnone"
