"""Tissue on a head of known tissues."""

import numpy as np
import pytest
from head_phantom import centred_affine, scan

from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.imaging.brain import dice
from mbseg_bids.imaging.labels import CSF, GM, WM
from mbseg_bids.imaging.tissue import fill_csf_islands, fit_mixture, segment_tissue


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


def test_field_removes_specks():
    """Noise that mixes the classes leaves fewer errors than thresholds between the true means would."""
    shape = (50, 60, 40)
    image, labels, brain = scan("T1w", centred_affine(shape, (3.0, 3.0, 3.0)), shape, noise=14.0)
    found = segment_tissue(image.data, brain, (3.0, 3.0, 3.0))
    threshold = np.digitize(image.data, (45, 75)) + 1
    assert (found != labels)[brain].mean() < 0.9 * (threshold != labels)[brain].mean()


def test_mixture_of_known_gaussians(rng):
    values = np.concatenate([rng.normal(m, s, n) for m, s, n in ((30, 6, 20000), (60, 5, 45000), (90, 4, 35000))])
    means, deviations, weights = fit_mixture(values)
    np.testing.assert_allclose(means, (30, 60, 90), atol=0.5)
    np.testing.assert_allclose(deviations, (6, 5, 4), atol=0.5)
    np.testing.assert_allclose(weights, (0.2, 0.45, 0.35), atol=0.02)


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
