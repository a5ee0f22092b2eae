import head_phantom
import numpy as np
import pytest

from mbseg_bids.imaging.background import has_noise_background, without_noise_background
from mbseg_bids.imaging.brain import dice
from mbseg_bids.imaging.preparation import prepare_image

SHAPE = (90, 100, 84)


@pytest.fixture(scope="module")
def heads():
    """A T1w head, the same as the uniform image of an MP2RAGE (from -0.5 to 0.5), its head and its brain."""
    affine = head_phantom.centred_affine(SHAPE, (2.0, 2.0, 2.0))
    plain, labels, brain = head_phantom.scan("T1w", affine, SHAPE)
    rng = np.random.default_rng(5)
    uniform = np.where(labels > 0, plain.data / 100 - 0.5, rng.uniform(-0.5, 0.5, SHAPE))
    return plain, plain.with_data(uniform.astype(np.float32)), labels > 0, brain


def test_only_noise_of_the_whole_range_is_such_a_background(heads):
    plain, uniform, _, _ = heads
    assert has_noise_background(uniform.data)
    assert not has_noise_background(plain.data)
    assert not has_noise_background(np.zeros((20, 20, 20), np.float32))


def test_a_defaced_head_is_still_known(heads):
    _, uniform, _, _ = heads
    defaced = uniform.data.copy()
    defaced[:, -40:, :30] = 0
    assert has_noise_background(defaced)


def test_background_goes_and_the_head_stays(heads):
    _, uniform, head, brain = heads
    cleaned = without_noise_background(uniform)
    assert cleaned.data.min() == 0
    kept = cleaned.data > 0
    assert np.mean(kept[~head]) < 0.05
    assert np.mean(kept[brain]) > 0.97
    inside = kept & brain
    assert np.ptp(uniform.data[inside] - cleaned.data[inside]) < 1e-5  # only lifted


@pytest.mark.slow
def test_the_brain_is_outlined_as_without_the_noise(heads):
    plain, uniform, _, brain = heads
    expected = prepare_image(plain, "T1w", iterations=2)
    found = prepare_image(uniform, "T1w", iterations=2)
    assert dice(found.brain, expected.brain) > 0.9
    assert dice(found.brain, brain) > dice(expected.brain, brain) - 0.03
    assert any("background was noise" in warning for warning in found.warnings)
    assert not any("background" in warning for warning in expected.warnings)
    assert np.corrcoef(found.image.data[brain], plain.data[brain])[0, 1] > 0.95


@pytest.mark.slow
def test_a_t1w_of_zero_mean_keeps_its_brain(heads):
    plain, _, _, brain = heads
    expected = prepare_image(plain, "T1w", iterations=2)
    normalised = plain.with_data(((plain.data - plain.data[brain].mean()) / plain.data[brain].std()).astype(np.float32))
    assert dice(prepare_image(normalised, "T1w", iterations=2).brain, expected.brain) > 0.98
