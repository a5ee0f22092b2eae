import numpy as np
import pytest

from mbseg_bids.imaging.labels import CEREBELLAR_GM, CEREBRAL_WM, CORTICAL_GM, CSF, DEEP_GM, GM, WM
from mbseg_bids.imaging.regions import regions_from_freesurfer
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation.anatomy import REGION_TABLE, deform, make_anatomy
from mbseg_bids.simulation.geometry import rotation, smooth_field
from mbseg_bids.simulation.labelmaps import add_head, refine_cortex
from mbseg_bids.simulation.mimics import draw_mimics
from mbseg_bids.simulation.relaxation import HYPERINTENSITY, LACUNE


def label_at(volume, point):
    index = np.rint(np.linalg.inv(volume.affine) @ [*point, 1])[:3].astype(int)
    return int(volume.data[tuple(index)])


def test_no_deformation_keeps_every_label_in_its_place(toy_head, rng):
    head = deform(toy_head, rng, strength=0)
    for point in ((0, 0, 35), (-11, 0, 0), (11, 0, 0), (5, 0, 8), (0, -8, -25)):
        assert label_at(head, point) == label_at(toy_head, point)


def test_the_orientation_of_the_label_map_does_not_matter(toy_head):
    flipped = toy_head.data[::-1].transpose(2, 0, 1)
    affine = np.zeros((4, 4))
    affine[:, 0], affine[:, 1], affine[:, 2] = toy_head.affine[:, 2], -toy_head.affine[:, 0], toy_head.affine[:, 1]
    affine[:, 3] = toy_head.affine @ [toy_head.shape[0] - 1, 0, 0, 1]
    one = deform(toy_head, np.random.default_rng(1))
    other = deform(Volume(flipped, affine), np.random.default_rng(1))
    np.testing.assert_array_equal(one.affine, other.affine)
    assert (one.data != other.data).mean() < 1e-4  # half-way voxels may round either way


def test_classes_of_an_undisturbed_head(toy_head, rng):
    anatomy = make_anatomy(toy_head, rng, deformation=0, atrophy=0, hyperintensities=0, n_lacunes=0)
    tissue = Volume(anatomy.tissue, anatomy.labels.affine)
    regions = Volume(anatomy.regions, anatomy.labels.affine)
    assert [label_at(tissue, p) for p in ((-5, 0, 8), (11, 0, 0), (-20, 0, 15), (0, 0, 70 / 2 - 1))] == [
        CSF,
        GM,
        WM,
        GM,
    ]
    assert [label_at(regions, p) for p in ((11, 0, 0), (-20, 0, 15), (0, 0, 34))] == [DEEP_GM, CEREBRAL_WM, CORTICAL_GM]
    assert not anatomy.brain[anatomy.select(511, 507, 515)].any()
    assert anatomy.brain[anatomy.select(2, 41, 3, 42, 4, 43)].all()


def test_a_label_lies_in_the_region_that_a_run_counts_it_in():
    """All labels of SynthSeg's maps but those that no segmentation has: 136 to 164, lesions."""
    numbers = np.array([2, 3, 7, 8, 10, 11, 12, 13, 16, 17, 18, 26, 28, 41, 42, 46, 47, 49, 50, 60, 4, 24, 85, 172])
    regions, _, unknown = regions_from_freesurfer(numbers.reshape(-1, 1, 1), (1.0, 1.0, 1.0))
    assert unknown == []
    assert REGION_TABLE[numbers].tolist() == regions.ravel().tolist()
    assert set(REGION_TABLE[[136, 163, 172]].tolist()) == {CEREBELLAR_GM}


def test_atrophy_widens_sulci_and_ventricles(toy_head):
    sizes = []
    for atrophy in (0.0, 0.5, 1.0):
        anatomy = make_anatomy(
            toy_head, np.random.default_rng(3), deformation=0, atrophy=atrophy, hyperintensities=0, n_lacunes=0
        )
        sizes.append((anatomy.select(4, 43).sum(), anatomy.select(24).sum()))
    assert sizes[0][0] < sizes[1][0] < sizes[2][0]
    assert sizes[0][1] < sizes[2][1]


def test_disease_appears_when_asked_for(toy_head):
    ill = make_anatomy(toy_head, np.random.default_rng(4), atrophy=0.2, hyperintensities=1.0, n_lacunes=3)
    well = make_anatomy(toy_head, np.random.default_rng(4), atrophy=0.2, hyperintensities=0.0, n_lacunes=0)
    assert ill.select(HYPERINTENSITY).sum() > 200
    assert ill.select(LACUNE).any()
    assert not well.select(HYPERINTENSITY, LACUNE).any()


def test_a_brain_without_a_head_gets_one(toy_head):
    brain = Volume(np.where(toy_head.data >= 500, 0, toy_head.data), toy_head.affine)
    head = add_head(brain)
    assert {24, 515, 516, 507, 511} <= set(np.unique(head.data).tolist())
    assert label_at(head, (11, 0, 0)) == 52


def test_probabilities_redraw_the_cortex(toy_head):
    x = np.broadcast_to(np.arange(100)[:, None, None] - 50.0, toy_head.shape)
    grey = Volume((np.abs(x) > 25).astype(np.float32), toy_head.affine)
    white = Volume((np.abs(x) <= 25).astype(np.float32), toy_head.affine)
    refined = refine_cortex(toy_head, grey, white)
    assert label_at(refined, (-28, 0, 2)) == 3
    assert label_at(refined, (28, 0, 2)) == 42
    assert label_at(refined, (22, 0, 20)) == 41
    assert label_at(refined, (11, 0, 0)) == 52  # the deep nuclei stay
    assert label_at(refined, (45, 0, 0)) == 511


def test_smooth_field_has_the_documented_spread_and_is_smooth(rng):
    field = smooth_field((60, 50, 40), 10, rng, sigma=2.0)
    assert field.std() == pytest.approx(0.6 * 2.0, rel=0.35)
    assert np.abs(np.diff(field, axis=0)).max() < 2.0


def test_rotation_is_a_rotation():
    turn = rotation((0, 0, np.pi / 2))
    np.testing.assert_allclose(turn @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(rotation((0.1, -0.4, 2.0))), 1)


def test_mimics_are_drawn_by_seed(toy_head, rng):
    anatomy = make_anatomy(toy_head, rng, deformation=0)
    one = draw_mimics(anatomy, np.random.default_rng(9))
    assert one == draw_mimics(anatomy, np.random.default_rng(9))
    assert {"medullary_vein", "sulcal_vein"} <= {feature.kind for feature in one}
