"""A review applied to an output folder: files say what the reader said, and the automatic ones stay as they are."""

import json

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from review_session import KEY, SPOTS, UNSEEN, ball, judge, write_review, write_session

from mbseg_bids.bids.outputs import remove_session_files
from mbseg_bids.cli import workbench
from mbseg_bids.errors import TemporaryError, UnreadableDataError
from mbseg_bids.group.rows import read_session
from mbseg_bids.reports.session_files import SessionKey
from mbseg_bids.review.apply import apply_review

SAID = (judge("CMB-001", "reject", note="a vein"), judge("CMB-002", "unsure"), judge("CAND-003", "accept"),
        judge("ADDED-1", "accept", voxel=UNSEEN))  # fmt: skip


@pytest.fixture
def out(tmp_path, small):
    write_session(tmp_path / "out", small)
    return tmp_path / "out"


def anat(out, key=KEY):
    return out / f"sub-{key.participant}" / (f"ses-{key.session}" if key.session else "") / "anat"


def voxels(out, name, space="T2starw"):
    return np.asarray(nib.load(anat(out) / f"sub-01_ses-a_space-{space}_{name}.nii.gz").dataobj)


def table(out, name):
    return pd.read_csv(anat(out) / f"sub-01_ses-a_space-T2starw_{name}.tsv", sep="\t", keep_default_na=False)


def snapshot(out):
    return {p: p.read_bytes() for p in out.rglob("*") if p.is_file() and "review" not in p.name}


@pytest.fixture
def applied(out, tmp_path):
    before = snapshot(out)
    review = write_review(tmp_path / "review.tsv", out, SAID)
    (one,) = apply_review(out, review)
    after = snapshot(out)
    assert {p: after[p] for p in before} == before  # the automatic result is untouched
    return out, one


def test_masks_and_tables_are_what_the_reader_said(applied, small):
    out, one = applied
    labels = voxels(out, "seg-CMB_desc-reviewed_dseg")
    np.testing.assert_array_equal(labels == 2, small.automatic.lesions == 2)
    np.testing.assert_array_equal(labels == 3, small.automatic.candidates == 3)
    np.testing.assert_array_equal(labels == 4, ball(UNSEEN))
    assert not (labels == 1).any()
    np.testing.assert_array_equal(voxels(out, "label-CMB_desc-reviewed_mask"), labels > 0)
    lesions = table(out, "seg-CMB_desc-reviewed_dseg")
    assert lesions["index"].tolist() == [2, 3, 4]
    assert [(labels == n).sum() for n in lesions["index"]] == lesions["n_voxels"].tolist()
    assert lesions["reader"].tolist() == ["R"] * 3
    assert (one.n_automatic, one.n_reviewed) == (2, 3)


def test_the_grid_is_kept_to_the_bit(applied):
    out, _ = applied
    for space in ("T2starw", "T1w", "MNI152NLin2009aSym"):
        old, new = (
            nib.load(anat(out) / f"sub-01_ses-a_space-{space}_seg-CMB_{d}dseg.nii.gz") for d in ("", "desc-reviewed_")
        )
        assert old.shape == new.shape
        np.testing.assert_array_equal(old.affine, new.affine)


def test_the_sheets_are_filled_in_anew(applied):
    out, _ = applied
    sheet = table(out, "seg-MARS_desc-reviewed_dseg")
    assert sheet["total"].sum() == 3
    assert sheet["definite"].astype(float).sum() == 2
    assert sheet["possible"].astype(float).sum() == 1
    assert table(out, "seg-BOMBS_desc-reviewed_dseg")["total"].sum() == 3


def test_a_candidate_stays_in_doubt_until_a_reader_rejects_it(out, tmp_path):
    for decision, said in (("", "CAND-003"), ("unsure", "CAND-003"), ("reject", "n/a")):
        apply_review(
            out,
            write_review(tmp_path / "r.tsv", out, [judge("CAND-003", decision), judge("CMB-001", "accept")]),
        )
        doubts = set(table(out, "seg-MARS_desc-reviewed_dseg")["in_doubt"]) - {"n/a"}
        assert doubts == {said} - {"n/a"}, decision


def test_sidecars_describe_every_column_and_name_the_reader(applied):
    out, _ = applied
    for name in ("seg-CMB_desc-reviewed_dseg", "seg-CMBcandidates_desc-reviewed_dseg"):
        sidecar = json.loads((anat(out) / f"sub-01_ses-a_space-T2starw_{name}.json").read_text())
        new = set(table(out, name)) - set(table(out, name.replace("desc-reviewed_", "")))
        assert all(sidecar[column]["Description"] for column in new)
        assert sidecar["Reader"] == "R"
        assert "bids::sub-01/ses-a/anat/sub-01_ses-a_space-T2starw" in sidecar["Sources"][0]
        assert sidecar["SpatialReference"] == "bids:raw:x"
    assert "desc-reviewed" in (out / "descriptions.tsv").read_text()


