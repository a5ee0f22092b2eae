import base64
import io
import json
import re

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from fake_output import fake_arrays, fake_summary, lesion_rows, write_session
from PIL import Image

from mbseg_bids.clinical.burden import BURDEN_CLASSES
from mbseg_bids.group import prevalence
from mbseg_bids.group.build import build_group
from mbseg_bids.group.columns import group_columns
from mbseg_bids.imaging.quality_ranges import judge_quality, training_ranges
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.reports import glass

ROWS = lesion_rows(fake_arrays())


def lesion(region, volume, size, flags="n/a", index=1):
    return ROWS[0] | {"index": index, "region": region, "volume_mm3": volume, "size_class": size, "flags": flags}


def table(output_dir, bids_dir=None):
    result = build_group(output_dir, bids_dir)
    read = pd.read_csv(result.table, sep="\t", dtype=str, keep_default_na=False)
    return result, read.set_index(["participant_id", "session_id"], drop=False)


def test_known_counts(tmp_path):
    rows = [
        lesion("cortical_gm", 3.0, "small", "below_minimum_size"),
        lesion("cortical_gm", 10.5, "medium"),
        lesion("deep_gm", 40.0, "large"),
        lesion("cerebral_wm", 900.0, "large", "above_maximum_size"),
    ]
    anat = write_session(tmp_path, "01", "1", rows=rows, images=False)
    candidates = next(anat.glob("*candidates_dseg.tsv"))
    candidates.write_text(candidates.read_text().replace("rejected\tintensity_ratio", "rejected\tabove_maximum_size"))
    write_session(tmp_path, "01", "2", rows=[], images=False)
    result, read = table(tmp_path)
    one, two = read.loc[("sub-01", "ses-1")], read.loc[("sub-01", "ses-2")]
    expected = {
        "status": "complete",
        "n_total": "3",
        "n_cortical_gm": "2",
        "n_deep_gm": "1",
        "n_cerebral_wm": "0",
        "n_small": "1",
        "n_medium": "1",
        "n_large": "1",
        "n_below_minimum_size": "1",
        "n_macrohaemorrhage": "2",
        "volume_total": "53.5",
        "volume_cortical_gm": "13.5",
        "distribution_pattern": "mixed",
        "burden_class": "2 to 4",
        "at_least_five": "false",
        "registration_passed": "true",
        "n_warnings": "0",
        "contrasts": "T2starw,T2w,T1w",
        "anatomy_source": "computed",
        "t2star_sequence": "T2starw",
        "t2star_echo_time": "0.02",
        "t2star_field_strength": "3",
        "t2star_voxel_size_in_plane": "2",
        "t2star_slice_thickness": "5",
        "t2star_slice_spacing": "5",
        "weights": "first",
        "ratio_threshold": "1.2",
        "probability_threshold": "n/a",
        "software_version": "0.1.0",
    }
    assert {name: one[name] for name in expected} == expected
    assert (two["n_total"], two["distribution_pattern"], two["burden_class"]) == ("0", "none", "0")
    assert (result.n_sessions, result.n_complete, result.problems) == (2, 2, ())


def test_every_column_is_described_and_participant_comes_first(tmp_path):
    write_session(tmp_path, images=False)
    (tmp_path / "participants.tsv").write_text("participant_id\tage\tsex\nsub-01\t71\tF\n")
    result, read = table(tmp_path)
    described = json.loads(result.sidecar.read_text())
    assert read.columns[0] == "participant_id"
    assert set(read.columns) == set(described) - {"MeasurementToolMetadata"}
    assert all(described[name]["Description"] for name in read.columns)
    assert not [name for name in read.columns if name.isupper() or "REGION" in name]
    assert read.iloc[0][["age", "sex"]].tolist() == ["71", "F"]


