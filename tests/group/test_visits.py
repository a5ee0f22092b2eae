"""Visits compared from the files of an output folder; the registration is given, as its own tests run it."""

import csv
import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from fake_output import LESION_REGIONS, LESIONS_MM, fake_arrays, fake_summary, lesion_rows, write_session

from mbseg_bids.cli import workbench
from mbseg_bids.group.visits import build_visits
from mbseg_bids.imaging.midpoint import Midpoint
from mbseg_bids.imaging.registration_check import RegistrationCheck

SHIFT = np.array([4.0, -2.0, 0.0])
"""How the head of the second visit lies, mm, against that of the first."""


def given(passed=True, disagreement=0.3):
    """A registration that knows the shift."""
    half = np.eye(4)
    half[:3, 3] = SHIFT / 2
    check = RegistrationCheck(1.1, 0.7, 0.97, passed, () if passed else ("moved by 5 mm it is as good",))
    return lambda *_: Midpoint(half, np.linalg.inv(half), disagreement, check)


def write_visit(tmp_path, session, labels, *, moved=False, candidates=(), probability_at=None, echo_time=0.02):
    """One session with some of the lesions of the fake output; candidates and probability as (name, mm)."""
    fake = fake_arrays()
    rows = []
    for row in lesion_rows(fake):
        if row["index"] in labels:
            place = np.array(LESIONS_MM[row["index"]]) + (SHIFT if moved else 0)
            rows.append(row | dict(zip(("x_mm", "y_mm", "z_mm"), place, strict=True)))
    summary = fake_summary("01", session)
    summary["inputs"]["T2starw"]["metadata"]["EchoTime"] = echo_time
    anat = write_session(tmp_path, "01", session, rows=rows, summary=summary)
    stem = f"sub-01_ses-{session}_space-T2starw"
    table = [
        {"index": n, "name": name, "status": "rejected", "reason": "second_look"}
        | dict(zip(("x_mm", "y_mm", "z_mm"), place, strict=True))
        for n, (name, place) in enumerate(candidates, start=1)
    ]
    columns = ["index", "name", "status", "reason", "x_mm", "y_mm", "z_mm"]
    pd.DataFrame(table, columns=columns).to_csv(anat / f"{stem}_seg-CMBcandidates_dseg.tsv", sep="\t", index=False)
    probability = np.zeros(fake.images["T2starw"].shape, np.float32)
    if probability_at is not None:
        index = np.linalg.inv(fake.affine) @ [*probability_at, 1]
        probability[tuple(np.rint(index[:3]).astype(int))] = 0.3
    nib.save(nib.Nifti1Image(probability, fake.affine), anat / f"{stem}_label-CMB_probseg.nii.gz")


def read(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def test_one_stays_one_goes_one_comes_and_the_head_has_moved(tmp_path):
    write_visit(tmp_path, "1", {1, 2})
    write_visit(tmp_path, "2", {1, 3}, moved=True)
    result = build_visits(tmp_path, register=given())
    rows = {row["status"]: row for row in read(result.changes)}
    assert {s: (r["lesion_before"], r["lesion_after"]) for s, r in rows.items()} == {
        "stable": ("CMB-001", "CMB-001"),
        "not_seen_again": ("CMB-002", "n/a"),
        "new": ("n/a", "CMB-003"),
    }
    assert float(rows["stable"]["distance_mm"]) == pytest.approx(0, abs=1e-6)
    assert float(rows["stable"]["volume_ratio"]) == pytest.approx(1)
    assert float(rows["new"]["x_mm"]) == LESIONS_MM[3][0] + SHIFT[0]
    (pair,) = read(result.visits)
    assert [pair[f"n_{n}"] for n in ("before", "after", "stable", "new", "not_seen_again")] == ["2", "2", "1", "1", "1"]
    assert (pair["aria_h_class"], pair["acquisition_changed"]) == ("n/a", "n/a")
    page = (tmp_path / "sub-01_visits.html").read_text()
    assert "ARIA" not in page
    assert page.count('<svg class="picture"') == 2 * 3
    assert "<script" not in page
    for table in (result.changes, result.visits):
        described = json.loads(table.with_suffix(".json").read_text())
        assert set(read(table)[0]) == set(described) - {"MeasurementToolMetadata"}
    assert set(LESION_REGIONS) == {1, 2, 3}


def test_what_the_other_visit_does_not_rule_out_is_uncertain(tmp_path):
    near = np.array(LESIONS_MM[3]) + np.array([3.0, 0, 0])
    write_visit(tmp_path, "1", {1, 2}, candidates=[("CAND-009", near)])
    write_visit(tmp_path, "2", {1, 3}, moved=True, probability_at=np.array(LESIONS_MM[2]) + SHIFT)
    rows = read(build_visits(tmp_path, register=given()).changes)
    assert [(r["status"], r["why_uncertain"], r["candidate"]) for r in rows] == [
        ("stable", "n/a", "n/a"),
        ("uncertain", "candidate", "CAND-009"),
        ("uncertain", "network", "n/a"),
    ]
    assert float(rows[2]["network_probability"]) == pytest.approx(0.3)


def test_a_class_is_given_under_therapy_alone_and_unlike_scans_are_named(tmp_path):
    write_visit(tmp_path, "1", set())
    write_visit(tmp_path, "2", {1, 2}, moved=True, echo_time=0.03)
    (pair,) = read(build_visits(tmp_path, anti_amyloid=["01"], register=given()).visits)
    assert pair["aria_h_class"] == "mild"
    assert pair["acquisition_changed"] == "echo time (s) 0.02, then 0.03"
    page = (tmp_path / "sub-01_visits.html").read_text()
    assert "ARIA-H, new microhaemorrhages: <strong>mild" in page
    assert "The scans differ: echo time" in page


@pytest.mark.parametrize(("passed", "disagreement"), [(False, 0.0), (True, 2.1)])
def test_after_a_failed_registration_nothing_is_compared(tmp_path, passed, disagreement):
    write_visit(tmp_path, "1", {1})
    write_visit(tmp_path, "2", {1}, moved=True)
    result = build_visits(tmp_path, anti_amyloid=["01"], register=given(passed, disagreement))
    (pair,) = read(result.visits)
    assert (pair["registration_passed"], pair["n_new"], pair["aria_h_class"]) == ("false", "n/a", "n/a")
    assert read(result.changes) == []
    assert "nothing is compared" in (tmp_path / "sub-01_visits.html").read_text()


def test_each_visit_is_compared_with_the_one_before_or_the_first_and_unfinished_ones_are_named(tmp_path):
    for session in ("1", "2", "10", "11"):
        write_visit(tmp_path, session, {1})
    (tmp_path / "logs" / "sub-01_ses-2_done.json").unlink()
    result = build_visits(tmp_path, register=given())
    assert result.problems == ("sub-01_ses-2 is left out: it is not finished",)
    assert [(r["session_before"], r["session_after"]) for r in read(result.visits)] == [
        ("ses-1", "ses-10"),
        ("ses-10", "ses-11"),
    ]
    first = read(build_visits(tmp_path, against="first", register=given()).visits)
    assert [(r["session_before"], r["session_after"]) for r in first] == [("ses-1", "ses-10"), ("ses-1", "ses-11")]


def test_bad_input_ends_in_one_line(tmp_path, capsys):
    assert workbench.main(["visits", str(tmp_path / "nowhere")]) == 64
    write_session(tmp_path, images=False)
    assert workbench.main(["visits", str(tmp_path)]) == 18
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "no participant with two sessions" in lines[1]
