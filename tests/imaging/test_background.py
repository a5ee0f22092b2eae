import head_phantom
import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from mbseg_bids.imaging.background import has_noise_background, without_noise_background
from mbseg_bids.imaging.brain import dice, extract_brain
from mbseg_bids.imaging.preparation import prepare_image
from mbseg_bids.imaging.volume import Volume

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
def test_the_brain_of_a_real_head_is_outlined_as_without_the_noise(shared_data):
    path = shared_data / "real" / "sub-philips" / "anat" / "sub-philips_T1w.nii.gz"
    if not path.is_file():
        pytest.skip(f"no {path.name}")
    image = nib.load(path)
    head = Volume(np.asarray(image.dataobj, np.float32), image.affine)
    expected = extract_brain(head)
    scaled = np.clip(head.data / np.percentile(head.data[expected], 99.5), 0, 1)
    silent = ndimage.gaussian_filter(scaled, 0.7) < 0.06  # air and bone: there the quotient of an MP2RAGE is noise
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, head.shape)
    uniform = head.with_data(np.where(silent, noise, scaled - 0.5).astype(np.float32))
    found = prepare_image(uniform, "T1w", iterations=1)
    assert dice(found.brain, expected) > 0.99
    assert any("background was noise" in warning for warning in found.warnings)


def test_a_t1w_of_zero_mean_is_lifted_as_a_whole(heads):
    plain, _, _, brain = heads
    normalised = plain.with_data(((plain.data - 60) / 30).astype(np.float32))
    prepared = prepare_image(normalised, "T1w", brain_mask=brain, iterations=1)
    assert np.corrcoef(prepared.image.data[brain], plain.data[brain])[0, 1] > 0.95
    assert (prepared.image.data[brain] > 0).all()