def test_missing_and_broken_tables_are_rows_and_are_named(tmp_path):
    write_session(tmp_path, "01", images=False)
    for participant, content in {
        "02": None,
        "03": b"",
        "04": b"index\tname\n1\tCMB-001\n",
        "05": b"\xff\xfe\x00",
        "06": b"index\tregion\tvolume_mm3\n1\tdeep_gm\n",
        "07": b"index\tregion\tvolume_mm3\n1\tdeep_gm\tabc\n",
    }.items():
        path = next(write_session(tmp_path, participant, images=False).glob("*seg-CMB_dseg.tsv"))
        path.unlink() if content is None else path.write_bytes(content)
    result, read = table(tmp_path)
    assert read["status"].tolist() == ["complete", "missing_table"] + ["broken_table"] * 5
    assert (read["n_total"][1:] == "n/a").all()
    assert [p.split(":")[0] for p in result.problems] == [f"sub-0{n}" for n in range(2, 8)]
    assert (result.n_sessions, result.n_complete) == (7, 1)
    page = result.page.read_text()
    assert all(f"sub-0{n}" in page for n in range(1, 8))


def test_session_without_the_mark_of_completion_is_named_and_kept_out_of_the_charts(tmp_path):
    write_session(tmp_path, "01", images=False)
    write_session(tmp_path, "02", images=False)
    (tmp_path / "logs" / "sub-02_done.json").unlink()
    result, read = table(tmp_path)
    assert read["status"].tolist() == ["complete", "unfinished"]
    assert read["n_total"].tolist() == ["3", "3"]
    assert result.n_complete == 1
    assert [p.split(":")[0] for p in result.problems] == ["sub-02"]
    assert "1 complete session without a failed check: 3 microbleeds" in result.page.read_text()


def test_session_without_summary_is_counted_and_named(tmp_path):
    write_session(tmp_path, images=False)
    (tmp_path / "logs" / "sub-01_summary.json").unlink()
    result, read = table(tmp_path)
    assert read.iloc[0]["n_total"] == "3"
    assert read.iloc[0]["registration_passed"] == "n/a"
    assert "summary" in result.problems[0]


def test_failed_registration_is_flagged_named_and_first_on_the_page(tmp_path):
    write_session(tmp_path, "01", images=False)
    summary = fake_summary("02", warnings=["one", "two"])
    summary["anatomy"]["registration"]["t1w_to_t2star"]["passed"] = False
    write_session(tmp_path, "02", summary=summary, images=False)
    result, read = table(tmp_path)
    assert read["registration_passed"].tolist() == ["true", "false"]
    assert read["n_warnings"].tolist() == ["0", "2"]
    assert result.problems == ("sub-02: T1w to T2* registration failed its check.",)
    page = result.page.read_text()
    body = page[page.index('<table class="sessions">') :]
    assert body.index("sub-02") < body.index("sub-01")
    assert "1 complete session without a failed check: 3 microbleeds" in page


def test_input_tables_are_joined_by_participant_and_session(tmp_path):
    out, bids = tmp_path / "out", tmp_path / "bids"
    for session in ("1", "2"):
        write_session(out, "01", session, images=False)
        (bids / "sub-01" / f"ses-{session}" / "anat").mkdir(parents=True)
    write_session(out, "02", images=False)
    (bids / "sub-02" / "anat").mkdir(parents=True)
    (bids / "sub-10" / "anat").mkdir(parents=True)
    (bids / "participants.tsv").write_text(
        "participant_id\tage\tstatus\n01\t70\tcontrol\nsub-02\t80\tpatient\nsub-02\t81\tpatient\n"
    )
    (bids / "participants.json").write_text(json.dumps({"age": {"Description": "Age.", "Units": "year"}}))
    (bids / "sub-01" / "sub-01_sessions.tsv").write_text("session_id\tage\tscanner_id\nses-1\t70.5\tA\n2\t72\tB\n")
    result, read = table(out, bids)
    assert read["age"].tolist() == ["70", "70", "80", "n/a"]
    assert read["participants_status"].tolist() == ["control", "control", "patient", "n/a"]
    assert read["sessions_age"].tolist() == ["70.5", "72", "n/a", "n/a"]
    assert read["scanner_id"].tolist() == ["A", "B", "n/a", "n/a"]
    assert read["status"].tolist() == ["complete"] * 3 + ["not_started"]
    assert json.loads(result.sidecar.read_text())["age"]["Units"] == "year"
    assert [p for p in result.problems if "twice" in p] == [
        "participants.tsv lists sub-02 twice: the first row counts."
    ]
    assert [p for p in result.problems if p.startswith("sub-10")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name\tage\nsub-01\t3\n", "has no column participant_id"),
        (b"participant_id,age\nsub-01,3\n", "has no column participant_id"),
        (b"", "has no column participant_id"),
        ("participant_id\tort\nsub-01\tZürich\n".encode("latin-1"), "not UTF-8"),
    ],
)
def test_odd_participants_table_is_named_and_not_fatal(tmp_path, content, said):
    write_session(tmp_path, images=False)
    (tmp_path / "participants.tsv").write_bytes(content)
    result, read = table(tmp_path)
    assert read.iloc[0]["n_total"] == "3"
    assert any(said in p for p in result.problems)


