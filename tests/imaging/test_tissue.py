"""Tissue on a head of known tissues."""

import numpy as np
import pytest
from head_phantom import centred_affine, scan

from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.imaging.brain import dice
from mbseg_bids.imaging.labels import CSF, GM, WM
from mbseg_bids.imaging.tissue import fill_csf_islands, fit_mixture, grey_white_contrast, segment_tissue


@pytest.mark.parametrize(("spacing", "noise"), [((2.5, 2.5, 2.5), 2.0), ((2.0, 2.0, 4.0), 8.0)])
def test_tissue_of_the_phantom(spacing, noise):
    shape = tuple(int(140 / s) for s in spacing)
    shape = (shape[0], int(176 / spacing[1]), shape[2])
    image, labels, brain = scan("T1w", centred_affine(shape, spacing), shape, noise=noise)
    found = segment_tissue(image.data, brain, spacing)
    for tissue in (CSF, GM, WM):
        assert dice(found == tissue, labels == tissue) > 0.9
    assert (found[~brain] == 0).all()
    assert (found[brain] > 0).all()


def test_tissue_does_not_depend_on_scale():
    shape = (50, 60, 40)
    image, _, brain = scan("T1w", centred_affine(shape, (3.0, 3.0, 3.0)), shape)
    first = segment_tissue(image.data, brain, (3.0, 3.0, 3.0))
    second = segment_tissue(image.data * 1234.5, brain, (3.0, 3.0, 3.0))
    assert (first != second).mean() < 1e-3


@pytest.mark.parametrize(("white", "expected"), [(90, 6.0), (70, 2.0)])
def test_contrast_of_grey_and_white_in_deviations(rng, white, expected):
    truth = np.repeat(np.array([20, 60, white]), 16)[:, None, None] * np.ones((1, 40, 40))
    image = truth + rng.normal(0, 5, truth.shape)
    found = grey_white_contrast(image, np.ones(truth.shape, bool), (1.0, 1.0, 1.0))
    assert found == pytest.approx(expected, rel=0.2)


def test_field_removes_noise_specks(rng):
    """Slabs of 30, 60, 90 with noise of 10: thresholds half way between are wrong in 2 (CSF, WM) and 4 (GM) tails.

    Beyond 1.5 deviations lie 6.68 % of a Gaussian on one side: 8.9 % of all voxels. The neighbours put nineteen of
    twenty right, but for the two boundaries.
    """
    truth = np.repeat(np.array([CSF, GM, WM], np.uint8), 16)[:, None, None] * np.ones((1, 40, 40), np.uint8)
    image = 30.0 * truth + rng.normal(0, 10, truth.shape)
    threshold = np.digitize(image, (45, 75)) + 1
    assert (threshold != truth).mean() == pytest.approx(4 / 3 * 0.0668, abs=0.005)
    found = segment_tissue(image, np.ones(truth.shape, bool), (1.0, 1.0, 1.0))
    inner = np.abs(np.arange(48) - 15.5) > 2
    inner &= np.abs(np.arange(48) - 31.5) > 2
    assert (found != truth)[inner].mean() < 0.089 / 20


def test_mixture_of_known_gaussians(rng):
    """Without mixed voxels the mixtures stay all but empty; the histogram ends within the tails of CSF and WM."""
    values = np.concatenate([rng.normal(m, s, n) for m, s, n in ((30, 6, 20000), (60, 5, 45000), (90, 4, 35000))])
    mixture = fit_mixture(values)
    np.testing.assert_allclose(mixture.means, (30, 60, 90), atol=0.5)
    np.testing.assert_allclose(mixture.deviations, (6, 5, 4), rtol=0.15)
    np.testing.assert_allclose(mixture.weights, (0.2, 0.45, 0.35, 0, 0), atol=0.02)


def test_mixture_with_partial_volume(rng):
    """As many voxels are mixed as are pure: the pure means are found, and the boundaries lie half way between them."""
    pure = [rng.normal(m, s, n) for m, s, n in ((25, 6, 8000), (60, 5, 20000), (90, 2.5, 22000))]
    part = rng.uniform(0, 1, 25000)
    mixed = [rng.normal(25 + 35 * part, 5.5), rng.normal(60 + 30 * part, 4)]
    mixture = fit_mixture(np.concatenate([*pure, *mixed]))
    np.testing.assert_allclose(mixture.means, (25, 60, 90), atol=1.5)
    np.testing.assert_allclose(mixture.weights, (0.08, 0.2, 0.22, 0.25, 0.25), atol=0.05)
    line = np.linspace(20, 95, 751)
    tissue = mixture.evidence(line).argmax(axis=0)
    assert line[np.searchsorted(tissue, 1)] == pytest.approx((25 + 60) / 2, abs=2.5)
    assert line[np.searchsorted(tissue, 2)] == pytest.approx((60 + 90) / 2, abs=2.5)


def test_thin_white_matter_keeps_its_width():
    """A sheet of WM whose true borders lie within voxels keeps its volume; a plain three-Gaussian mixture thins it."""
    x = np.arange(0, 60 * 8) / 8  # eight samples a voxel
    truth = np.where(x % 20 < 4, CSF, np.where(np.abs(x % 20 - 12) < 1.8, WM, GM))
    signal = np.array([0, 25.0, 60.0, 90.0])[truth].reshape(60, 8).mean(axis=1)
    rng = np.random.default_rng(1)
    image = signal[:, None, None] + rng.normal(0, 3.0, (60, 40, 40))
    found = segment_tissue(image, np.ones(image.shape, bool), (1.0, 1.0, 1.0))
    true_share = (truth == WM).mean()
    assert (found == WM).mean() == pytest.approx(true_share, rel=0.15)


def test_dark_spot_inside_white_matter_is_not_csf():
    tissue = np.full((30, 30, 30), WM, np.uint8)
    tissue[10:14, 10:14, 10:14] = CSF
    filled = fill_csf_islands(tissue, (1.0, 1.0, 1.0))
    assert (filled == WM).all()


def test_ventricles_and_sulci_stay():
    tissue = np.zeros((40, 40, 40), np.uint8)
    tissue[4:36, 4:36, 4:36] = GM
    tissue[10:20, 10:20, 10:20] = CSF  # 1000 mm3
    tissue[30:36, 15:18, 15:18] = CSF  # opens to the outside
    np.testing.assert_array_equal(fill_csf_islands(tissue, (1.0, 1.0, 1.0)), tissue)


def test_flat_image_is_an_error():
    with pytest.raises(UnreadableDataError, match="flat"):
        segment_tissue(np.full((5, 5, 5), 7.0), np.ones((5, 5, 5), bool), (1.0, 1.0, 1.0))


def test_empty_brain_is_an_error():
    with pytest.raises(UnreadableDataError, match="empty"):
        segment_tissue(np.ones((5, 5, 5)), np.zeros((5, 5, 5), bool), (1.0, 1.0, 1.0))
