"""Bias correction against a known field; standardisation against its definition."""

import numpy as np
import pytest

from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.imaging.intensity import correct_bias, dilate_mm, n4_bias_field, standardise

SPACING = (2.0, 2.0, 3.0)


@pytest.fixture(scope="module")
def biased():
    """A three-class ball, a smooth field of +-30 %, and their noisy product."""
    rng = np.random.default_rng(1)
    shape = (64, 72, 40)
    x, y, z = (np.linspace(-1, 1, n).reshape([-1 if a == i else 1 for i in range(3)]) for a, n in enumerate(shape))
    radius = np.sqrt(x**2 + y**2 + z**2)
    brain = radius < 0.9
    folds = np.sin(9 * x) * np.sin(8 * y) * np.sin(7 * z)
    truth = np.where(folds > 0.15, 80.0, np.where(folds > -0.2, 60.0, 30.0)) * brain
    field = np.exp(0.3 * x + 0.2 * y * z - 0.25 * z)
    image = (truth * field + rng.normal(0, 1.0, shape)) * brain
    return np.maximum(image, 0).astype(np.float32), brain, truth, field


def test_n4_removes_a_known_bias(biased):
    image, brain, _, field = biased
    found = n4_bias_field(image, brain, SPACING)
    left = np.log(field / found)[brain]
    assert left.std() < 0.25 * np.log(field[brain]).std()
    assert np.log(found[brain]).mean() == pytest.approx(0, abs=1e-3)


def test_n4_does_not_depend_on_threads(biased):
    import SimpleITK as sitk  # noqa: N813

    image, brain, *_ = biased
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    results = []
    try:
        for threads in (1, 3):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
            results.append(correct_bias(image, brain, SPACING, iterations=10))
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    np.testing.assert_array_equal(*results)


def test_zero_signal_stays_zero(biased):
    image, brain, *_ = biased
    assert (correct_bias(image, brain, SPACING, iterations=5)[image == 0] == 0).all()
    assert (standardise(image, brain)[image == 0] == 0).all()


def test_standardise_is_linear_through_the_origin(rng):
    image = rng.gamma(3, 200, (20, 20, 20)).astype(np.float32)
    brain = rng.random(image.shape) > 0.4
    found = standardise(image, brain)
    top = np.percentile(image[brain], 99.5)
    inside = image < top
    np.testing.assert_allclose(found[inside], image[inside] * 100 / top, rtol=1e-5)
    assert (found[~inside] == 100).all()


@pytest.mark.parametrize("scale", [1e-4, 3.7, 8e6])
def test_standardise_does_not_depend_on_scale(rng, scale):
    image = rng.gamma(3, 200, (20, 20, 20)).astype(np.float32)
    brain = np.ones(image.shape, bool)
    np.testing.assert_allclose(standardise(image * np.float32(scale), brain), standardise(image, brain), rtol=1e-4)


def test_standardise_of_broken_values():
    image = np.full((4, 4, 4), 10.0)
    image[0, 0, 0], image[0, 0, 1], image[0, 0, 2] = np.nan, np.inf, -5
    found = standardise(image, image == 10.0)
    assert found[0, 0, :3].tolist() == [0, 0, 0]
    assert np.isfinite(found).all()


@pytest.mark.parametrize("value", [0.0, -3.0])
def test_standardise_without_signal_is_an_error(value):
    with pytest.raises(UnreadableDataError, match="no signal"):
        standardise(np.full((3, 3, 3), value), np.ones((3, 3, 3), bool))


def test_standardise_without_brain_is_an_error():
    with pytest.raises(UnreadableDataError, match="empty"):
        standardise(np.ones((3, 3, 3)), np.zeros((3, 3, 3), bool))


def test_dilation_in_mm():
    mask = np.zeros((11, 11, 11), bool)
    mask[5, 5, 5] = True
    grown = dilate_mm(mask, (1.0, 2.0, 4.0), 2.0)
    assert sorted(map(tuple, np.argwhere(grown) - 5)) == sorted(
        [(0, 0, 0), (-2, 0, 0), (-1, 0, 0), (1, 0, 0), (2, 0, 0), (0, -1, 0), (0, 1, 0)]
    )