def test_excel_encoding_of_participants_is_read(tmp_path):
    write_session(tmp_path, images=False)
    (tmp_path / "participants.tsv").write_bytes("participant_id\tort\r\nsub-01\tZürich\r\n".encode("utf-16"))
    result, read = table(tmp_path)
    assert read.iloc[0]["ort"] == "Zürich"
    assert result.problems == ()


def test_rows_are_in_natural_order_and_bytes_are_stable(tmp_path):
    for participant in ("10", "2", "1", "b"):
        write_session(tmp_path, participant, images=False)
    result, read = table(tmp_path)
    assert read["participant_id"].tolist() == ["sub-1", "sub-2", "sub-10", "sub-b"]
    first = [p.read_bytes() for p in (result.table, result.sidecar, result.page)]
    again = build_group(tmp_path)
    assert [p.read_bytes() for p in (again.table, again.sidecar, again.page)] == first


def test_hostile_strings_are_text(tmp_path):
    hostile = "<script>alert(1)</script>"
    summary = fake_summary("01")
    summary["anatomy"]["reuse"] = {hostile: hostile}
    write_session(tmp_path, summary=summary, images=False)
    (tmp_path / "participants.tsv").write_text(f"participant_id\t{hostile}\nsub-01\ta\nsub-01\t{hostile}\n")
    page = build_group(tmp_path).page.read_text()
    assert page.count("<script") == 1
    assert "&lt;script&gt;" in page
    assert "http:" not in page
    assert "https:" not in page


def test_unlike_scans_are_not_pooled_without_a_word(tmp_path):
    write_session(tmp_path, "01", images=False)
    assert "kinds of scan" not in build_group(tmp_path).page.read_text()
    summary = fake_summary("02")
    summary["inputs"]["T2starw"]["metadata"]["MagneticFieldStrength"] = 1.5
    write_session(tmp_path, "02", summary=summary, images=False)
    page = build_group(tmp_path).page.read_text()
    assert "2 kinds of scan: the charts below pool them" in page
    by_acquisition = page[page.index("By acquisition") : page.index("By scanner")]
    assert by_acquisition.count("<td>T2starw, ") == 2


def test_no_session_gives_an_empty_table(tmp_path):
    result = build_group(tmp_path)
    assert result.table.read_text() == "\t".join(group_columns()) + "\n"
    assert "No session was found" in result.page.read_text()


def test_a_thousand_sessions_fifty_broken(tmp_path):
    """Fifty of them with an empty table; all fifty are named."""
    (tmp_path / "logs").mkdir()
    columns = list(ROWS[0])
    text = "\n".join("\t".join(str(c) for c in line) for line in [columns, *(list(row.values()) for row in ROWS)])
    for n in range(1000):
        name = f"sub-{n:04d}"
        anat = tmp_path / name / "anat"
        anat.mkdir(parents=True)
        (tmp_path / "logs" / f"{name}_summary.json").write_text(json.dumps(fake_summary(f"{n:04d}")))
        (tmp_path / "logs" / f"{name}_done.json").write_text("{}")
        (anat / f"{name}_space-T2starw_seg-CMB_dseg.tsv").write_text("" if n % 20 == 0 else text)
        (anat / f"{name}_space-T2starw_seg-CMBcandidates_dseg.tsv").write_text("index\n")
    result = build_group(tmp_path)
    assert (result.n_sessions, result.n_complete, len(result.problems)) == (1000, 950, 50)
    assert {p.split(":")[0] for p in result.problems} == {f"sub-{n:04d}" for n in range(0, 1000, 20)}
    assert len(result.lesions.read_text().splitlines()) == 1 + 950 * len(ROWS)


