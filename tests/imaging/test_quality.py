"""Measures of quality on phantoms of known noise, contrast and ghosts."""

import numpy as np
import pytest

from mbseg_bids.imaging.labels import CEREBRAL_WM, CORTICAL_GM
from mbseg_bids.imaging.quality import (
    contrast_to_noise,
    ghosting,
    measure_t2star,
    robust_deviation,
    round_measures,
    shares,
    signal_to_noise,
)
from mbseg_bids.simulation.acquisition import add_ghosts, add_rician_noise

SPACING = (1.0, 1.0, 3.0)


def head(noise=2.0, *, bias=0.0, seed=0, grey=66.0, white=60.0):
    """A round head: skin, fluid-filled skull, cortex, white matter with dark dots; image, brain, regions."""
    rng = np.random.default_rng(seed)
    i, j, _ = np.meshgrid(np.arange(96) - 48, np.arange(112) - 56, np.arange(12), indexing="ij")
    distance = np.hypot(i / 0.9, j)
    image = np.zeros(distance.shape, np.float32)
    regions = np.zeros(distance.shape, np.uint8)
    for radius, value in ((52, 40.0), (48, 5.0), (44, 95.0), (42, grey), (34, white)):
        image[distance < radius] = value
    regions[distance < 42], regions[distance < 34] = CORTICAL_GM, CEREBRAL_WM
    image[20 + 5 * np.arange(12), 50, np.arange(12)] = 10.0
    image = image * np.exp(np.float32(bias) * (i / 48).astype(np.float32))
    return add_rician_noise(image, noise, rng), distance < 42, regions


@pytest.mark.parametrize("noise", [1.0, 3.0, 6.0])
@pytest.mark.parametrize("bias", [0.0, 0.1])
def test_signal_over_noise_is_known_and_a_slow_bias_is_no_noise(noise, bias):
    image, brain, regions = head(noise, bias=bias)
    found = measure_t2star(image, brain, regions, SPACING)["t2star_snr"]
    assert found == pytest.approx(60 / noise, rel=0.06)


def test_scale_does_not_matter():
    image, brain, regions = head(3.0)
    one, other = (measure_t2star(scale * image, brain, regions, SPACING) for scale in (1.0, 7.3))
    assert one == {name: pytest.approx(value, rel=1e-3) for name, value in other.items()}


@pytest.mark.parametrize(("grey", "expected"), [(72.0, 12 / np.sqrt(18)), (60.0, 0.0), (54.0, -6 / np.sqrt(18))])
def test_contrast_over_noise_is_known_and_keeps_its_sign(grey, expected):
    image, brain, regions = head(3.0, grey=grey)
    found = measure_t2star(image, brain, regions, SPACING)["t2star_cnr"]
    assert found == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize("axis", [0, 1])
def test_ghosts_raise_the_measure_along_either_axis_the_more_the_stronger(axis):
    """As a correlation it levels off, once most of the noise is ghosts."""
    image, brain, regions = head(6.0)
    found = [
        measure_t2star(add_ghosts(image, mm, period=6.2, start=0.7, axis=axis), brain, regions, SPACING)
        for mm in (0.0, 0.1, 0.3, 0.6)
    ]
    levels = [measured["t2star_ghosting"] for measured in found]
    assert levels[0] < 0.06
    assert levels[1] > 1.5 * levels[0]
    assert levels[2] > levels[1]
    assert levels[3] > 5 * levels[0]


@pytest.mark.parametrize("what", ["blur", "noise", "dots"])
def test_blur_noise_and_dark_dots_are_no_ghosts(what):
    from scipy import ndimage

    clean, brain, regions = head(2.0)
    image = head(6.0)[0] if what == "noise" else clean.copy()
    if what == "blur":
        image = ndimage.gaussian_filter(image, (1.0, 1.0, 0))
    if what == "dots":
        dots = np.random.default_rng(4).random(image.shape) < 0.01
        image[dots & (regions == CEREBRAL_WM)] = 5
    limit = 2.5 * measure_t2star(clean, brain, regions, SPACING)["t2star_ghosting"]
    assert measure_t2star(image, brain, regions, SPACING)["t2star_ghosting"] < limit


def test_a_copy_of_the_head_is_found_where_it_lies():
    """An eleventh of the image, displaced by 25 mm, as flow that pulsates leaves it."""
    image, brain, regions = head(2.0)
    copied = image + 0.09 * np.roll(image, 25, axis=1)
    before, after = (measure_t2star(x, brain, regions, SPACING)["t2star_ghosting"] for x in (image, copied))
    assert after > 2 * before


def test_what_cannot_be_measured_is_not_known():
    image, brain, regions = head()
    nothing = dict.fromkeys(("t2star_snr", "t2star_cnr", "t2star_ghosting"))
    assert measure_t2star(image, np.zeros_like(brain), regions, SPACING) == nothing
    assert measure_t2star(image, brain, np.zeros_like(regions), SPACING) == nothing
    flat = np.full(image.shape, 50, np.float32)
    assert measure_t2star(flat, brain, regions, SPACING) == nothing
    white_alone = np.where(regions == CEREBRAL_WM, regions, 0)
    found = measure_t2star(image, brain, white_alone, SPACING)
    assert found["t2star_cnr"] is None
    assert found["t2star_snr"] is not None
    broken = np.where(np.random.default_rng(0).random(image.shape) < 0.01, np.nan, image)
    assert all(np.isfinite(value) for value in measure_t2star(broken, brain, regions, SPACING).values())


def test_one_slice_and_thin_tissue_are_measured():
    image, brain, regions = (x[..., :1] for x in head(2.0))
    assert measure_t2star(image, brain, regions, SPACING)["t2star_snr"] == pytest.approx(30, rel=0.1)
    tissue = regions == CEREBRAL_WM
    assert signal_to_noise(image, tissue, SPACING) > 0
    assert 0 <= ghosting(image, tissue, SPACING) <= 1
    assert contrast_to_noise(image, brain & ~tissue, tissue) != 0


def test_robust_deviation_of_a_normal_distribution_with_outliers():
    values = np.random.default_rng(1).normal(5, 2, 100_000)
    values[:1000] = 500
    assert robust_deviation(values) == pytest.approx(2, rel=0.03)


def test_shares_count_each_value_once_with_both_ends():
    edges = (0.0, 0.05, 0.2, 0.5, 0.8, 1.0)
    assert shares(np.array([0.0, 0.049, 0.05, 0.2, 0.49, 0.5, 0.8, 1.0]), edges) == [2, 1, 2, 1, 2]
    assert shares(np.array([]), edges) == [0] * 5


def test_rounding():
    assert round_measures({"a": 12.3456, "b": None, "c": 0.000123456}) == {"a": 12.35, "b": None, "c": 0.0001235}
