import numpy as np
import pytest
from place_phantom import SPACING, place_phantom
from scipy import ndimage

from mbseg_bids.imaging.labels import CEREBRAL_WM, CSF
from mbseg_bids.imaging.place_labels import DEEP_WM, FRONTAL, INSULA, LOBES, PLACE_LABELS, PLACES, split_label
from mbseg_bids.imaging.rating_places import (
    _DESIKAN,
    _DESTRIEUX,
    FREESURFER_PLACES,
    places_from_atlas,
    places_from_freesurfer,
    ventricles_from_atlas,
)
from mbseg_bids.imaging.regions import FREESURFER_REGIONS
from mbseg_bids.imaging.template import load_place_atlas, load_region_atlas


@pytest.fixture(scope="module")
def phantom():
    return place_phantom()


def test_freesurfer_and_atlas_agree_to_the_voxel(phantom):
    by_atlas = places_from_atlas(phantom.atlas, phantom.regions, phantom.ventricles, SPACING)
    by_parcels = places_from_freesurfer(phantom.aseg, phantom.atlas, phantom.regions, SPACING)
    np.testing.assert_array_equal(by_atlas, by_parcels)
    assert set(np.unique(by_atlas)) == {0, *PLACE_LABELS}
    np.testing.assert_array_equal(by_atlas > 0, phantom.regions > 0)