def test_sessions_with_unlike_contrasts_are_told_apart(tmp_path):
    write_session(tmp_path, "01", images=False)
    page = table(tmp_path)[0].page.read_text()
    assert "kinds of scan" not in page
    summary = fake_summary("02", missing_contrasts=["T2w"])
    del summary["inputs"]["T2w"]
    write_session(tmp_path, "02", images=False, summary=summary)
    result, read = table(tmp_path)
    assert read["contrasts"].tolist() == ["T2starw,T2w,T1w", "T2starw,T1w"]
    assert "1 on T2*, T1w; 1 on T2*, T2w, T1w" in result.page.read_text()


def test_every_lesion_of_every_session_has_a_row_that_says_whose_it_is(tmp_path):
    write_session(tmp_path, "01", "1", images=False)
    write_session(tmp_path, "02", images=False)
    write_session(tmp_path, "03", rows=[], images=False)
    summary = fake_summary("04")
    summary["anatomy"]["registration"]["t1w_to_t2star"]["passed"] = False
    write_session(tmp_path, "04", summary=summary, rows=ROWS[:1], images=False)
    result = build_group(tmp_path)
    lesions = pd.read_csv(result.lesions, sep="\t", dtype=str, keep_default_na=False)
    assert lesions["participant_id"].tolist() == ["sub-01"] * 3 + ["sub-02"] * 3 + ["sub-04"]
    assert lesions["session_id"].tolist() == ["ses-1"] * 3 + ["n/a"] * 4
    assert lesions["registration_passed"].tolist() == ["true"] * 6 + ["false"]
    assert lesions["name"].tolist()[:3] == [row["name"] for row in ROWS]
    assert float(lesions["volume_mm3"][0]) == ROWS[0]["volume_mm3"]
    assert set(lesions["x_template_mm"]) == {"n/a"}
    described = json.loads(result.lesions.with_suffix(".json").read_text())
    assert set(lesions.columns) == set(described) - {"MeasurementToolMetadata"}
    assert all(described[name]["Description"] for name in lesions.columns)


def test_prevalence_is_the_part_of_participants_and_places_go_into_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr("mbseg_bids.group.prevalence.template_brain", lambda name: None)  # the picture has its own test
    labels = np.zeros((4, 5, 6), np.int16)
    affine = np.diag([2.0, 2, 2, 1])
    where = {("01", "1"): (1, 1, 1), ("01", "2"): (1, 1, 1), ("02", ""): (3, 4, 5), ("03", ""): (0, 0, 0)}
    for (participant, session), voxel in where.items():
        summary = fake_summary(participant, session)
        if participant == "03":  # it failed its check, and stays out
            summary["anatomy"]["registration"]["t1w_to_t2star"]["passed"] = False
        anat = write_session(tmp_path, participant, session, summary=summary, rows=ROWS[:1], images=False)
        mask = labels.copy()
        mask[voxel] = 1
        prefix = f"sub-{participant}" + (f"_ses-{session}" if session else "")
        nib.save(nib.Nifti1Image(mask, affine), anat / f"{prefix}_space-MNI152NLin2009aSym_seg-CMB_dseg.nii.gz")
    result = build_group(tmp_path)
    values = np.asarray(nib.load(result.prevalence_map).dataobj)
    assert {tuple(v): values[tuple(v)] for v in np.argwhere(values)} == {(1, 1, 1): 0.5, (3, 4, 5): 0.5}
    facts = json.loads(result.prevalence_map.with_name(f"{result.prevalence_map.name[:-7]}.json").read_text())
    assert (facts["NumberOfParticipants"], facts["NumberOfSessions"]) == (2, 3)
    lesions = pd.read_csv(result.lesions, sep="\t", dtype=str, keep_default_na=False)
    places = lesions[["participant_id", "x_template_mm", "y_template_mm", "z_template_mm"]].values.tolist()
    assert places == [["sub-01", "2", "2", "2"]] * 2 + [["sub-02", "6", "8", "10"], ["sub-03", "n/a", "n/a", "n/a"]]
    first = result.prevalence_map.read_bytes()
    assert build_group(tmp_path).prevalence_map.read_bytes() == first


