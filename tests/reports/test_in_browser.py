"""The pages in a real browser: folding, keys, sorting, print, with and without scripts."""

import base64
import json
import re

import numpy as np
import pytest
from fake_output import fake_arrays, fake_summary, lesion_rows, write_session
from headless_chromium import chromium

from mbseg_bids.group.build import build_group
from mbseg_bids.reports.individual import build_individual_report

HOSTILE = "<script>window.pwned=1</script>\"'><img src=x onerror=window.pwned=1>{{7*7}}"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A participant with three lesions and one whose T1w is misregistered, and the group page."""
    out = tmp_path_factory.mktemp("out")
    good = fake_summary("01")
    good["anatomy"]["registration"]["t2w_to_t2star"]["transform"] = np.eye(4).tolist()
    write_session(out, "01", summary=good)
    bad = fake_summary("02")
    bad["anatomy"]["registration"]["t1w_to_t2star"] |= {"similarity": 1.02, "overlap": 0.41, "passed": False}
    write_session(out, "02", summary=bad, rows=lesion_rows(fake_arrays())[:1])
    hostile = fake_summary("03", warnings=[HOSTILE], software={HOSTILE: HOSTILE})
    hostile["inputs"]["T1w"] |= {"path": HOSTILE, "reason": HOSTILE}
    hostile["inputs"]["T2starw"]["metadata"]["Manufacturer"] = HOSTILE
    rows = [row | {"name": HOSTILE, "region": HOSTILE, "flags": HOSTILE} for row in lesion_rows(fake_arrays())]
    write_session(out, "03", summary=hostile, rows=rows)
    (out / "logs" / "sub-04_failure.json").write_text(json.dumps({"error": HOSTILE, "traceback": [HOSTILE]}))
    (out / "participants.tsv").write_text(f"participant_id\tsite\nsub-01\t{HOSTILE}\nsub-05\tB\n")
    for participant in ("01", "02", "03", "04"):
        build_individual_report(out, participant)
    build_group(out)
    return out


ALL = ("sub-01.html", "sub-02.html", "sub-03.html", "sub-04.html", "index.html", "group.html")
FOCUS = "document.activeElement.getAttribute('aria-label')"
SHOWN = "getComputedStyle(document.querySelector('.gallery .contour')).display"


@pytest.mark.parametrize(("name", "scripts"), [*((name, True) for name in ALL), (ALL[0], False), (ALL[-1], False)])
def test_no_word_in_the_console_and_no_request(browser, pages, name, scripts):
    browser.open(pages / name, scripts=scripts)
    assert browser.evaluate("document.title").startswith("Microbleeds")
    assert browser.said == []
    assert browser.requests == [(pages / name).as_uri()]


@pytest.mark.parametrize("name", ["sub-03.html", "sub-04.html", "group.html"])
def test_hostile_strings_are_text(browser, pages, name):
    browser.open(pages / name)
    assert browser.evaluate("typeof window.pwned") == "undefined"
    assert browser.evaluate("document.images.length") == 0
    assert browser.evaluate("document.scripts.length") == 1
    assert HOSTILE in browser.evaluate("document.documentElement.textContent")


def test_a_script_that_slipped_in_would_not_run(browser, pages):
    browser.open(pages / "sub-01.html")
    insert = "const s = document.createElement('script'); s.textContent = 'window.pwned = 1'; document.body.append(s);"
    blocked = (
        "new Promise((done) => document.addEventListener("
        "'securitypolicyviolation', (event) => done(event.violatedDirective)))"
    )
    assert browser.evaluate(f"(() => {{ const wait = {blocked}; {insert} return wait; }})()").startswith("script-src")
    assert browser.evaluate("typeof window.pwned") == "undefined"


def test_keys_step_through_the_cards(browser, pages):
    browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    browser.open(pages / "sub-01.html")
    seen = []
    for key in "jjjjpk":
        browser.press(key)
        seen.append(browser.evaluate(FOCUS))
    assert seen == [f"CMB-00{n}" for n in (1, 2, 3, 1, 3, 2)]
    top, bottom = browser.evaluate("(({top, bottom}) => [top, bottom])(document.activeElement.getBoundingClientRect())")
    assert 0 <= top < bottom <= 900  # the card is on the screen
    browser.press("o")  # from the second card backwards: the first, then the last of all
    browser.press("p")
    browser.press("p")
    assert browser.evaluate(FOCUS) == "candidate-004, rejected"
    browser.send("Emulation.setEmulatedMedia", features=[])


def test_keys_fold_hide_flicker_and_help(browser, pages):
    browser.open(pages / "sub-01.html")
    candidates = "document.querySelector('details.candidates').open"
    assert browser.evaluate(candidates) is False
    browser.press("o")
    assert browser.evaluate(candidates) is True
    assert browser.evaluate("document.querySelector('.candidate').checkVisibility()") is True
    browser.press("o")
    assert browser.evaluate(candidates) is False
    assert browser.evaluate(SHOWN) == "inline"
    browser.press("c")
    assert browser.evaluate(SHOWN) == "none"
    browser.press("c")
    assert browser.evaluate(SHOWN) == "inline"
    moving = "getComputedStyle(document.querySelector('.flicker .before')).animationName"
    assert browser.evaluate(moving) == "none"
    browser.press("f")
    assert browser.evaluate(moving) == "flicker"
    browser.press("?")
    assert browser.evaluate("document.getElementById('keys').open") is True
    browser.press("o")  # the help is in front: nothing behind it moves
    assert browser.evaluate(candidates) is False
    browser.press("?")
    assert browser.evaluate("document.getElementById('keys').open") is False
    assert browser.said == []


def test_without_scripts_nothing_is_lost(browser, pages):
    browser.open(pages / "sub-01.html", scripts=False)
    assert browser.evaluate("document.querySelector('.scripted-only').checkVisibility()") is False
    browser.evaluate("document.querySelector('details.candidates summary').click()")
    assert browser.evaluate("document.querySelector('details.candidates').open") is True
    browser.evaluate("document.querySelector('.gallery .hide').click()")
    assert browser.evaluate(SHOWN) == "none"
    opacity = "getComputedStyle(document.querySelector('.flicker .before')).opacity"
    assert browser.evaluate(opacity) == "0"
    browser.evaluate("document.querySelector('.show-before').click()")
    assert browser.evaluate(opacity) == "1"


def test_misregistration_is_on_the_first_screen(browser, pages):
    browser.open(pages / "sub-02.html")
    for selector in (
        ".verdict.failed .headline",
        ".verdict.failed li",
        ".verdict.failed .glance svg",
        "section .failed-text",
    ):
        place = f"document.querySelector('{selector}').getBoundingClientRect().bottom"
        assert 0 < browser.evaluate(place) <= 900, selector
    assert "Do not use this session" in browser.evaluate("document.querySelector('.headline').textContent")
    red, green, blue = browser.evaluate(
        "getComputedStyle(document.querySelector('.headline')).color.match(/\\d+/g).map(Number)"
    )
    assert red > 2 * max(green, blue)
    browser.open(pages / "sub-01.html")
    assert browser.evaluate("document.querySelectorAll('.verdict.failed').length") == 0


@pytest.mark.parametrize("name", ["sub-01.html", "group.html"])
def test_pages_print(browser, pages, name):
    browser.open(pages / name)
    browser.evaluate(
        "window.openAtPrint = null; addEventListener('beforeprint', () => {"
        " window.openAtPrint = document.querySelectorAll('details.candidates:not([open])').length; })"
    )
    pdf = base64.b64decode(browser.send("Page.printToPDF", printBackground=True)["data"])
    assert pdf.startswith(b"%PDF")
    assert len(pdf) > 10_000
    assert browser.evaluate("window.openAtPrint") == 0
    assert browser.evaluate("document.querySelectorAll('details.candidates[open]').length") == 0
    browser.send("Emulation.setEmulatedMedia", media="print")
    assert not browser.evaluate("[...document.querySelectorAll('label, nav, dialog')].some((e) => e.checkVisibility())")
    browser.send("Emulation.setEmulatedMedia", media="")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_in_light_and_dark(browser, pages, scheme):
    browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.open(pages / "sub-02.html")
    for selector in ("body", ".headline", ".soft", ".remark, dd", "td", "kbd"):
        assert contrast(browser, selector) >= 4.5, selector
    browser.send("Emulation.setEmulatedMedia", features=[])


def contrast(browser, selector):
    """Return the WCAG contrast ratio of an element's text with what is behind it."""
    colours = browser.evaluate(
        f"(() => {{ let e = document.querySelector('{selector}'); const ink = getComputedStyle(e).color;"
        " let page; do { page = getComputedStyle(e).backgroundColor; e = e.parentElement; }"
        " while (page === 'rgba(0, 0, 0, 0)'); return [ink, page].map((c) => c.match(/[\\d.]+/g).map(Number)); })()"
    )
    light = []
    for colour in colours:
        parts = [c / 255 for c in colour[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        light.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(light) + 0.05) / (min(light) + 0.05)


def test_group_table_sorts_filters_and_leads_to_the_reports(browser, pages):
    browser.open(pages / "group.html")
    rows = (
        "[...document.querySelectorAll('table.sessions tbody tr')].filter((r) => !r.hidden)"
        ".map((r) => r.cells[0].textContent)"
    )
    first = browser.evaluate(rows)
    assert first[0] == "sub-02"  # its check failed
    column = "[...document.querySelectorAll('.sessions th button')].find((b) => b.textContent === 'Microbleeds')"
    browser.evaluate(f"{column}.click()")
    assert browser.evaluate(rows)[0] == "sub-02"  # one lesion, the others three
    assert browser.evaluate(f"{column}.parentElement.getAttribute('aria-sort')") == "ascending"
    browser.evaluate(f"{column}.click()")
    assert browser.evaluate(rows)[2:] == ["sub-02", "sub-04", "sub-05"]  # those without a count stay last
    browser.evaluate("(() => { const f = document.getElementById('filter'); f.value = 'FAILED';"
                     " f.dispatchEvent(new Event('input')); })()")  # fmt: skip
    assert browser.evaluate(rows) == ["sub-04"]
    links = browser.evaluate("[...document.querySelectorAll('table.sessions a')].map((a) => a.getAttribute('href'))")
    assert "sub-01.html#sub-01" in links
    browser.open(pages / "sub-01.html")
    assert browser.evaluate("document.getElementById('sub-01').tagName") == "SECTION"


@pytest.mark.parametrize("name", ALL)
def test_nothing_scrolls_sideways_on_a_phone(browser, pages, name):
    browser.open(pages / name, width=390, height=844)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390


def test_words_of_the_list_of_steps_are_not_broken(browser, pages):
    browser.open(pages / "sub-01.html", width=390)
    wrap = "getComputedStyle(document.querySelector('.steps td')).overflowWrap"
    assert browser.evaluate(wrap) == "normal"


def test_the_printed_report_begins_with_a_summary_of_one_page(browser, pages):
    browser.open(pages / "sub-01.html")
    sheet = "document.querySelector('.sheet')"
    assert browser.evaluate(f"{sheet}.checkVisibility()") is False
    browser.send("Emulation.setEmulatedMedia", media="print")
    assert browser.evaluate(f"{sheet}.checkVisibility()") is True
    assert browser.evaluate(f"getComputedStyle({sheet}).breakAfter") == "page"
    browser.send("Emulation.setDeviceMetricsOverride", width=720, height=1000, deviceScaleFactor=1, mobile=False)
    assert browser.evaluate(f"{sheet}.getBoundingClientRect().bottom") <= 1000  # A4 within margins of 10 mm
    assert not browser.evaluate("document.getElementById('keys-button').checkVisibility()")
    browser.send("Emulation.setEmulatedMedia", media="")


def test_what_is_many_prints_in_two_columns(browser, pages):
    browser.open(pages / "sub-01.html")
    browser.send("Emulation.setEmulatedMedia", media="print")
    browser.send("Emulation.setDeviceMetricsOverride", width=720, height=1000, deviceScaleFactor=1, mobile=False)
    tracks = "getComputedStyle(document.querySelector('.rejected')).gridTemplateColumns.split(' ').length"
    browser.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert browser.evaluate(tracks) == 2
    assert browser.evaluate("getComputedStyle(document.querySelector('.columns')).columnCount") == "2"
    browser.send("Emulation.setEmulatedMedia", media="")


def test_the_group_page_prints_in_landscape(browser, pages):
    browser.open(pages / "group.html")
    pdf = base64.b64decode(browser.send("Page.printToPDF", preferCSSPageSize=True)["data"])
    width, height = map(float, re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf).groups())
    assert width > height
