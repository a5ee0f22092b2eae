"""Regions from an atlas and from FreeSurfer numbers."""

import numpy as np
import pytest

from mbseg_bids.imaging.labels import (
    BRAINSTEM,
    CEREBELLAR_GM,
    CEREBELLAR_WM,
    CEREBRAL_WM,
    CORTICAL_GM,
    CSF,
    DEEP_GM,
    GM,
    REGIONS,
    WM,
)
from mbseg_bids.imaging.regions import (
    FREESURFER_CSF,
    FREESURFER_LESION,
    FREESURFER_REGIONS,
    correct_for_wmh,
    nearest_label,
    regions_from_atlas,
    regions_from_freesurfer,
)

MM = (1.0, 1.0, 1.0)
ASEG_BY_REGION = {
    CORTICAL_GM: (3, 17, 18, 42, 53, 54, 1001, 1035, 2001, 2035, 11101, 11175, 12101, 12175),
    DEEP_GM: (10, 11, 12, 13, 26, 28, 49, 50, 51, 52, 58, 60),
    CEREBRAL_WM: (2, 41, 77, 251, 255, 3001, 4035, 5001, 5002),
    CEREBELLAR_GM: (8, 47, 172, 179),
    CEREBELLAR_WM: (7, 46, 177),
    BRAINSTEM: (16, 170, 173, 174, 175, 178),
}
"""Written down by hand from FreeSurferColorLUT.txt."""
ASEG = {number: region for region, numbers in ASEG_BY_REGION.items() for number in numbers}


@pytest.mark.parametrize(("number", "region"), ASEG.items())
def test_freesurfer_number(number, region):
    regions, tissue, unknown = regions_from_freesurfer(np.full((2, 2, 2), number), MM)
    assert (regions == region).all()
    assert (tissue == (GM if region in (CORTICAL_GM, DEEP_GM, CEREBELLAR_GM) else WM)).all()
    assert unknown == []


def test_every_number_of_the_table_gives_its_region():
    numbers = np.array(sorted(FREESURFER_REGIONS)).reshape(-1, 1, 1)
    regions, _, unknown = regions_from_freesurfer(numbers, MM)
    assert regions.ravel().tolist() == [FREESURFER_REGIONS[n] for n in numbers.ravel().tolist()]
    assert set(regions.ravel().tolist()) == set(REGIONS)
    assert unknown == []


def test_left_and_right_are_alike():
    pairs = {2: 41, 3: 42, 7: 46, 8: 47, 10: 49, 11: 50, 12: 51, 13: 52, 17: 53, 18: 54, 26: 58, 28: 60, 78: 79}
    pairs |= {n: n + 1000 for n in (*range(1000, 1036), *range(3000, 3036), *range(11100, 11176))}
    assert all(FREESURFER_REGIONS[left] == FREESURFER_REGIONS[right] for left, right in pairs.items())


@pytest.mark.parametrize("number", sorted(FREESURFER_CSF))
def test_csf_has_no_region(number):
    regions, tissue, _ = regions_from_freesurfer(np.full((2, 2, 2), number), MM)
    assert (regions == 0).all()
    assert (tissue == CSF).all()


@pytest.mark.parametrize("number", sorted(FREESURFER_LESION))
def test_lesion_label_gets_the_region_around_it(number):
    aseg = np.full((7, 7, 7), 12)
    aseg[3, 3, 3] = number
    regions, _, _ = regions_from_freesurfer(aseg, MM)
    assert (regions == DEEP_GM).all()


def test_unknown_number_is_reported():
    regions, _, unknown = regions_from_freesurfer(np.array([[[2, 6000, 515]]]), MM)
    assert unknown == [6000]
    assert regions.ravel().tolist() == [CEREBRAL_WM, 0, 0]


def test_wmh_correction():
    regions = np.array([[[CORTICAL_GM, DEEP_GM, CEREBRAL_WM, CEREBELLAR_GM, CEREBELLAR_WM, BRAINSTEM, 0]]], np.uint8)
    all_wmh = correct_for_wmh(regions, np.ones(regions.shape, bool))
    assert all_wmh.ravel().tolist() == [
        CEREBRAL_WM, CEREBRAL_WM, CEREBRAL_WM, CEREBELLAR_WM, CEREBELLAR_WM, BRAINSTEM, 0
    ]  # fmt: skip
    np.testing.assert_array_equal(correct_for_wmh(regions, np.zeros(regions.shape, bool)), regions)


@pytest.fixture
def slab():
    """A bar along the first axis: cortex, white matter, thalamus, ventricle, brainstem, cerebellum."""
    atlas = np.zeros((60, 8, 8), int)
    for start, number in ((4, 3), (10, 2), (25, 10), (32, 4), (38, 16), (46, 8), (52, 7)):
        atlas[start:] = number
    tissue = np.full(atlas.shape, WM, np.uint8)
    tissue[:4] = 0
    tissue[4:10] = GM
    tissue[32:38] = CSF
    tissue[46:52] = GM
    return atlas, tissue


def test_regions_of_the_slab(slab):
    regions = regions_from_atlas(*slab, MM)
    line = regions[:, 4, 4]
    assert (line[4:10] == CORTICAL_GM).all()
    assert (line[10:25] == CEREBRAL_WM).all()
    assert (line[25:32] == DEEP_GM).all()  # although its tissue is white matter
    assert (line[32:38] == 0).all()
    assert (line[38:46] == BRAINSTEM).all()
    assert (line[46:52] == CEREBELLAR_GM).all()
    assert (line[52:] == CEREBELLAR_WM).all()


def test_regions_cover_all_tissue(slab, rng):
    """Whatever atlas and tissue say, each voxel of tissue has a region and nothing else has one."""
    atlas, _ = slab
    tissue = rng.integers(0, 4, atlas.shape).astype(np.uint8)
    regions = regions_from_atlas(atlas, tissue, MM)
    np.testing.assert_array_equal(regions > 0, tissue >= GM)


def test_grey_voxels_deep_in_white_matter_are_not_cortex(slab):
    atlas, tissue = slab
    tissue[18:20] = GM
    regions = regions_from_atlas(atlas, tissue, MM)
    assert (regions[18:20] == CEREBRAL_WM).all()
    tissue[11] = GM  # beside the cortex of the atlas
    assert (regions_from_atlas(atlas, tissue, MM)[11] == CORTICAL_GM).all()


def test_deep_grey_matter_does_not_spread_into_ventricles(slab):
    atlas, tissue = slab
    tissue[32:38] = WM
    assert DEEP_GM not in regions_from_atlas(atlas, tissue, MM)[32:38]


def test_nearest_label_uses_millimetres():
    labels = np.zeros((7, 7, 1), int)
    labels[3, 0, 0], labels[0, 3, 0] = 1, 2
    assert nearest_label(labels, (1.0, 5.0, 1.0))[3, 3, 0] == 2
    assert nearest_label(labels, (5.0, 1.0, 1.0))[3, 3, 0] == 1