def test_failed_running_and_unknown_participants_are_named_with_their_state(tmp_path):
    write_session(tmp_path, "01", images=False)
    failure = {"step": "detection classify", "error": "out of memory"}
    (tmp_path / "logs" / "sub-02_failure.json").write_text(json.dumps(failure))
    (tmp_path / "logs" / "sub-03_incomplete.txt").write_text("at work")
    (tmp_path / "participants.tsv").write_text("participant_id\tage\nsub-01\t70\nsub-04\t71\n")
    result, read = table(tmp_path)
    assert read["status"].tolist() == ["complete", "failed", "missing_table", "not_started"]
    assert read["age"].tolist() == ["70", "n/a", "n/a", "71"]
    assert result.problems[0] == "sub-02: failed at step detection classify: out of memory."
    assert "Its run is at work, or was stopped." in result.problems[1]
    assert "sub-04: listed in participants.tsv" in result.problems[-1]
    page = result.page.read_text()
    assert "<strong>1 failed</strong>: sub-02" in page
    assert "<strong>1 not started</strong>: sub-04" in page


def cohort(output_dir, counts, brains, field=3):
    for n, (count, brain) in enumerate(zip(counts, brains, strict=True)):
        name = f"{field}{n:02d}".replace(".", "x")
        summary = fake_summary(name)
        summary["anatomy"]["brain_ml"] = {"T1w": brain}
        summary["inputs"]["T2starw"]["metadata"]["MagneticFieldStrength"] = field
        rows = [ROWS[0] | {"index": i + 1} for i in range(count)]
        write_session(output_dir, name, summary=summary, rows=rows, images=False)


def test_outliers_are_found_among_like_scans_only_and_come_first(tmp_path):
    brains = [1400, 1410, 1420, 1430, 1440, 1450, 1460, 1470]
    cohort(tmp_path, [0, 0, 1, 0, 2, 0, 0, 40], [*brains[:6], 700, 1470])
    cohort(tmp_path, [40, 41, 40, 39], [700] * 4, field=1.5)  # many, but usual there
    result, read = table(tmp_path)
    found = {row["participant_id"]: row["outlier"] for _, row in read.iterrows() if row["outlier"] != "n/a"}
    assert found == {"sub-306": "smaller_brain", "sub-307": "more_microbleeds"}
    page = result.page.read_text()
    looks = page[page.index("Look at these first") : page.index("<h2>Counts")]
    assert re.findall(r"sub-\d+", looks) == ["sub-306", "sub-307"]
    body = page[page.index('<table class="sessions">') :]
    assert re.findall(r"sub-\w+", body)[:2] == ["sub-306", "sub-307"]


def test_few_sessions_have_no_outlier(tmp_path):
    cohort(tmp_path, [0, 0, 0, 0, 0, 0, 90], [1400] * 7)
    assert set(table(tmp_path)[1]["outlier"]) == {"n/a"}


def test_counts_by_site_come_from_the_column_of_the_input(tmp_path):
    write_session(tmp_path, "01", images=False)
    write_session(tmp_path, "02", rows=[], images=False)
    (tmp_path / "participants.tsv").write_text("participant_id\tSite\nsub-01\tA&B\nsub-02\tC\n")
    page = build_group(tmp_path).page.read_text()
    by_site = page[page.index("By site") : page.index("Where they are")]
    assert re.findall(r"<tr><td>(.*?)</td><td class=.number.>(\d+)<", by_site) == [("A&amp;B", "1"), ("C", "1")]


