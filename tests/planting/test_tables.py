"""Tables of results whose counts are known."""

import pytest

from mbseg_bids.data.columns import describe_columns
from mbseg_bids.evaluation.intervals import wilson_interval
from mbseg_bids.planting.figure import curve_figure
from mbseg_bids.planting.page import render_page
from mbseg_bids.planting.plant import Acquisition
from mbseg_bids.planting.session import SessionResult
from mbseg_bids.planting.tables import columns, curve_table, planted_table, scan_rows, summary_table


def lesion(number, diameter, *, found, region="deep_gm", near=False):
    return {
        **{"repetition": 1, "lesion": number, "region": region, "x_mm": 0.0, "y_mm": 0.0, "z_mm": 0.0},
        **{"volume_mm3": diameter**3, "diameter_mm": diameter, "size_class": "small" if diameter < 2 else "large"},
        **{"contrast_ratio": 2.0, "near_vessel": near, "vessel_distance_mm": float("inf"), "found": found},
        **{"probability_max": 0.5, "lost_at": "" if found else "network", "found_without_second_look": True},
    }


@pytest.fixture
def result():
    """Four planted in two repetitions, three found, all without the classifier; one other with it, five without."""
    planted = [
        lesion(1, 7.5, found=True),
        lesion(2, 4.5, found=True, near=True),
        lesion(3, 4.1, found=True, region="brainstem"),
        lesion(4, 1.8, found=False),
    ]
    other = {"repetition": 1, "region": "deep_gm", "size_class": "small"}
    others = [other | {"steps": "as_run"}, *[other | {"steps": "without_second_look"}] * 5]
    return SessionResult(
        "sub-1_ses-a", planted, others, 2, ("as_run", "without_second_look"), Acquisition(25, 3, ("a <b>field</b>",)),
        3.0, 1, 1, 4, ("<script>alert(1)</script>",),
    )  # fmt: skip


def one(frame, **where):
    for column, value in ({"participant_id": "all", "steps": "as_run", "group": "all"} | where).items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_every_column_is_described(result):
    tables = {"planted": planted_table, "planted_summary": summary_table, "planted_curve": curve_table}
    for name, make in tables.items():
        assert list(make([result])) == list(columns(name))
        assert all(described["Description"] for described in columns(name).values())


def test_whatever_rejects_a_candidate_is_among_what_loses_a_planted_one():
    reasons = describe_columns("candidates")["reason"]["Levels"]
    assert set(reasons) <= set(columns("planted")["lost_at"]["Levels"])


def test_counts_and_intervals(result):
    summary = summary_table([result])
    total = one(summary)
    assert (total["n_scans"], total["n_planted"], total["n_found"], total["n_not_planted"]) == (2, 4, 3, 1)
    assert total["sensitivity"] == 0.75
    assert (total["sensitivity_low"], total["sensitivity_high"]) == pytest.approx(wilson_interval(3, 4))
    assert total["sensitivity_interval"] == "wilson"  # one participant
    assert total["not_planted_per_scan"] == 0.5
    without = one(summary, steps="without_second_look")
    assert (without["n_found"], without["not_planted_per_scan"]) == (4, 2.5)
    assert one(summary, group="region", value="brainstem")["n_planted"] == 1
    assert one(summary, group="region", value="deep_gm")["n_not_planted"] == 1
    assert one(summary, group="size_class", value="small")["sensitivity"] == 0
    assert one(summary, group="slice_thickness", value="3")["n_planted"] == 4
    assert one(summary, group="near_vessel", value="yes")["n_found"] == 1
    assert one(summary, participant_id="sub-1")["session_id"] == "ses-a"


def test_planted_table(result):
    rows = planted_table([result])
    assert rows["found"].tolist() == ["yes", "yes", "yes", "no"]
    assert rows["lost_at"].tolist() == ["n/a", "n/a", "n/a", "network"]
    assert rows["vessel_distance_mm"].isna().all()


def test_curve(result):
    curve = curve_table([result])
    everything = curve[curve["region"] == "all"]
    assert everything["diameter_from"].tolist() == [0, 4, 7]
    assert everything["n_planted"].tolist() == [1, 2, 1]
    assert everything["sensitivity"].tolist() == [0, 1, 1]
    assert everything["diameter_mean"].tolist() == pytest.approx([1.8, 4.3, 7.5])
    assert len(curve_figure(curve).axes) == 2


def test_scan_rows(result):
    assert scan_rows(summary_table([result])) == [
        {"scan": "sub-1_ses-a", "steps": steps, "planted": "4", "found": found, "not planted per scan": others}
        for steps, found, others in (
            ("all steps", "3 (75%)", "0.5"),
            ("without candidate classifier", "4 (100%)", "2.5"),
        )
    ]


def test_page(result):
    tables = {
        "planted": planted_table([result]),
        "planted_summary": summary_table([result]),
        "planted_curve": curve_table([result]),
    }
    page = render_page(
        [result], tables, b"png", settings={"seed": "<i>"}, problems=["<script>"], reports=["sub-1"], way_back="../"
    )
    assert "3 of 4 planted microbleeds were found: 75 % (30–95)" in page
    assert "Half real" in page
    assert "<script" not in page
    assert "<b>field" not in page
    assert "&lt;i&gt;" in page
    assert 'href="../sub-1.html#sub-1_ses-a"' in page
    assert "http" not in page.replace("http-equiv", "")
