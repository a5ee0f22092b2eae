"""A scan that is not the contrast it is named for is told by how bright fluid is beside white matter."""

import numpy as np
import pytest
from head_phantom import centred_affine, scan

from mbseg_bids.imaging.contrast_order import contrast_warnings, fluid_to_white_matter, measure_contrasts
from mbseg_bids.imaging.labels import CSF, GM, WM

SHAPE = (50, 60, 44)
AFFINE = centred_affine(SHAPE, (3.0, 3.0, 3.0))
SIGNAL = {"T1w": 30 / 90, "T2w": 95 / 40, "T2starw": 80 / 50}
"""Fluid over white matter of the phantom, from the signals it is made with (tests/head_phantom.py)."""
RIGHT = {"T1w": 0.3, "T2starw": 1.5, "T2w": 3.2}


@pytest.fixture(scope="module")
def phantom():
    """Images by contrast, the brain, and an atlas that knows ventricles, cortex and white matter."""
    scans = {name: scan(name, AFFINE, SHAPE) for name in SIGNAL}
    _, tissue, brain = scans["T1w"]
    atlas = np.select([tissue == CSF, tissue == GM, tissue == WM], [4, 3, 2], 0)
    return {name: found[0].data for name, found in scans.items()}, brain, atlas


def test_the_quotient_is_that_of_the_signals(phantom):
    images, brain, atlas = phantom
    assert measure_contrasts(images, brain, atlas) == pytest.approx(SIGNAL, rel=0.05)


def test_the_unit_of_an_image_does_not_matter(phantom):
    images, brain, atlas = phantom
    small, large = (fluid_to_white_matter(scale * images["T2w"], brain, atlas) for scale in (1.0, 8e4))
    assert small == pytest.approx(large, rel=1e-5)


def test_nothing_is_measured_without_ventricles_or_without_signal(phantom):
    images, brain, atlas = phantom
    assert fluid_to_white_matter(images["T2w"], brain, np.where(atlas == 4, 0, atlas)) is None
    assert fluid_to_white_matter(np.zeros(SHAPE), brain, atlas) is None
    assert measure_contrasts({"T2w": np.zeros(SHAPE)}, brain, atlas) == {}


@pytest.mark.parametrize("left_out", [(), ("T1w",), ("T2w",), ("T1w", "T2w"), ("T1w", "T2w", "T2starw")])
def test_contrasts_in_order_are_not_warned_of(left_out):
    assert contrast_warnings({name: value for name, value in RIGHT.items() if name not in left_out}) == []


@pytest.mark.parametrize("t2star", [0.64, 1.0, 1.98])
def test_t2star_may_be_anywhere_between_the_others(t2star):
    """From a short echo time at 3 T (fluid darker than white matter) to an echo-planar image of 30 ms."""
    assert contrast_warnings(RIGHT | {"T2starw": t2star}) == []


@pytest.mark.parametrize(
    ("first", "second", "titles"),
    [("T1w", "T2w", "T1w and T2w"), ("T1w", "T2starw", "T1w and T2*"), ("T2starw", "T2w", "T2* and T2w")],
)
def test_swapped_names_are_told_once_with_the_right_two(first, second, titles):
    swapped = RIGHT | {first: RIGHT[second], second: RIGHT[first]}
    (sentence,) = contrast_warnings(swapped)
    assert sentence.startswith(f"{titles} look swapped")
    assert f"{RIGHT[second]:.2f} times as bright as white matter on {titles.split(' and ')[0]}" in sentence
    assert f"{RIGHT[first]:.2f} times on {titles.split(' and ')[1]}" in sentence


def test_one_image_of_another_contrast_is_told_by_itself():
    (as_t1w,) = contrast_warnings({"T1w": 3.2, "T2starw": 3.0})
    assert as_t1w.startswith("T1w does not look like a T1w: fluid is 3.20 times")
    (as_t2w,) = contrast_warnings({"T2w": 0.15, "T2starw": 0.16})
    assert as_t2w.startswith("T2w does not look like a T2w: fluid is 0.15 times")


def test_flair_named_t2w_is_told():
    (sentence,) = contrast_warnings(RIGHT | {"T2w": 0.15})
    assert "T2* and T2w" in sentence


def test_what_is_nearly_alike_is_not_told():
    assert contrast_warnings({"T1w": 1.1, "T2starw": 1.0, "T2w": 0.95}) == []