def test_overdispersion_is_told(tmp_path):
    cohort(tmp_path, [0, 0, 0, 12], [1400] * 4)
    page = build_group(tmp_path).page.read_text()
    assert '<td class="number">25 %</td><td class="number">0</td><td class="number">3.00</td>' in page
    assert '<td class="number">12.0</td>' in page  # variance 36, mean 3


def test_picture_of_the_prevalence_map_is_drawn_where_the_lesions_are(monkeypatch):
    shape = (60, 70, 50)
    brain = Volume(np.pad(np.full((50, 60, 40), 80, np.float32), 5), np.diag([1.0, 1, 1, 1]))
    monkeypatch.setattr(prevalence, "template_brain", lambda name: brain)
    monkeypatch.setattr(glass, "template_brain", lambda name: brain)
    glass.glass_planes.cache_clear()
    here = np.ravel_multi_index((45, 20, 30), shape)  # the patient's right, behind
    found = prevalence.Prevalence("any", brain.affine, shape, {"sub-01": np.array([here])}, 1)
    pictures, _ = prevalence.prevalence_pictures(found)
    glass.glass_planes.cache_clear()
    assert len(pictures) == 3
    axial = pictures[2]
    heat = re.findall(r'href="data:image/png;base64,([^"]+)"', axial)[1]
    opacity = np.array(Image.open(io.BytesIO(base64.b64decode(heat))))[..., 3].astype(float)
    row, column = np.unravel_index(opacity.argmax(), opacity.shape)
    assert column < opacity.shape[1] / 2  # right is on the left
    assert row > opacity.shape[0] / 2  # behind is below
    assert re.search(r"lie, 1 participant\b", axial)


def test_rejected_candidates_and_quality_are_columns(tmp_path):
    summary = fake_summary("01")
    summary["detection"]["search"] |= {"n_mask_voxels": 30, "n_brain_voxels": 400}
    summary["anatomy"]["registration"]["t2w_to_t2star"] |= {"retried": True, "overlap": 0.91}
    write_session(tmp_path, summary=summary, images=False)
    anat = write_session(tmp_path, "02", images=False)
    next(anat.glob("*CMBcandidates_dseg.tsv")).unlink()
    _, read = table(tmp_path)
    one, two = read.iloc[0], read.iloc[1]
    assert (one["n_candidates"], one["n_rejected"]) == ("4", "1")
    assert (two["n_candidates"], two["n_rejected"]) == ("n/a", "n/a")
    expected = {"similarity_t1w": "0.61", "overlap_t2w": "0.91", "overlap_template": "0.97"}
    expected |= {"registration_retried": "true", "dark_share": "0.075"}
    assert {name: one[name] for name in expected} == expected
    assert (two["registration_retried"], two["dark_share"]) == ("false", "n/a")


def test_unreliable_counts_are_columns_and_named_on_the_page_with_their_reason(tmp_path):
    ranges = training_ranges()
    for participant, snr in (("01", 2.0), ("02", 30.0), ("03", None)):
        summary = fake_summary(participant)
        if snr:
            measured = {"t2star_snr": snr, "t2star_coverage": 0.99}
            quality = judge_quality(measured, ranges, weights_sha256=ranges["weights"]["sha256"])
            summary["quality"] = quality.as_dict()
        write_session(tmp_path, participant, summary=summary, images=False)
    result, read = table(tmp_path)
    assert read["counts_unreliable"].tolist() == ["true", "false", "n/a"]
    assert read["t2star_snr"].tolist() == ["2", "30", "n/a"]
    assert read["t2star_coverage"].tolist() == ["0.99", "0.99", "n/a"]
    reason = read["unreliable_because"].iloc[0]
    assert reason.startswith("signal-to-noise ratio of white matter is 2 (training scans: ")
    assert read["unreliable_because"].tolist()[1:] == ["n/a", "n/a"]
    page = result.page.read_text()
    assert (
        f"sub-01</a>: counts unreliable because {reason}" in page
        or f"sub-01: counts unreliable because {reason}" in page
    )
    assert "counts unreliable because" in (tmp_path / "index.html").read_text()
    assert page.index("sub-01") < page.index("sub-02")