def test_other_spaces_follow(applied):
    out, _ = applied
    t1w = voxels(out, "seg-CMB_desc-reviewed_dseg", "T1w")
    assert set(np.unique(t1w)) == {0, 2, 3, 4}
    automatic = voxels(out, "seg-CMB_dseg", "T1w")
    np.testing.assert_array_equal(t1w == 2, automatic == 2)
    # The transform of the fake is the identity: the accepted candidate lies where it lay on T2*.
    image = nib.load(anat(out) / "sub-01_ses-a_space-T1w_seg-CMB_desc-reviewed_dseg.nii.gz")
    centre = image.affine[:3, :3] @ np.argwhere(t1w == 3).mean(axis=0) + image.affine[:3, 3]
    expected = np.array([15 - SPOTS[3][0], SPOTS[3][1] - 17, 3 * SPOTS[3][2] - 18])
    assert np.linalg.norm(centre - expected) < 1.5
    template = json.loads(
        (anat(out) / "sub-01_ses-a_space-MNI152NLin2009aSym_seg-CMB_desc-reviewed_dseg.json").read_text()
    )
    assert "Not in this space: CMB-003, CMB-004" in template["Description"]  # the table gives no place on it


def test_a_place_on_the_template_makes_a_ball_of_the_same_volume(out, tmp_path, small):
    path = anat(out) / "sub-01_ses-a_space-T2starw_seg-CMBcandidates_dseg.tsv"
    rows = pd.read_csv(path, sep="\t", keep_default_na=False)
    for axis, mm in zip("xyz", (0.0, 5.0, 2.0), strict=True):
        rows[f"{axis}_template_mm"] = mm
    rows.to_csv(path, sep="\t", index=False)
    apply_review(out, write_review(tmp_path / "r.tsv", out, [judge("CAND-003", "accept")]))
    labels = voxels(out, "seg-CMB_desc-reviewed_dseg", "MNI152NLin2009aSym")
    centre = np.argwhere(labels == 3).mean(axis=0) + np.array([-16, -18, -18])
    np.testing.assert_allclose(centre, (0, 5, 2), atol=0.1)
    volume = float(table(out, "seg-CMB_desc-reviewed_dseg")["volume_mm3"].iloc[-1])
    assert (labels == 3).sum() == pytest.approx(volume, rel=0.25)


def test_the_record_says_who_when_and_what(applied):
    out, _ = applied
    record = json.loads((out / "logs" / "sub-01_ses-a_review.json").read_text())
    assert record["reader"] == "R"
    assert record["decided"] == {"first": "2026-01-02T03:04:05Z", "last": "2026-01-02T03:04:05Z"}
    assert record["n_lesions"] == {"automatic": 2, "reviewed": 3}
    assert record["n_decisions"] == {"accept": 2, "reject": 1, "unsure": 1}
    assert (record["removed"], record["accepted"], record["added"]) == (["CMB-001"], ["CAND-003"], ["CMB-004"])
    kept = pd.read_csv(out / "logs" / "sub-01_ses-a_review.tsv", sep="\t")
    assert kept["item"].tolist() == [j.item for j in SAID]


def test_what_was_kept_can_be_applied_again(applied, tmp_path):
    out, _ = applied
    before = voxels(out, "seg-CMB_desc-reviewed_dseg")
    apply_review(out, out / "logs" / "sub-01_ses-a_review.tsv")
    np.testing.assert_array_equal(voxels(out, "seg-CMB_desc-reviewed_dseg"), before)


def test_the_same_review_gives_the_same_bytes(applied, tmp_path):
    out, _ = applied
    made = {p: p.read_bytes() for p in anat(out).glob("*desc-reviewed*") if p.suffix in (".gz", ".tsv")}
    assert len(made) == 10
    apply_review(out, write_review(tmp_path / "again.tsv", out, SAID))
    assert {p: p.read_bytes() for p in made} == made


def test_a_result_that_is_removed_takes_its_review_along_but_not_the_decisions(applied):
    """As when a session is computed again."""
    out, _ = applied
    remove_session_files(out, "01", "a", "MNI152NLin2009aSym")
    assert not list((out / "sub-01").rglob("*desc-reviewed*"))
    assert (out / "logs" / "sub-01_ses-a_review.tsv").is_file()


