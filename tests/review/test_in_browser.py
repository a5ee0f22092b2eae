"""The review in a real browser, from a file: keys and buttons, what is kept, the list, the export, and back again."""

import shutil
import time

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from headless_chromium import chromium
from review_session import KEY, make_small, write_session

from mbseg_bids.cli import workbench
from mbseg_bids.reports.individual import build_individual_report
from mbseg_bids.reports.session_files import SessionFiles, SessionKey

STEM = "sub-01/ses-a/anat/sub-01_ses-a_space-T2starw_"
LIVE = "document.querySelector('.live').textContent"
ROWS = "[...document.querySelectorAll('.review tbody tr')].filter((r) => !r.hidden).map((r) => r.dataset.item)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An output folder with two sessions and their report, which no test changes."""
    out = tmp_path_factory.mktemp("made") / "out"
    for session in ("a", "b"):
        write_session(out, make_small(), SessionKey("01", session))
    build_individual_report(out, "01")
    return out


@pytest.fixture
def out(made, tmp_path, browser):
    browser.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.open(made / "sub-01.html")
    browser.evaluate("localStorage.clear()")
    browser.open(made / "sub-01.html")
    return made


def fill(browser, selector, value, event="change"):
    browser.evaluate(
        f"(() => {{ const field = document.querySelector(`{selector}`); field.value = `{value}`;"
        f" field.dispatchEvent(new Event('{event}')); }})()"
    )


def press(browser, keys):
    for key in keys:
        browser.press(key)


def export(browser, folder, reader="Reader One"):
    """Click the button and return the file that the browser has saved."""
    fill(browser, ".reader", reader)
    name = f"sub-01_review-{reader.replace(' ', '')}.tsv"
    (folder / name).unlink(missing_ok=True)
    browser.evaluate("document.querySelector('.export').click()")
    for _ in range(100):
        if (folder / name).is_file() and (folder / name).stat().st_size:
            return folder / name
        time.sleep(0.1)
    raise AssertionError(browser.evaluate("document.querySelector('.said').textContent"))


def test_keys_decide_and_the_count_follows(browser, out):
    assert browser.evaluate(LIVE).startswith("By your review 2 microbleeds, by the program 2.")
    press(browser, "ja")
    press(browser, "jr")
    assert (
        "By your review 1 microbleed, by the program 2. Accepted 1, rejected 1, unsure 0; lesions not decided 0."
        in (browser.evaluate(LIVE))
    )
    press(browser, "o")  # the rejected candidates
    press(browser, "jajr")
    assert browser.evaluate("document.activeElement.dataset.item") == "CAND-004"
    assert browser.evaluate(LIVE).startswith("By your review 2 microbleeds")
    pressed = "[...document.querySelectorAll('[data-item=CAND-003] [aria-pressed=true]')].map((b) => b.textContent)"
    assert browser.evaluate(pressed) == ["Accept"]
    press(browser, "r")  # the same key again takes it back
    assert "rejected 1," in browser.evaluate(LIVE)
    assert browser.said == []


def test_a_note_is_typed_without_deciding(browser, out):
    press(browser, "jn")
    assert browser.evaluate("document.activeElement.className") == "note"
    for key in "a round one":
        browser.press(key)
    browser.send("Input.dispatchKeyEvent", type="keyDown", key="Enter", code="Enter", windowsVirtualKeyCode=13)
    assert browser.evaluate("document.activeElement.dataset.item") == "CMB-001"
    assert browser.evaluate("document.querySelector('tr[data-item=CMB-001] .noted').textContent") == "a round one"
    assert "Accepted 0, rejected 0, unsure 0" in browser.evaluate(LIVE)


def test_decisions_outlive_the_page_and_belong_to_the_result(browser, out, tmp_path):
    press(browser, "jujr")
    browser.open(out / "sub-01.html")
    assert "Accepted 0, rejected 1, unsure 1" in browser.evaluate(LIVE)
    page, result = tmp_path / "sub-01.html", SessionFiles(out, KEY).result_hash()
    page.write_text((out / "sub-01.html").read_text().replace(result, "0123456789abcdef"))
    browser.open(page)
    assert "Accepted 0, rejected 0, unsure 0" in browser.evaluate(LIVE)


def test_a_session_has_decisions_of_its_own(browser, out):
    press(browser, "jjja")  # the first lesion of the second session
    live = browser.evaluate("[...document.querySelectorAll('.live')].map((e) => e.textContent)")
    assert "Accepted 0" in live[0]
    assert "Accepted 1" in live[1]


