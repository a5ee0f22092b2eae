"""The panel of quality, the reason of unreliable counts and that of none, from the summary to the page."""

import html
import json
import re

import pytest
from fake_output import fake_arrays, fake_summary, lesion_rows, write_session

from mbseg_bids.imaging.quality_ranges import MEASURES, PROBABILITIES, judge_quality, training_ranges
from mbseg_bids.reports.facts import judge
from mbseg_bids.reports.individual import build_individual_report
from mbseg_bids.reports.quality import quality_panel, unreliable, why_none

RANGES = training_ranges()
MEDIANS = {name: found["median"] for name, found in RANGES["measures"].items()} | {"t2star_coverage": 0.98}


def report(output_dir):
    """The page, and its words."""
    text = build_individual_report(output_dir, "01").read_text(encoding="utf-8")
    body = re.sub(r"<(style|script)>.*?</\1>", "", text, flags=re.DOTALL)
    return text, " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def summary(weights=RANGES["weights"]["sha256"], **changed):
    quality = judge_quality(MEDIANS | changed, RANGES, weights_sha256=weights).as_dict()
    said = fake_summary("01")
    return said | {"quality": quality, "warnings": [*quality["warnings"], *said["warnings"]]}


def verdicts(panel):
    return {row.title: row.verdict for row in panel.rows}


def test_a_scan_like_the_training_scans_passes_and_says_what_that_means(tmp_path):
    write_session(tmp_path, summary=summary())
    _, prose = report(tmp_path)
    assert "Quality of this T2*" in prose
    assert "Inside their range does not mean that the counts are right" in prose
    assert "unreliable because" not in prose
    panel = quality_panel(summary())
    assert set(verdicts(panel).values()) == {"inside"}
    assert len(panel.histogram) == len(PROBABILITIES)
    assert [bar.here for bar in panel.histogram] == [MEDIANS[name] for name in PROBABILITIES]


def test_what_lies_outside_is_on_the_first_screen_before_any_count(tmp_path):
    said = summary(t2star_snr=2.5, t2star_echo_time=0.003)
    assert judge(said, [], table_found=True).warnings[0].startswith("Counts unreliable because signal-to-noise")
    write_session(tmp_path, summary=said)
    text, _ = report(tmp_path)
    sentence = "Counts unreliable because signal-to-noise ratio of white matter is 2.5 (training scans: "
    assert sentence in text
    assert text.index('class="verdict attention"') < text.index(sentence, text.index("<section")) < text.index("<h3>")
    panel = quality_panel(said)
    outside = {title for title, verdict in verdicts(panel).items() if verdict == "OUTSIDE"}
    assert outside == {"Signal-to-noise ratio of white matter", "Echo time"}
    (echo,) = (row for row in panel.rows if row.title == "Echo time")
    assert echo.here == "3 ms"
    assert text.count('<span class="failed-text">OUTSIDE</span>') == 2
    assert "<details open><summary>Measures beside" in text


def test_other_weights_are_not_judged(tmp_path):
    said = summary(weights="0" * 64, t2star_snr=0.1)
    assert unreliable(said) == ""
    assert set(verdicts(quality_panel(said)).values()) == {"inside", "not judged"}
    write_session(tmp_path, summary=said)
    assert "These weights are not the shipped ones" in report(tmp_path)[1]


def test_what_was_not_measured_is_said(tmp_path):
    panel = quality_panel(summary(t2star_snr=None, **dict.fromkeys(PROBABILITIES)))
    assert verdicts(panel)["Signal-to-noise ratio of white matter"] == "not known"
    assert panel.histogram == ()
    assert quality_panel(fake_summary("01")) is None
    write_session(tmp_path, summary=fake_summary("01"))
    assert "Not measured: the session was computed by an earlier version." in report(tmp_path)[1]


@pytest.mark.parametrize(
    "nonsense",
    [3, {"measures": {"t2star_snr": "low", "dark_share": {"value": "x", "low": [], "outside": "yes"}}}, {"reasons": 7}],
)
def test_nonsense_in_the_summary_is_survived(nonsense, tmp_path):
    write_session(tmp_path, summary=fake_summary("01", quality=nonsense))
    assert "Quality of this T2*" in report(tmp_path)[1]


def test_hostile_reasons_are_text(tmp_path):
    said = summary()
    said["quality"]["reasons"] = ["<img src=x onerror=alert(1)>"]
    write_session(tmp_path, summary=said)
    assert "<img src=x" not in report(tmp_path)[0]


@pytest.mark.parametrize(
    ("detection", "expected"),
    [
        ({"why_none": "No candidate: 60 voxels searched."}, "No candidate: 60 voxels searched."),
        ({"warnings": ["3 wide ones.", "No lesion: all 2 candidates were rejected."]}, "No lesion: all 2 candidates"),
        ({}, "Why was not recorded"),
    ],
)
def test_no_microbleed_has_a_reason(detection, expected, tmp_path):
    said = fake_summary("01")
    said["detection"] |= {"n_lesions": 0} | detection
    assert expected in why_none(said)
    write_session(tmp_path, summary=said, rows=[])
    prose = report(tmp_path)[1]
    assert prose.count(expected) >= 2
    assert "Why there is none:" in prose


def test_a_session_with_microbleeds_needs_no_such_reason(tmp_path):
    write_session(tmp_path, rows=lesion_rows(fake_arrays()))
    assert "Why there is none" not in report(tmp_path)[1]


def test_the_table_of_measures_names_each_once():
    rows = quality_panel(json.loads(json.dumps(summary()))).rows
    assert len({row.title for row in rows}) == len(rows)
    assert len(rows) == len([m for n, m in MEASURES.items() if n not in PROBABILITIES or m.sides])
