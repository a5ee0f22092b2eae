import base64
import hashlib
import io
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_output import LESIONS_MM, fake_arrays, fake_summary, lesion_rows, write_session
from PIL import Image

from mbseg_bids.imaging.volume import Volume
from mbseg_bids.reports import glass, individual
from mbseg_bids.reports.images import load_images
from mbseg_bids.reports.individual import build_individual_report
from mbseg_bids.reports.session_files import SessionFiles, SessionKey

HOSTILE = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>"
VOID = {"meta", "br", "input", "img", "link", "hr"}


class Page(HTMLParser):
    """Elements of a page; fails on tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.open, self.elements, self.words = text, [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.words.append(data)

    def of(self, tag, css=None):
        return [a for t, a in self.elements if t == tag and (css is None or css in a.get("class", "").split())]

    @property
    def prose(self):
        return " ".join(" ".join(self.words).split())


def report(output_dir, participant="01"):
    return Page(build_individual_report(output_dir, participant).read_text(encoding="utf-8"))


def card_pictures(page_text, name):
    """Return caption -> pixels of one card."""
    card = re.search(rf'aria-label="{name}"[^>]*>(.*?)</article>', page_text, re.S)[1]
    found = re.findall(r'href="data:image/png;base64,([^"]+)".*?<figcaption>(.*?)</figcaption>', card, re.S)
    return {caption: np.array(Image.open(io.BytesIO(base64.b64decode(data)))) for data, caption in found}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """An undamaged output directory with one session, to be copied."""
    output_dir = tmp_path_factory.mktemp("out")
    write_session(output_dir)
    return output_dir


@pytest.fixture(scope="module")
def good(template):
    return report(template, "sub-01")


@pytest.fixture
def output_dir(template, tmp_path):
    """A copy of an undamaged output directory."""
    return Path(shutil.copytree(template, tmp_path / "out"))


def test_counts_and_cards_equal_the_table(good):
    cards = good.of("article", "lesion")
    assert [card["aria-label"] for card in cards] == ["CMB-001", "CMB-002", "CMB-003"]
    assert re.search(r'class="big">3<', good.text)
    assert len(good.of("article", "candidate")) == 1
    assert "1 rejected candidate, with the reason" in good.prose
    assert "not dark enough" in good.prose


def test_what_needs_attention_comes_first_then_the_asked_order(good):
    headings = [
        "Registration checks passed",
        "Microbleeds",
        "Lesions",
        "rejected candidate",
        "Where they are",
        "Alignment",
        "Quality of this T2*",
        "Brain mask and regions",
        "Inputs",
        "Parameters",
        "Time and memory of each step",
        "Methods",
    ]
    body = good.prose[good.prose.index("Registration checks passed") :]
    place = 0
    for heading in headings:
        place = body.index(heading, place)


def test_nothing_is_loaded_from_anywhere(good):
    assert not good.of("link")
    assert not good.of("img")
    for _, attributes in good.elements:
        for name in ("src", "href", "xlink:href", "action", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:image/"))
    assert "url(" not in good.text
    assert "@import" not in good.text


def test_the_one_script_is_named_by_its_hash_and_no_other_may_run(good):
    (script,) = re.findall(r"<script>(.*?)</script>", good.text, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [m["content"] for m in good.of("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert not [a for _, attributes in good.elements for a in attributes if a.startswith("on")]


def test_every_picture_says_what_it_shows(good):
    pictures = good.of("svg")
    assert len(pictures) > 10
    assert all(p["role"] == "img" and len(p["aria-label"]) > 10 for p in pictures)


def test_every_ring_of_the_map_leads_to_a_card(good):
    cards = {card["id"] for card in good.of("article")}
    links = [a["href"] for a in good.of("a") if a["href"].startswith("#sub-01-")]
    listed = len(LESIONS_MM) + 1  # in the list of the review, with the rejected candidate
    assert len(links) == 2 * 3 * len(LESIONS_MM) + listed  # on the page and on the printed summary
    assert {link[1:] for link in links} <= cards


def test_disclaimer_and_convention_are_printed(good):
    assert individual.DISCLAIMER in good.prose
    assert "patient's right (R) is on the left" in good.prose


@pytest.mark.parametrize(("axcodes", "tilt"), [("LAS", 0), ("LPS", 0), ("SRP", 0), ("RAS", 20), ("LPS", 20)])
def test_left_stays_left_whatever_the_voxel_order(good, tmp_path, axcodes, tilt):
    write_session(tmp_path, axcodes=axcodes, tilt=tilt)
    expected = card_pictures(good.text, "CMB-001")
    found = card_pictures(report(tmp_path).text, "CMB-001")
    assert set(found) == set(expected)
    for caption, pixels in found.items():
        assert (pixels == expected[caption]).all()
    # The marker is 10 mm to the patient's left of the lesion and 10 mm behind it: right of the middle, and below.
    rows, columns = np.nonzero(found["T1w, axial"] > 240)
    size = found["T1w, axial"].shape
    assert columns.mean() > size[1] / 2 + 2
    assert rows.mean() > size[0] / 2 + 2
    # T2* is dark in the middle, and its pixels are the scanner's.
    assert found["T2*, axial"][size[0] // 2, size[1] // 2] < 60
    assert size == (17, 17)


def test_sagittal_acquisition_is_shown_in_its_own_plane(tmp_path):
    write_session(tmp_path, axcodes="PSR", grid=((25, 76, 60), (5.0, 2.0, 2.0)))
    page = report(tmp_path)
    found = card_pictures(page.text, "CMB-001")
    assert list(found) == [
        "T2*, sagittal",
        "T2*, minimum of 3 slices",
        "T2*, axial",
        *(f"T2w, {plane}" for plane in ("sagittal", "axial", "coronal")),
        "T2*, coronal",
        *(f"T1w, {plane}" for plane in ("sagittal", "axial", "coronal")),
    ]
    assert all(found[c][tuple(n // 2 for n in found[c].shape)] < 60 for c in found if c.startswith("T2*"))
    card = page.text[page.text.index('aria-label="CMB-001"') :]
    assert re.findall(r">([APRL])</text>", card)[:14] == ["A", "P"] * 3 + ["R", "L"] + ["A", "P"] + ["R", "L"] * 2


def test_slab_of_two_slices(tmp_path):
    write_session(tmp_path, grid=((72, 90, 2), (2.0, 2.0, 5.0)))
    page = report(tmp_path)
    assert page.of("article", "lesion")
    assert list(card_pictures(page.text, "CMB-003"))[1] == "T2*, minimum of 2 slices"


def test_contrasts_on_another_grid_are_put_in_place(good, tmp_path):
    """The registered T1w may lie on the detection grid; its card must show the same anatomy."""
    import nibabel as nib

    anat = write_session(tmp_path)
    path = anat / "sub-01_space-T2starw_desc-preproc_T1w.nii.gz"
    image = nib.load(path)
    part = image.slicer[6:, 4:, 2:]
    nib.save(nib.Nifti1Image(np.asarray(part.dataobj), part.affine), path)
    found = card_pictures(report(tmp_path).text, "CMB-002")["T1w, axial"].astype(int)
    assert np.abs(found - card_pictures(good.text, "CMB-002")["T1w, axial"]).max() <= 1


def test_misregistered_session_is_unmistakable_at_the_top(tmp_path):
    summary = fake_summary("01")
    summary["anatomy"]["registration"]["t1w_to_t2star"] |= {"similarity": 0.02, "overlap": 0.41, "passed": False}
    write_session(tmp_path, summary=summary)
    page = report(tmp_path)
    strip = page.of("div", "verdict")[0]
    assert "failed" in strip["class"]
    assert strip["role"] == "alert"
    start = page.prose[:600]
    assert "Do not use this session" in start
    assert "T1w to T2* registration failed its check (similarity 0.02, brain overlap 0.41)" in start
    assert "These counts come from a session that failed a check" in page.prose


def test_several_sessions_are_all_there_and_a_bad_one_is_named_at_the_top(tmp_path):
    summary = fake_summary("01", "2")
    summary["anatomy"]["registration"]["t2w_to_t2star"]["passed"] = False
    write_session(tmp_path, "01", "1")
    write_session(tmp_path, "01", "2", summary=summary)
    write_session(tmp_path, "012", "1")
    page = report(tmp_path)
    assert len(page.of("section")) == 2
    assert len(page.of("article", "lesion")) == 6
    assert "1 of 2 sessions must not be used" in page.prose[:300]
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))


def test_hostile_strings_are_text(tmp_path):
    rows = lesion_rows(fake_arrays())
    rows[0] |= {"name": HOSTILE, "region": HOSTILE, "flags": HOSTILE}
    summary = fake_summary("01", warnings=[HOSTILE], software={HOSTILE: HOSTILE}, durations={HOSTILE: HOSTILE})
    summary["inputs"]["T1w"] |= {"path": HOSTILE, "reason": HOSTILE}
    summary["anatomy"]["registration"][HOSTILE] = {"passed": False}
    summary["anatomy"]["reuse"] = {HOSTILE: HOSTILE}
    summary["detection"]["weights"] = {"name": HOSTILE}
    summary["settings"] = {HOSTILE: {HOSTILE: HOSTILE}}
    summary["methods"] = [HOSTILE, f"# {HOSTILE}"]
    summary["title"] = HOSTILE
    anat = write_session(tmp_path, summary=summary, rows=rows)
    candidates = next(anat.glob("*candidates_dseg.tsv"))
    candidates.write_text(candidates.read_text().replace("intensity_ratio", HOSTILE))
    page = report(tmp_path)
    assert len(page.of("script")) == 1
    assert not page.of("img")
    assert not [a for _, a in page.elements if "onerror" in a]
    assert page.prose.count("alert(1)") > 10


def test_session_without_the_mark_of_completion_is_not_passed(output_dir):
    (output_dir / "logs" / "sub-01_done.json").unlink()
    page = report(output_dir)
    assert "attention" in page.of("div", "verdict")[0]["class"]
    assert "not marked as finished" in page.prose[:400]


def test_what_the_summary_knows_is_shown(good):
    for text in (
        "anatomy, registration 2.3 min 5.2 GB",
        "anatomy, n4 12.5 s not recorded",
        "n searched voxels 5120",
        "mbseg-bids 0.1.0",
        "input size 64",
        "cortical GM, 498 ml",
    ):
        assert text in good.prose
    assert "the only one of its kind" in good.prose


def test_folders_of_the_host_are_not_shown(tmp_path):
    summary = fake_summary("01")
    summary["inputs"]["T1w"]["path"] = "/home/someone/secret/sub-01/anat/sub-01_T1w.nii.gz"
    summary["reused"] = {"aseg": "/home/someone/secret/freesurfer/sub-01/mri/aseg.mgz"}
    summary["settings"]["detection"]["weights"] = "/home/someone/secret/mine.safetensors"
    write_session(tmp_path, summary=summary)
    page = report(tmp_path)
    assert "secret" not in page.text
    assert "sub-01/anat/sub-01_T1w.nii.gz" in page.prose
    assert str(tmp_path) not in page.text


def test_certainty_and_what_speaks_against_a_candidate_are_said(tmp_path):
    rows = lesion_rows(fake_arrays())
    for row, certainty in zip(rows, ("definite", "possible", "possible"), strict=True):
        row |= {"lesion_probability": 0.91, "certainty": certainty}
    anat = write_session(tmp_path, rows=rows)
    path = next(anat.glob("*CMBcandidates_dseg.tsv"))
    candidates = pd.read_csv(path, sep="\t", keep_default_na=False)
    candidates["evidence_against"] = "vessel_like"
    candidates.loc[candidates["status"] == "rejected", "reason"] = "second_look"
    candidates.to_csv(path, sep="\t", index=False)
    page = report(tmp_path)
    assert "Definite 1 (candidate classifier)" in page.prose
    assert "Possible 2 (candidate classifier)" in page.prose
    assert "possible, probability 0.91" in page.prose
    assert "passed the ratio rule, rejected by the candidate classifier: more like something else" in page.prose
    assert "most against it: the dark structure goes on" in page.prose


def test_no_lesion_is_said(tmp_path):
    write_session(tmp_path, rows=[])
    page = report(tmp_path)
    assert "No lesion was found" in page.prose
    assert re.search(r'class="big">0<', page.text)
    assert not page.of("article", "lesion")


def test_nothing_at_all_is_said(tmp_path):
    assert "No results were found for this participant" in report(tmp_path, "07").prose


BROKEN = {
    "desc-preproc_T2starw.nii.gz": "T2*-weighted image",
    "desc-preproc_T1w.nii.gz": "registered T1w image",
    "seg-CMB_dseg.nii.gz": "image of lesion labels",
    "desc-brain_mask.nii.gz": "brain mask",
    "seg-regions_dseg.nii.gz": "image of regions",
    "seg-CMBcandidates_dseg.tsv": "table of candidates",
    "seg-CMB_dseg.tsv": "lesion table",
}


@pytest.mark.parametrize("ending", BROKEN)
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "nonsense"])
def test_missing_or_broken_file_becomes_a_sentence(output_dir, ending, damage):
    path = next(output_dir.glob(f"sub-01/anat/*{ending}"))
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        # a cut in the middle of the header line: the columns asked for are gone
        cut = 8 if ending.endswith("tsv") else len(content) // 2
        path.write_bytes({"truncated": content[:cut], "empty": b"", "nonsense": b"\xff\xfe\x00nonsense" * 9}[damage])
    page = report(output_dir)
    assert ("was not found" if damage == "missing" else "cannot be read") in page.prose[:1200]
    assert BROKEN[ending] in page.prose[:1200]
    assert len(page.of("article", "lesion")) == (0 if ending == "seg-CMB_dseg.tsv" else 3)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"anatomy": "x", "inputs": [1], "durations": 4}'])
def test_missing_or_broken_summary_becomes_a_sentence(output_dir, content):
    (output_dir / "logs" / "sub-01_summary.json").write_text(content)
    page = report(output_dir)
    assert "attention" in page.of("div", "verdict")[0]["class"]
    assert "No registration check of T1w was recorded" in page.prose
    assert len(page.of("article", "lesion")) == 3


def test_contradictions_between_table_image_and_summary_are_named(tmp_path):
    rows = lesion_rows(fake_arrays())[:2]
    write_session(tmp_path, rows=rows)
    page = report(tmp_path)
    assert "table lists 2 lesions, its label image holds 3; 1 do not match" in page.prose
    assert "summary counts 3 lesions, the lesion table lists 2" in page.prose


def test_lesion_absent_from_the_label_image_still_has_a_card(tmp_path):
    rows = lesion_rows(fake_arrays())
    rows.append(rows[0] | {"index": 9, "name": "CMB-009"})
    rows.append(rows[0] | {"index": 10, "name": "CMB-010", "i": 5000})
    write_session(tmp_path, rows=rows)
    page = report(tmp_path)
    assert len(page.of("article", "lesion")) == 5
    assert "No contour: the label image lacks this lesion" in page.prose
    assert "the voxel in the table lies outside the T2* image" in page.prose


def test_too_large_a_report_is_written_with_fewer_pictures(tmp_path, monkeypatch):
    write_session(tmp_path)
    full = build_individual_report(tmp_path, "01").stat().st_size
    monkeypatch.setattr(individual, "SIZE_LIMIT", full - 1)
    page = report(tmp_path)
    assert len(page.text.encode()) < full
    assert "To keep this file small" in page.prose
    assert len(page.of("article", "lesion")) == 3


def test_same_files_give_the_same_bytes(tmp_path):
    write_session(tmp_path)
    first = build_individual_report(tmp_path, "01").read_bytes()
    assert build_individual_report(tmp_path, "01").read_bytes() == first
    assert json.loads((tmp_path / "logs" / "sub-01_summary.json").read_text())  # inputs untouched
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("missing", [("T2w",), ("T2w", "T1w")])
def test_missing_contrasts_are_on_the_first_screen_and_nothing_is_said_to_be_lost(template, tmp_path, missing):
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    warning = f"no {' and no '.join(reversed(missing))}: the network saw less"
    summary = fake_summary("01", missing_contrasts=list(missing), warnings=[warning])
    for name in missing:
        del summary["inputs"][name]
        del summary["anatomy"]["registration"][f"{name.lower()}_to_t2star"]
        if name == "T1w":
            next(tmp_path.glob(f"sub-01/anat/*desc-preproc_{name}.nii.gz")).unlink()
    (tmp_path / "logs" / "sub-01_summary.json").write_text(json.dumps(summary))
    page = report(tmp_path)
    first_screen = page.prose.split("Microbleeds")[1]
    assert "Look before use: 1 warning" in first_screen
    assert warning in first_screen
    assert f"; no {' and no '.join(missing)} in this session." in first_screen
    assert "was not found" not in page.prose
    for name in missing:  # also where an earlier run with that contrast has left its image
        assert f"Edges of the registered {name}" not in page.text
        assert f"{name} none in this session n/a done without" in page.prose


FAILURE = {
    "session": "sub-01",
    "step": "detection classify",
    "error": "MemoryError: cannot allocate 4 GB",
    "remedy": "give more memory",
    "exit_code": 75,
    "traceback": ['  File "classify.py", line 4, in classify', f"MemoryError: {HOSTILE}"],
}


def test_failed_participant_has_a_report_that_says_where_and_why(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "sub-01_failure.json").write_text(json.dumps(FAILURE))
    page = report(tmp_path)
    first_screen = page.prose[:900]
    assert "This session failed: it has no results" in first_screen
    assert "Failed at step detection classify: MemoryError: cannot allocate 4 GB." in first_screen
    assert "What to do: give more memory." in first_screen
    assert 'File "classify.py", line 4, in classify' in page.prose
    assert "was not found" not in page.prose.split("Methods")[0]
    assert not page.of("img")


def test_a_failure_that_a_later_run_made_good_is_not_shown(output_dir):
    (output_dir / "logs" / "sub-01_failure.json").write_text(json.dumps(FAILURE))
    page = report(output_dir)
    assert "Registration checks passed" in page.prose
    assert "MemoryError" not in page.prose


@pytest.mark.parametrize("content", ["", "[]", '{"traceback": 3, "error": null}'])
def test_broken_record_of_a_failure_is_survived(tmp_path, content):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "sub-01_failure.json").write_text(content)
    assert "failed" in report(tmp_path).of("div", "verdict")[0]["class"]


def moved_back(summary, shift):
    """Say that T2w was moved by ``shift`` mm to the right by its registration."""
    matrix = np.eye(4)
    matrix[0, 3] = shift
    summary["anatomy"]["registration"]["t2w_to_t2star"]["transform"] = matrix.tolist()
    return summary


def test_before_the_registration_the_image_lies_where_its_header_says(template, tmp_path):
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    (tmp_path / "logs" / "sub-01_summary.json").write_text(json.dumps(moved_back(fake_summary("01"), 20.0)))
    images = load_images(SessionFiles(tmp_path, SessionKey("01")), (), {"T2w": np.array(moved_back_matrix(20.0))})
    assert set(images.before) == {"T2w"}
    # moved by 20 mm (10 voxels) to the right: before, the same anatomy lay 10 voxels further left
    assert np.abs(images.before["T2w"][:-10] - images.contrasts["T2w"][10:]).max() < 1e-3
    page = report(tmp_path)
    assert len(page.of("figure", "flicker")) == 1
    assert "show T2w before, by its header alone" in page.prose
    assert "How T1w lay before the registration was not recorded" in page.prose


def moved_back_matrix(shift):
    return moved_back(fake_summary("01"), shift)["anatomy"]["registration"]["t2w_to_t2star"]["transform"]


def test_map_is_drawn_on_the_template_where_the_lesions_are_there(template, tmp_path, monkeypatch):
    import nibabel as nib

    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    fake = fake_arrays()
    brain = Volume(fake.images["T1w"] * fake.labels["brain"], fake.affine)
    monkeypatch.setattr(glass, "template_brain", lambda name: brain)
    glass.glass_planes.cache_clear()
    labels = np.where(fake.labels["lesions"] == 2, 0, fake.labels["lesions"])
    name = "sub-01_space-MNI152NLin2009aSym_seg-CMB_dseg.nii.gz"
    nib.save(nib.Nifti1Image(labels, fake.affine), tmp_path / "sub-01" / "anat" / name)
    page = report(tmp_path)
    glass.glass_planes.cache_clear()
    assert "Seen through the template MNI152NLin2009aSym" in page.prose
    assert "Not on it: CMB-002." in page.prose
    assert len(page.of("circle", "ring")) == 2 * 6  # on the page and on the printed summary
    assert len(page.of("div", "glass")) == 2


def test_a_hundred_lesions_fit(tmp_path):
    """Every lesion with all its pictures, at voxels of 0.5 mm; the size is that of noise, which packs worst."""
    rows = []
    shape, spacing = (120, 150, 24), (0.5, 0.5, 2.0)
    rng = np.random.default_rng(3)
    for n in range(1, 101):
        voxel = rng.integers((31, 31, 8), (89, 119, 16))
        rows.append(lesion_rows(fake_arrays())[0] | dict(zip("ijk", voxel.tolist(), strict=True)))
        rows[-1] |= {"index": n, "name": f"CMB-{n:03d}"}
    write_session(tmp_path, rows=rows, grid=(shape, spacing))
    page = report(tmp_path)
    assert len(page.of("article", "lesion")) == 100
    assert "To keep this file small" not in page.prose
    assert 2_000_000 < len(page.text.encode()) < individual.SIZE_LIMIT
