"""What a reader of a report who does not know the program must not misread."""

import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from fake_output import SHAPE, fake_arrays, fake_summary, lesion_rows, write_session
from PIL import Image

from mbseg_bids.detection.network.weights import list_weights
from mbseg_bids.group.build import build_group
from mbseg_bids.reports.gallery import ALL_PICTURES
from mbseg_bids.reports.images import load_images
from mbseg_bids.reports.individual import build_individual_report
from mbseg_bids.reports.locator import locator, slice_of, thumbnail
from mbseg_bids.reports.overview import overview, scan_sentence, weights_sentence
from mbseg_bids.reports.session_files import SessionFiles, SessionKey
from mbseg_bids.reports.steps import readable

METHODS = ["The network saw T2*.", "A ResNet-50 (He 2016) classified every voxel."]


class Text(HTMLParser):
    """Collects the text that a reader sees, and the tags that hold it."""

    def __init__(self, page):
        super().__init__()
        self.words, self._hidden = [], 0
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self._hidden += tag in ("style", "script")

    def handle_endtag(self, tag):
        self._hidden -= tag in ("style", "script")

    def handle_data(self, data):
        if not self._hidden and data.strip():
            self.words.append(" ".join(data.split()))


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """A participant with sides and template positions in the table, slices stored from the top down."""
    out = tmp_path_factory.mktemp("out")
    more = {"side": "left", "x_template_mm": -38.0, "y_template_mm": 9.0, "z_template_mm": 4.0}
    rows = [row | more | {"certainty": "possible", "lesion_probability": 0.6} for row in lesion_rows(fake_arrays())]
    summary = fake_summary("01", finished="2031-05-06T07:08:09+00:00", methods=METHODS)
    summary["inputs"]["T2starw"]["metadata"] |= {"Manufacturer": "Acme", "ManufacturersModelName": "One"}
    anat = write_session(out, "01", axcodes="LPI", rows=rows, summary=summary)
    table = next(anat.glob("*CMBcandidates_dseg.tsv"))
    table.write_text(table.read_text().replace("rejected\tintensity_ratio", "rejected\tsecond_look"))
    (out / "participants.tsv").write_text("participant_id\tage\nsub-01\t71\n")
    return out


@pytest.fixture(scope="module")
def page(output):
    return build_individual_report(output, "01").read_text()


def test_the_headline_speaks_of_registration_only(page):
    assert "Registration checks passed" in page
    assert "All checks passed" not in page
    assert "It does not say that the microbleeds are right" in page


def test_every_measure_has_its_pass_mark(page):
    assert page.count("(passes from 0.88)") >= 2
    assert "similarity 0.61 (passes from 0.60); brain overlap 0.97 (passes from 0.90)" in page


def test_the_first_screen_tells_scan_date_preset_and_weights(page):
    top = page[page.index('<dl class="overview">') : page.index("<h3>Microbleeds</h3>")]
    assert "Acme One, 3 T, TE 20 ms, voxels 2 × 2 × 5 mm" in top
    assert "2031-05-06" in top
    for term in ("T2* scan", "Computed", "Registration preset", "Network weights"):
        assert term in top


def test_unknown_facts_of_the_first_screen_are_said_to_be_unknown():
    said = dict(overview({}))
    assert said["T2* scan"] == (
        "scanner not recorded, field strength not recorded, TE not recorded, voxel size not recorded"
    )
    assert said["Computed"] == "date not recorded"
    assert said["Registration preset"] == said["Network weights"] == "not recorded"
    assert scan_sentence({"inputs": {"T2starw": {"metadata": {"EchoTime": 0.0221}}}}).count("TE 22.1 ms") == 1


def test_shipped_weights_are_said_to_have_learned_from_simulated_scans():
    sha = next(entry.sha256 for entry in list_weights() if entry.name == "mbseg-simulated-4")
    shipped = weights_sentence({"detection": {"weights": {"name": "mbseg-simulated-4", "sha256": sha}}})
    assert "learned from simulated microbleeds" in shipped
    assert "simulated" not in weights_sentence({"detection": {"weights": {"name": "mine", "sha256": "0" * 64}}})


def test_locator_numbers_the_slices_as_the_file_does(output, page):
    """Stored from the top down, the canonical slice 5 is the file's slice 18 of 0 to 23."""
    images = load_images(SessionFiles(output, SessionKey("01")))
    assert slice_of(images, np.array([30, 40, 5])) == (SHAPE[2] - 1 - 5, SHAPE[2])
    said = {int(index) for index in re.findall(rf"T2\*, slice \d+ of {SHAPE[2]} \(index (\d+)\)", page)}
    for row in lesion_rows(fake_arrays()):
        assert any(abs(SHAPE[2] - 1 - int(row["k"]) - index) <= 1 for index in said)
    assert "indices count from 0" in page