def test_the_list_sorts_and_filters(browser, out):
    here = "document.querySelector('.review')"
    rows = ROWS.replace("document.", f"{here}.").replace(".review ", "")
    assert browser.evaluate(rows) == ["CMB-001", "CMB-002", "CAND-003", "CAND-004"]
    fill(browser, "[data-filter=kind]", "candidate", "input")
    assert browser.evaluate(rows) == ["CAND-003", "CAND-004"]
    assert browser.evaluate(f"{here}.querySelector('.shown').textContent") == "2 of 4 shown"
    fill(browser, "[data-filter=kind]", "", "input")
    for name, value, expected in (
        ("diameter", "3.5", ["CMB-002", "CAND-003", "CAND-004"]),
        ("probability", "0.5", ["CMB-001", "CMB-002"]),
        ("region", "deep GM", ["CMB-002"]),
    ):
        fill(browser, f"[data-filter={name}]", value, "input")
        assert browser.evaluate(rows) == expected, name
        fill(browser, f"[data-filter={name}]", "", "input")
    press(browser, "ja")
    fill(browser, "[data-filter=decision]", "none", "input")
    assert browser.evaluate(rows) == ["CMB-002", "CAND-003", "CAND-004"]
    fill(browser, "[data-filter=decision]", "", "input")
    head = f"[...{here}.querySelectorAll('th button')].find((b) => b.textContent === 'Diameter, mm').click()"
    browser.evaluate(head)
    assert browser.evaluate(rows)[0] == "CMB-001"
    browser.evaluate(head)
    assert browser.evaluate(rows)[-1] == "CMB-001"


def test_the_export_needs_a_reader_and_a_decision(browser, out):
    said = "document.querySelector('.said').textContent"
    browser.evaluate("document.querySelector('.export').click()")
    assert browser.evaluate(said) == "Say who reads: fill in Reader."
    fill(browser, ".reader", "R")
    browser.evaluate("document.querySelector('.export').click()")
    assert browser.evaluate(said) == "Nothing to export: no decision yet."


def test_round_trip(browser, out, tmp_path):
    """What a reader clicks is what the masks, the tables, the counts and the report say after ``apply``."""
    press(browser, "jr")
    browser.evaluate("document.querySelector('article[data-item=CMB-002] [data-decision=accept]').click()")
    browser.evaluate("document.querySelector('article[data-item=CAND-003] [data-decision=accept]').click()")
    fill(browser, "article[data-item=CMB-001] .note", "a\\tvein <b>=1+1</b>")
    review = export(browser, tmp_path)
    rows = pd.read_csv(review, sep="\t", keep_default_na=False)
    assert rows["session_id"].unique().tolist() == ["ses-a"]  # nothing was said of the other one
    assert dict(zip(rows["item"], rows["decision"], strict=True)) == {
        "CMB-001": "reject", "CMB-002": "accept", "CAND-003": "accept", "CAND-004": "n/a"
    }  # fmt: skip
    assert rows["note"][0] == "a vein <b>=1+1</b>"
    assert rows["result"].unique().tolist() == [SessionFiles(out, KEY).result_hash()]
    out = shutil.copytree(out, tmp_path / "out")
    assert workbench.main(["review", "apply", str(out), str(review)]) == 0
    small = make_small()
    labels = nib_array(out / f"{STEM}seg-CMB_desc-reviewed_dseg.nii.gz")
    expected = np.where(small.automatic.lesions == 2, 2, np.where(small.automatic.candidates == 3, 3, 0))
    np.testing.assert_array_equal(labels, expected)
    browser.open(out / "sub-01_reviewed.html")
    page = browser.evaluate("document.body.textContent")
    assert "Reviewed by Reader One" in page
    assert "a vein <b>=1+1</b>" in page
    assert browser.evaluate("document.querySelector('#sub-01_ses-a .big').textContent") == "2"
    assert browser.evaluate("document.querySelectorAll('#sub-01_ses-a article.lesion').length") == 2
    assert browser.said == []
    browser.open(out / "sub-01.html")
    link = browser.evaluate("document.querySelector('.reviewed-by a').getAttribute('href')")
    assert link == "sub-01_reviewed.html#sub-01_ses-a"


def test_an_exported_review_can_be_loaded_again(browser, out, tmp_path):
    press(browser, "jrju")
    review = export(browser, tmp_path)
    browser.evaluate("localStorage.clear()")
    browser.open(out / "sub-01.html")
    assert "rejected 0" in browser.evaluate(LIVE)
    document = browser.send("DOM.getDocument")["root"]["nodeId"]
    node = browser.send("DOM.querySelector", nodeId=document, selector=".load")["nodeId"]
    browser.send("DOM.setFileInputFiles", files=[str(review)], nodeId=node)
    for _ in range(50):
        if "Loaded" in browser.evaluate("document.querySelector('.said').textContent"):
            break
        time.sleep(0.1)
    assert "Accepted 0, rejected 1, unsure 1" in browser.evaluate(LIVE)


def test_a_browser_that_keeps_nothing_says_so(browser, out):
    script = "Object.defineProperty(window, 'localStorage', { get() { throw new Error('no'); } })"
    added = browser.send("Page.addScriptToEvaluateOnNewDocument", source=script)["identifier"]
    browser.open(out / "sub-01.html")
    press(browser, "ja")
    assert "Accepted 1" in browser.evaluate(LIVE)
    assert "keeps nothing" in browser.evaluate("document.querySelector('.said').textContent")
    browser.send("Page.removeScriptToEvaluateOnNewDocument", identifier=added)


def test_without_scripts_the_list_can_be_read(browser, out):
    browser.open(out / "sub-01.html", scripts=False)
    assert browser.evaluate("document.querySelector('.judge').checkVisibility()") is False
    assert browser.evaluate("document.querySelector('.review-bar').checkVisibility()") is False
    assert "CAND-003" in browser.evaluate("document.querySelector('.review tbody').textContent")


def nib_array(path):
    return np.asarray(nib.load(path).dataobj)