def test_lobes_come_from_the_parcels_where_the_atlas_says_otherwise(phantom):
    all_frontal = np.where(np.isin(phantom.atlas % 20, LOBES), phantom.atlas // 20 * 20 + FRONTAL, phantom.atlas)
    found = places_from_freesurfer(phantom.aseg, all_frontal.astype(np.uint8), phantom.regions, SPACING)
    expected = places_from_freesurfer(phantom.aseg, phantom.atlas, phantom.regions, SPACING)
    np.testing.assert_array_equal(found, expected)


def test_without_parcels_the_lobes_come_from_the_atlas(phantom):
    aseg = np.where(phantom.aseg >= 2000, 42, np.where(phantom.aseg >= 1000, 3, phantom.aseg))
    found = places_from_freesurfer(aseg, phantom.atlas, phantom.regions, SPACING)
    np.testing.assert_array_equal(found, places_from_atlas(phantom.atlas, phantom.regions, phantom.ventricles, SPACING))


def test_white_matter_is_deep_up_to_ten_millimetres_from_the_ventricle(phantom):
    ventricle = np.zeros_like(phantom.ventricles)
    ventricle[5, 5, 8] = True
    regions = np.where(ventricle, 0, phantom.regions)
    places = places_from_atlas(phantom.atlas, regions, ventricle, SPACING)
    along = [split_label(int(places[5, 5 + n, 8]))[0] for n in range(1, 8)]
    assert along == ["deep_periventricular_wm"] * 5 + ["parietal"] * 2
    distance = ndimage.distance_transform_edt(~ventricle, sampling=SPACING)
    assert distance[places % 20 == DEEP_WM].max() <= 10
    assert (regions[places % 20 == DEEP_WM] == CEREBRAL_WM).all()


def test_without_a_ventricle_nothing_is_deep_white_matter(phantom):
    places = places_from_atlas(phantom.atlas, phantom.regions, np.zeros_like(phantom.ventricles), SPACING)
    assert not (places % 20 == DEEP_WM).any()


def test_white_matter_in_the_place_of_deep_grey_matter_goes_to_a_capsule(phantom):
    regions = phantom.regions.copy()
    regions[2:6, 6:8, 0:6] = CEREBRAL_WM  # the atlas has basal ganglia there
    places = places_from_atlas(phantom.atlas, regions, phantom.ventricles, SPACING)
    assert {split_label(int(n)) for n in np.unique(places[2:6, 6:8, 0:6])} == {("internal_capsule", "left")}


def test_ventricle_is_fluid_that_joins_that_of_the_atlas():
    atlas, tissue = np.zeros((30, 5, 5), np.int16), np.full((30, 5, 5), 3, np.uint8)
    atlas[10:14] = 4
    tissue[8:13, 2, 2] = CSF  # reaches 2 mm beyond the atlas, and one slice of the atlas's is tissue here
    tissue[20:22] = CSF
    found = ventricles_from_atlas(atlas, tissue, (1.0, 1.0, 1.0))
    assert np.argwhere(found).tolist() == [[i, 2, 2] for i in range(8, 13)]
    assert not ventricles_from_atlas(atlas, np.full_like(tissue, 3), (1.0, 1.0, 1.0)).any()


def test_every_cortical_number_of_a_region_has_one_lobe():
    desikan = [n for lobe in _DESIKAN.values() for n in lobe]
    destrieux = [n for lobe in _DESTRIEUX.values() for n in lobe]
    assert sorted(desikan) == [n for n in range(1, 36) if n != 4]  # 4: corpus callosum
    assert sorted(destrieux) == [n for n in range(1, 76) if n not in (42, 67)]  # medial wall, pericallosal sulcus
    assert set(FREESURFER_PLACES) <= set(FREESURFER_REGIONS)


@pytest.mark.parametrize("number", [(1028, 2028), (11116, 12116), (10, 49), (12, 51), (8, 47)])
def test_left_and_right_numbers_differ_in_the_side_alone(number):
    left, right = (split_label(FREESURFER_PLACES[n]) for n in number)
    assert (left[0], left[1], right[1]) == (right[0], "left", "right")


def test_labels_are_those_of_thirteen_places():
    assert len(PLACES) == 13
    assert PLACE_LABELS[25] == "right_insula"
    assert split_label(50) == ("corpus_callosum", "midline")
    with pytest.raises(ValueError, match="label 41"):
        split_label(41)


LANDMARKS = {  # mm in MNI space: structures whose place no atlas disputes
    (-40, 40, 20): ("frontal", "left"),
    (40, 40, 20): ("frontal", "right"),
    (-35, -60, 50): ("parietal", "left"),
    (55, -30, -15): ("temporal", "right"),
    (-25, -22, -14): ("temporal", "left"),
    (10, -90, 5): ("occipital", "right"),
    (-37, 4, 2): ("insula", "left"),
    (26, 4, 2): ("basal_ganglia", "right"),
    (-12, -18, 7): ("thalamus", "left"),
    (0, -37, 14): ("corpus_callosum", "midline"),
    (0, 27, 6): ("corpus_callosum", "midline"),
    (-19, -8, 10): ("internal_capsule", "left"),
    (35, 0, 2): ("external_capsule", "right"),  # between putamen and insula of the average
    (-6, -28, -30): ("brainstem", "left"),
    (25, -65, -40): ("cerebellum", "right"),
}


@pytest.mark.parametrize("point", LANDMARKS)
def test_shipped_atlas_at_landmarks(point):
    atlas = _atlas()
    index = np.linalg.inv(atlas.affine) @ [*point, 1]
    around = tuple(slice(round(i) - 1, round(i) + 2) for i in index[:3])
    labels = atlas.data[around][atlas.data[around] > 0]
    assert split_label(int(np.bincount(labels).argmax())) == LANDMARKS[point]


def test_shipped_atlas_is_on_the_grid_of_the_region_atlas_and_covers_its_tissue():
    places, regions = _atlas(), load_region_atlas()
    np.testing.assert_array_equal(places.affine, regions.affine)
    assert set(np.unique(places.data)) == {0, *(n for n in PLACE_LABELS if n % 20 != DEEP_WM)}
    tissue = np.isin(regions.data, list(FREESURFER_REGIONS))
    assert (places.data[tissue] > 0).all()
    left = places.data[:98] // 20
    assert not ((left == 1) & (places.data[:98] > 0)).any()
    assert INSULA in places.data


def _atlas():
    return load_place_atlas()
