import numpy as np
import pytest

from mbseg_bids.detection.geometry.components import find_components
from mbseg_bids.detection.rules.intensity_ratio import apply_intensity_ratio
from mbseg_bids.detection.search.mask import local_median, search_mask, search_region, voxels_to_classify
from mbseg_bids.settings import DetectionSettings

THICK = (1.0, 1.0, 3.0)
TISSUE, CSF_SIGNAL = 60.0, 95.0


def brain_phantom(rng, shape=(48, 52, 8), noise=1.5):
    """An elliptic brain at 60 with bright CSF in the middle and as a rim, zero outside; its brain mask, its CSF."""
    i, j = np.indices(shape[:2]) - (np.array(shape[:2]) / 2)[:, None, None] + 0.5
    radius = np.sqrt((i / (shape[0] / 2 - 2)) ** 2 + (j / (shape[1] / 2 - 2)) ** 2)
    brain = np.repeat((radius < 1)[:, :, None], shape[2], axis=2)
    csf = np.repeat(((radius < 1) & ((radius > 0.93) | (radius < 0.15)))[:, :, None], shape[2], axis=2)
    t2star = np.where(csf, CSF_SIGNAL, TISSUE) + rng.normal(0, noise, shape)
    return np.where(brain, np.clip(t2star, 0, 100), 0).astype(np.float32), brain, csf


def blob(shape, centre, radius, spacing):
    offsets = (np.indices(shape).T - centre) * spacing
    return ((offsets**2).sum(axis=-1) <= radius**2).T


@pytest.mark.parametrize("radius", [0.5, 1.0, 2.0, 3.5, 5.0])
@pytest.mark.parametrize("labelled_csf", [False, True])
def test_loses_no_blob_that_the_ratio_rule_keeps(rng, radius, labelled_csf):
    """An oracle classifier that says yes to exactly the blob's voxels: restricted to the mask or not, the same lesions.

    Blobs are anywhere in the tissue, also next to CSF and background, of any contrast that the rule can keep, and may
    be labelled CSF, as a microbleed that is dark on T1w is.
    """
    n_kept = 0
    for _ in range(12):
        t2star, brain, csf = brain_phantom(rng)
        tissue = np.argwhere(brain & ~csf)
        truth = blob(brain.shape, tissue[rng.integers(len(tissue))], radius, THICK) & brain & ~csf
        t2star[truth] *= rng.uniform(0.1, 1.0)
        labels = find_components(truth)
        thresholds = dict.fromkeys(range(1, labels.max() + 1), 1.2)
        kept = apply_intensity_ratio(t2star, labels, brain, THICK, thresholds).labels > 0
        # Beside CSF the ring is so bright that even healthy tissue passes: only what is darker than tissue must stay.
        kept &= t2star < TISSUE / 1.2 - 3
        mask = search_mask(t2star, brain, csf | (truth & labelled_csf), spacing=THICK)
        assert mask[kept].all()
        n_kept += kept.any()
    assert n_kept >= 4


def test_leaves_out_tissue_csf_and_background(rng):
    t2star, brain, csf = brain_phantom(rng, noise=1.0)
    mask = search_mask(t2star, brain, csf, spacing=THICK)
    assert not mask[csf].any()
    assert not mask[~brain].any()
    assert mask.mean() < 0.01


@pytest.mark.parametrize("signal", [0.0, 20.0, 45.0])
def test_wide_lesion_is_not_hollow(rng, signal):
    """A lesion of 10 mm fills the whole 9 mm square about its middle, whose median is the lesion itself."""
    t2star, brain, csf = brain_phantom(rng)
    lesion = blob(brain.shape, (24, 12, 4), 5.0, THICK)
    t2star[lesion] = signal
    assert search_mask(t2star, brain, csf, spacing=THICK)[lesion].all()


def test_background_does_not_hide_a_lesion_at_the_edge_of_the_brain():
    t2star = np.zeros((30, 30, 1), dtype=np.float32)
    brain = np.zeros(t2star.shape, dtype=bool)
    brain[:, 15:18] = True  # a strip: most of every square is background
    t2star[brain] = TISSUE
    t2star[10, 15] = 45.0
    mask = search_mask(t2star, brain, None, spacing=THICK)
    assert np.argwhere(mask).tolist() == [[10, 15, 0]]


def test_voxel_labelled_csf_must_be_clearly_dark():
    """Tissue of 60: 53 is dark enough (60 / 53 = 1.13) as tissue, not as CSF; 48 (1.25) is, whatever its label."""
    t2star = np.full((20, 20, 1), TISSUE, dtype=np.float32)
    t2star[5, 5], t2star[14, 14] = 53.0, 48.0
    brain, csf = np.ones(t2star.shape, dtype=bool), np.zeros(t2star.shape, dtype=bool)
    assert np.argwhere(search_mask(t2star, brain, csf, spacing=THICK)).tolist() == [[5, 5, 0], [14, 14, 0]]
    csf[:] = True
    assert np.argwhere(search_mask(t2star, brain, csf, spacing=THICK)).tolist() == [[14, 14, 0]]
    assert np.argwhere(search_mask(t2star, brain, None, spacing=THICK, quotient=1.2)).tolist() == [[14, 14, 0]]