def test_the_group_level_takes_either(applied):
    out, _ = applied
    assert read_session(out, KEY).row["n_total"] == 2
    row = read_session(out, KEY, reviewed=True).row
    assert (row["n_total"], row["result"], row["reader"]) == (3, "reviewed", "R")


def test_a_review_of_another_result_is_refused(out, tmp_path):
    review = write_review(tmp_path / "r.tsv", out, SAID)
    path = anat(out) / "sub-01_ses-a_space-T2starw_seg-CMB_dseg.tsv"
    path.write_text(path.read_text().replace("CMB-001", "CMB-009"))
    with pytest.raises(UnreadableDataError, match="computed again"):
        apply_review(out, review)
    assert not list(anat(out).glob("*reviewed*"))


def test_nothing_is_written_if_one_session_cannot_be(out, tmp_path, small):
    other = SessionKey("02")
    write_session(out, small, other)
    review = write_review(tmp_path / "r.tsv", out, [*SAID, judge("CMB-009", "accept", key=other)])
    with pytest.raises(UnreadableDataError, match="no lesion CMB-009"):
        apply_review(out, review)
    assert not list(out.rglob("*reviewed*"))


def test_a_session_at_work_is_refused(out, tmp_path):
    review = write_review(tmp_path / "r.tsv", out, SAID)
    (out / "logs" / "sub-01_ses-a_done.json").unlink()
    with pytest.raises(TemporaryError, match="not finished"):
        apply_review(out, review)


def test_results_of_earlier_versions_have_no_sheets(tmp_path, small):
    out = tmp_path / "out"
    write_session(out, small, with_sheets=False)
    apply_review(out, write_review(tmp_path / "r.tsv", out, SAID))
    assert not list(anat(out).glob("*MARS*"))


def test_the_command_writes_the_report_of_the_reviewed_result(out, tmp_path, capsys):
    review = write_review(tmp_path / "r.tsv", out, SAID)
    assert workbench.main(["review", "apply", str(out), str(review), "--reader", "Dr. <b>X</b>"]) == 0
    said = capsys.readouterr()
    assert "sub-01_ses-a: 3 microbleeds after review, 2 before" in said.out
    page = (out / "sub-01_reviewed.html").read_text()
    assert "Reviewed by Dr. &lt;b&gt;X&lt;/b&gt;" in page
    assert "Removed: CMB-001." in page
    assert '<div class="big">3</div>' in page
    assert "rejected by a reader" in page
    assert 'class="judge"' not in page
    assert '<div class="big">2</div>' in (out / "sub-01.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["apply", "nowhere", "x.tsv"], 64, "nowhere is not a folder"),
        (["apply", "OUT", "x.tsv"], 65, "x.tsv cannot be read"),
        (["apply", "OUT", "x.tsv", "--reader", "a\tb"], 64, "--reader must be one line"),
    ],
)
def test_bad_use_is_one_line_and_the_right_code(out, arguments, code, said, capsys):
    assert workbench.main(["review", *[str(out) if a == "OUT" else a for a in arguments]]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_the_group_level_names_a_mixture_and_links_to_the_reviewed_report(applied, small):
    from mbseg_bids.cli import app

    out, _ = applied
    write_session(out, small, SessionKey("02"))
    raw = out.parent / "raw"
    raw.mkdir()
    (raw / "dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1.10.0"}))
    assert app.main([str(raw), str(out), "group"]) == 0
    rows = pd.read_csv(out / "phenotype" / "microbleeds.tsv", sep="\t", keep_default_na=False)
    assert rows["n_total"].tolist() == [2, 2]
    assert rows["result"].tolist() == ["automatic"] * 2
    assert app.main([str(raw), str(out), "group", "--reviewed"]) == 0
    rows = pd.read_csv(out / "phenotype" / "microbleeds.tsv", sep="\t", keep_default_na=False)
    assert rows["n_total"].tolist() == [3, 2]
    assert rows["reader"].tolist() == ["R", "n/a"]
    lesions = pd.read_csv(out / "phenotype" / "microbleeds_lesions.tsv", sep="\t", keep_default_na=False)
    assert lesions["name"].tolist() == ["CMB-002", "CMB-003", "CMB-004", "CMB-001", "CMB-002"]
    (out / "sub-01_reviewed.html").write_text("")
    (out / "sub-02.html").write_text("")
    assert app.main([str(raw), str(out), "group", "--reviewed"]) == 0
    page = (out / "group.html").read_text()
    assert "1 of 2 complete sessions are reviewed" in page
    assert 'href="sub-01_reviewed.html#sub-01_ses-a"' in page
    assert 'href="sub-02.html#sub-02"' in page
    assert app.main([str(raw), str(out), "participant", "--reviewed"]) == 64