def test_locator_ring_lies_where_the_lesion_is(output):
    images = load_images(SessionFiles(output, SessionKey("01")))
    voxel = np.rint(np.argwhere(images.lesions == 1).mean(axis=0)).astype(int)  # on the patient's left
    svg = str(locator(images, voxel, 2.5, "lesion")[1])
    width = float(re.search(r'viewBox="\S+ \S+ (\S+) ', svg)[1])
    x = float(re.search(r'class="here" cx="(\S+?)"', svg)[1])
    assert x - width / 2 == pytest.approx(40, abs=3)  # 40 mm from the middle, on the right of the picture


def test_every_close_up_has_a_bar_of_5_mm_and_rings_have_numbers(page):
    card = page[page.index('id="sub-01-1"') : page.index('id="sub-01-2"')]
    assert card.count(">5 mm</text>") == ALL_PICTURES - 1
    assert card.count(">50 mm</text>") == 1
    for number in "123":
        assert re.search(rf'class="ring-number"[^>]*>{number}</text>', page)


def test_a_rejected_candidate_has_the_pictures_of_a_lesion_on_a_click(page):
    card = page[page.index('id="sub-01-rejected-4"') :]
    card = card[: card.index("</article>")]
    assert card.count("<svg") == ALL_PICTURES
    assert card.index("<details") < card.index("slice ")


def test_a_ratio_that_passed_is_not_told_as_the_reason():
    from mbseg_bids.reports.gallery import rejected_cards

    row = {"index": "1", "status": "rejected", "contrast_ratio": "1.53", "ratio_threshold": "1.40"}
    second, ratio, new = rejected_cards(
        [row | {"reason": reason} for reason in ("second_look", "intensity_ratio", "some_new_rule")],
        None, prefix="x", with_pictures=0,
    )  # fmt: skip
    assert dict(second.facts)["Contrast ratio"] == "1.53: passed the ratio rule (1.40 or more)"
    assert second.remarks[0].startswith("passed the ratio rule, rejected by the candidate classifier")
    assert "failed the ratio rule" in dict(ratio.facts)["Contrast ratio"]
    assert new.remarks[0] == "rejected: some new rule"


def test_side_and_template_position_are_on_the_card(page):
    assert "left (template -38, 9, 4 mm)" in page


def test_no_identifier_is_on_a_page(output, page):
    build_group(output)
    for text in (page, (output / "group.html").read_text(), (output / "index.html").read_text()):
        words = " ".join(Text(text).words)
        words = re.sub(r"\S*(?:sub-|/|\.html|\.tsv|\.json|\.nii\.gz|mbseg_bids|CITATION|_dseg)\S*", "", words)
        found = re.findall(r"[A-Za-z0-9]+_[A-Za-z0-9_]+", words)
        assert [word for word in found if not word.isupper()] == []  # OUTPUT_DIR stands for what the reader types


def test_methods_are_named_once_and_references_are_a_list(page):
    words = Text(page).words
    assert words.count("Methods") == 1
    references = page[page.index("<h3>References</h3>") :]
    assert [entry[:5] for entry in re.findall(r"<li>(.*?)</li>", references)] == ["Dadar", "He K,", "Gorgo"]


def test_methods_are_those_of_this_participant_alone(tmp_path):
    write_session(tmp_path, "01", summary=fake_summary("01", methods=["Done to the first."]))
    write_session(tmp_path, "01", session="2", summary=fake_summary("01", "2", methods=["Not finished."]))
    (tmp_path / "logs" / "sub-01_ses-2_done.json").unlink()
    write_session(tmp_path, "02", summary=fake_summary("02", methods=["Done to the second."]))
    page = build_individual_report(tmp_path, "01").read_text()
    methods = page[page.index('<h2 id="methods">') :]
    assert "Done to the first." in methods
    assert "Done to the second." not in methods
    assert "Not finished." not in methods


def test_names_of_steps_and_settings_are_words():
    assert readable("anatomy.t1w_to_t2star") == "anatomy, T1w to T2*"
    assert readable("detection.ratio_threshold_deep_gm") == "detection, ratio threshold deep GM"


def test_the_printed_summary_has_every_lesion_and_the_checks(page):
    sheet = page[page.index('class="print-only sheet"') : page.index('<section id="sub-01"')]
    assert all(f"CMB-00{n}" in sheet for n in (1, 2, 3))
    assert sheet.count("<svg") == 3
    assert sheet.count("passed: similarity") == 3


def test_thumbnail_has_the_shape_of_the_brain(output, page):
    """The brain is 120 mm wide and 150 mm long; the picture has a margin of 6 mm around it."""
    with Image.open(io.BytesIO((output / "figures" / "sub-01_thumbnail.jpg").read_bytes())) as picture:
        width, height = picture.size
    assert height / width == pytest.approx(162 / 132, rel=0.05)
    assert len(thumbnail(load_images(SessionFiles(output, SessionKey("01"))))) < 20_000