def test_a_session_without_microbleeds_says_why(tmp_path):
    summary = fake_summary("01")
    summary["detection"] |= {
        "n_lesions": 0,
        "why_none": "No lesion: all 4 candidates were rejected (4 by second_look).",
    }
    write_session(tmp_path, summary=summary, rows=[], images=False)
    write_session(tmp_path, "02", images=False)
    _, read = table(tmp_path)
    assert read["why_none"].tolist() == [summary["detection"]["why_none"], "n/a"]


def test_places_of_the_lesion_table_go_before_those_of_the_image(tmp_path):
    rows = [ROWS[0] | {"side": "left", "x_template_mm": -12.5, "y_template_mm": 3.0, "z_template_mm": 4.0}]
    write_session(tmp_path, rows=rows, images=False)
    lesions = pd.read_csv(build_group(tmp_path).lesions, sep="\t", dtype=str, keep_default_na=False)
    assert lesions.loc[0, ["side", "x_template_mm"]].tolist() == ["left", "-12.5"]


def test_colours_are_the_part_of_participants_near_the_line_of_sight():
    """Three participants; two have a microbleed on the same line, 4 mm apart in plane, one has none."""
    shape, spacing = (41, 41, 9), (1.0, 1.0, 1.0)
    where = {"a": (20, 20, 1), "b": (24, 20, 7)}
    voxels = {name: np.array([np.ravel_multi_index(voxel, shape)]) for name, voxel in where.items()}
    found = prevalence.Prevalence(shape=shape, voxels=voxels | {"c": np.empty(0, np.int64)})
    seen = prevalence._seen_along(found, spacing, 2)
    assert seen[22, 20] == pytest.approx(2 / 3)
    assert seen[15, 20] == seen[29, 20] == pytest.approx(1 / 3)
    assert seen[14, 20] == seen[30, 20] == 0
    assert (seen > 0).sum() < 2 * np.pi * 5.6**2


def test_counts_are_plotted_by_age_and_scanner_where_these_are_known(tmp_path):
    for participant, scanner in (("01", "A"), ("02", "B"), ("03", "B")):
        summary = fake_summary(participant)
        summary["inputs"]["T2starw"]["metadata"]["Manufacturer"] = scanner
        write_session(tmp_path, participant, summary=summary, images=False)
    page = build_group(tmp_path).page.read_text()
    assert "Microbleeds by age" not in page
    assert page.count('class="dot"') == 3
    (tmp_path / "participants.tsv").write_text("participant_id\tage\nsub-01\t60\nsub-02\t71.5\nsub-03\tn/a\n")
    page = build_group(tmp_path).page.read_text()
    assert page.count('class="dot"') == 3 + 2
    assert "71.5 years, 3" in page
    assert "1 without an age is left out" in page


def test_the_bars_of_the_page_are_the_burden_classes(tmp_path):
    write_session(tmp_path, "01", images=False)
    page = build_group(tmp_path).page.read_text()
    chart = page[page.index("Microbleeds per session") : page.index("Sessions of each burden class")]
    assert re.findall(r"<th[^>]*>([^<]+)</th>", chart) == list(BURDEN_CLASSES)


def test_index_has_the_worst_first_with_their_pictures(tmp_path):
    write_session(tmp_path, "01", images=False)
    write_session(tmp_path, "02", summary=fake_summary("02", warnings=["look"]), images=False)
    summary = fake_summary("03")
    summary["anatomy"]["registration"]["t1w_to_t2star"]["passed"] = False
    write_session(tmp_path, "03", summary=summary, images=False)
    (tmp_path / "sub-03.html").write_text("x")
    (tmp_path / "figures").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "figures" / "sub-03_thumbnail.jpg")
    (tmp_path / "figures" / "sub-01_thumbnail.jpg").write_bytes(b"<svg onload=alert(1)>")
    build_group(tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert re.findall(r"(sub-0\d)(?:</a>)?\s*<div><strong>", page) == ["sub-03", "sub-02", "sub-01"]
    assert page.count("<img") == 1
    assert 'href="sub-03.html#sub-03"' in page
    assert "1 warning<" in page