def test_csf_that_is_dark_on_this_scan_is_not_searched_but_a_lesion_labelled_csf_is(rng):
    """As on susceptibility-weighted scans: CSF of 45 beside tissue of 60 would be dark enough for a lesion."""
    t2star, brain, csf = brain_phantom(rng, noise=0.5)
    t2star[csf] = 45.0
    lesion = blob(brain.shape, (24, 12, 4), 2.0, THICK)
    t2star[lesion] = 30.0
    labelled = csf | lesion
    mask = search_mask(t2star, brain, labelled, spacing=THICK)
    assert mask[lesion].all()
    assert not mask[csf].any()
    assert search_mask(t2star, brain, None, spacing=THICK)[csf].mean() > 0.5


def test_bright_neighbours_do_not_make_tissue_dark(rng):
    """Tissue among CSF: the local median is CSF, the cap keeps the tissue out."""
    t2star, brain, csf = brain_phantom(rng, noise=0.0)
    t2star[20:24, 8:12] = CSF_SIGNAL
    csf[20:24, 8:12] = True
    t2star[21, 10] = TISSUE
    assert not search_mask(t2star, brain, csf, spacing=THICK)[21, 10].any()


def test_voxel_without_signal_is_searched_and_an_empty_image_is_not():
    t2star = np.full((20, 20, 1), TISSUE, dtype=np.float32)
    t2star[7, 7] = 0.0
    brain = np.ones(t2star.shape, dtype=bool)
    assert np.argwhere(search_mask(t2star, brain, None, spacing=THICK)).tolist() == [[7, 7, 0]]
    assert not search_mask(np.zeros_like(t2star), brain, None, spacing=THICK).any()
    assert not search_mask(t2star, np.zeros_like(brain), None, spacing=THICK).any()
    t2star[3, 3] = np.nan
    assert not search_mask(t2star, brain, None, spacing=THICK)[3, 3]


def test_does_not_depend_on_scale_flips_or_order_of_in_plane_axes(rng):
    t2star, brain, csf = brain_phantom(rng, noise=6.0)
    mask = search_mask(t2star, brain, csf, spacing=THICK)
    assert 0.05 < mask[brain].mean() < 0.5
    np.testing.assert_array_equal(search_mask(t2star * 8, brain, csf, spacing=THICK), mask)
    for flips in ((0,), (1,), (2,)):
        arrays = [np.flip(a, flips) for a in (t2star, brain, csf)]
        np.testing.assert_array_equal(search_mask(*arrays, spacing=THICK), np.flip(mask, flips))
    arrays = [a.transpose(1, 0, 2) for a in (t2star, brain, csf)]
    np.testing.assert_array_equal(search_mask(*arrays, spacing=THICK), mask.transpose(1, 0, 2))


def test_local_median_against_numpy(rng):
    intensity = rng.random((14, 13, 2)).astype(np.float32)
    intensity[rng.random(intensity.shape) < 0.3] = np.nan
    where = np.isfinite(intensity) & (rng.random(intensity.shape) < 0.8)
    median = local_median(intensity, (1.0, 3.0, 1.0), side_mm=9.0, where=where)  # 9 x 3 voxels
    for i, j, k in np.ndindex(intensity.shape):
        window = intensity[max(0, i - 4) : i + 5, max(0, j - 1) : j + 2, k]
        expected = np.nanmedian(window) if where[i, j, k] else np.nan
        np.testing.assert_allclose(median[i, j, k], expected, rtol=1e-6)


def test_where_to_search_follows_the_settings():
    t2star = np.full((20, 20, 1), TISSUE, dtype=np.float32)
    t2star[5, 5], t2star[9, 9], t2star[14, 14] = 57.0, 53.0, 48.0  # 1.05, 1.13, 1.25
    t2star[14, 15] = 49.0  # 1.22, beside a darker one
    brain, tissue = np.ones(t2star.shape, dtype=bool), np.full(t2star.shape, 3)

    def region(**changes):
        return search_region(t2star, brain, tissue, THICK, DetectionSettings(**changes))

    def searched(**changes):
        return [np.argwhere(part)[:, :2].tolist() for part in region(**changes)]

    assert searched() == [[[9, 9], [14, 14], [14, 15]], [[14, 14]]]
    assert searched(search_quotient=1.2) == [[[14, 14], [14, 15]], [[14, 14]]]
    assert searched(seed_quotient=1.1) == [[[9, 9], [14, 14], [14, 15]], [[9, 9], [14, 14]]]
    assert searched(ratio_threshold=1.04)[1] == [[5, 5], [9, 9], [14, 14]]
    assert all(part.all() for part in region(exhaustive=True))
    voxels = voxels_to_classify(t2star, brain, tissue, THICK, DetectionSettings())
    assert voxels.tolist() == [[9, 9, 0], [14, 14, 0], [14, 15, 0]]
