"""A microbleed added by a click in the viewer, from a file: the voxel is the one that was clicked on."""

import base64
import io
import time

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from headless_chromium import chromium
from PIL import Image
from review_session import AFFINE, UNSEEN, ball, make_small, write_session
from scipy import ndimage

from mbseg_bids.cli import workbench
from mbseg_bids.review.page import drawn

pytestmark = pytest.mark.slow
SOFTWARE_WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
PLACE = "document.getElementById('place').textContent"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile"), *SOFTWARE_WEBGL) as found:
        yield found


@pytest.fixture(scope="module")
def out(tmp_path_factory, browser):
    """An output folder whose review page is open, with its images loaded."""
    folder = tmp_path_factory.mktemp("out") / "out"
    write_session(folder, make_small())
    assert workbench.main(["review", "page", str(folder)]) == 0
    browser.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder.parent))
    browser.open(folder / "review" / "sub-01.html", width=1010, height=500)  # small: drawn without a GPU
    ready = "mbsegViewer.then((nv) => (nv ? nv.volumes.length : document.getElementById('place').textContent))"
    loaded = browser.evaluate(ready)
    if loaded == "No viewer: this browser has no WebGL 2. The list works without it.":
        pytest.skip("this Chromium has no WebGL 2")
    assert loaded == 4
    return folder


def screenshot(browser):
    """Return the page as grey values, and the box of the canvas in it; the page must not scroll between the two."""
    browser.evaluate(
        "new Promise((done) => { window.scrollTo({ top: 0, behavior: 'instant' }); "
        "requestAnimationFrame(() => requestAnimationFrame(done)); })"
    )
    image = Image.open(io.BytesIO(base64.b64decode(browser.send("Page.captureScreenshot", format="png")["data"])))
    box = browser.evaluate(
        "(({left, top, right, bottom}) => [left, top, right, bottom].map(Math.round))"
        "(document.getElementById('viewer').getBoundingClientRect())"
    )
    return np.asarray(image.convert("L"), float), box


def click(browser, x, y):
    for kind in ("mousePressed", "mouseReleased"):
        browser.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


def test_a_click_and_a_key_add_the_spot_that_was_clicked(browser, out):
    k = UNSEEN[2]
    corner = (AFFINE @ np.array([2, 2, k, 1]))[:3].tolist()  # the cross, in its slice and out of the way
    browser.evaluate(
        "mbsegViewer.then((nv) => { document.activeElement.blur(); nv.scene.crosshairPos = nv.mm2frac("
        f"{corner}); nv.drawScene(); return new Promise((done) => requestAnimationFrame(() => "
        "requestAnimationFrame(done))); })"
    )
    grey, (left, top, right, bottom) = screenshot(browser)
    labels, n = ndimage.label(
        np.abs(grey[top:bottom, left:right] - 255 * 25 / 60) < 25
    )  # the spot; letters are smaller
    sizes = np.bincount(labels.ravel())[1:]
    assert n >= 1
    y, x = ndimage.center_of_mass(labels == sizes.argmax() + 1) + np.array([top, left])
    click(browser, float(x), float(y))
    browser.press("m")
    said = browser.evaluate(PLACE)
    assert said.startswith("ADDED-1 added at voxel"), said
    voxel = tuple(int(n) for n in said.rstrip(".").split("voxel ")[1].split(", "))
    assert ball(UNSEEN)[voxel], (voxel, x, y)
    # In radiological convention the patient's right, where x is positive, is on the left of the picture.
    assert (x < (left + right) / 2) == ((AFFINE @ np.array([*voxel, 1]))[0] > 0)
    live = browser.evaluate("document.querySelector('.live').textContent")
    assert live.startswith("By your review 3 microbleeds, by the program 2.")
    assert [text for text in browser.said if "exception" in text.lower()] == []
    assert all(url.startswith(("file:", "blob:")) for url in browser.requests)


def test_what_was_added_is_in_the_mask_after_apply(browser, out):
    """It goes on from the test before: the spot is in the list."""
    browser.evaluate(
        "(() => { const r = document.querySelector('.reader'); r.value = 'R'; r.dispatchEvent(new Event('change'));"
        " document.querySelector('.export').click(); })()"
    )
    review = out.parent / "sub-01_review-R.tsv"
    for _ in range(100):
        if review.is_file() and review.stat().st_size:
            break
        time.sleep(0.1)
    rows = pd.read_csv(review, sep="\t", keep_default_na=False)
    assert rows["kind"].tolist() == ["lesion", "lesion", "candidate", "candidate", "added"]
    assert workbench.main(["review", "apply", str(out), str(review)]) == 0
    path = out / "sub-01/ses-a/anat/sub-01_ses-a_space-T2starw_seg-CMB_desc-reviewed_dseg.nii.gz"
    np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj) == 3, ball(UNSEEN))


def test_what_is_drawn_is_black_to_white():
    t2star = np.linspace(0, 100, 1000).reshape(10, 10, 10)
    made = drawn(t2star, t2star > 50)
    assert made.dtype == np.uint8
    assert (made.min(), made.max()) == (0, 255)
    assert (np.diff(made.ravel().astype(int)) >= 0).all()
    assert drawn(t2star * 0, t2star > 50).max() == 0
