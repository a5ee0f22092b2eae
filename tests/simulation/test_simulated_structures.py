"""Where the structures that look like microbleeds lie, and what they are made of."""

import numpy as np
import pytest

from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation.anatomy import TISSUE_TABLE, Anatomy, make_anatomy
from mbseg_bids.simulation.calcification import calcifications, choroid_plexus, dural_plaques, mineralised_perforators
from mbseg_bids.simulation.crossing_vessels import csf_vessels, fluid_maps, tissue_vessels
from mbseg_bids.simulation.lesions import DEEP_STRUCTURES, draw_microbleeds, half_surrounded
from mbseg_bids.simulation.mimics import IGNORED_MIMICS, MIMIC_NUMBERS, draw_mimics, ignored, superficial_siderosis
from mbseg_bids.simulation.relaxation import DURA
from mbseg_bids.simulation.rendering import render
from mbseg_bids.simulation.sheets import add_dura, falx
from mbseg_bids.simulation.susceptibility import Sphere
from mbseg_bids.simulation.venous_tree import bridging_veins, deep_veins, medullary_fans, pial_trees


@pytest.fixture(scope="module")
def cleft() -> Anatomy:
    """Two hemispheres of cortex and white matter with 4 mm of CSF between them (x 38-41), under a bone at z 70."""
    labels = np.zeros((80, 60, 80), np.int16)
    labels[..., :70] = 24
    labels[8:38, 5:55, 10:66], labels[42:72, 5:55, 10:66] = 3, 42
    labels[12:34, 9:51, 14:62], labels[46:68, 9:51, 14:62] = 2, 41
    labels[20:26, 12:40, 30:40], labels[54:60, 12:40, 30:40] = 4, 43
    labels[38:42, 20:36, 28:36] = 14
    labels[..., 70:74] = 515
    brain = np.zeros(labels.shape, bool)
    brain[6:74, 4:56, 8:69] = True
    return Anatomy(Volume(labels, np.eye(4)), brain, 70.0)


def starts(features):
    return np.array([np.mean(f.sources[0].points, axis=0) for f in features])


def labels_at(anatomy, places):
    return anatomy.labels.data[tuple(np.rint(places).astype(int).T)]


def test_the_falx_is_one_voxel_in_the_middle_of_the_cleft(cleft):
    box, sheet = falx(cleft.labels.data, np.random.default_rng(0))
    found = np.argwhere(sheet) + [side.start or 0 for side in box]
    assert len(found) > 500
    assert set(found[:, 0]) <= {39, 40}
    assert sheet.sum(axis=0).max() == 1
    assert found[:, 2].min() >= 65 - 39  # the hemispheres end at z 65; the lower part of the cleft is free


def test_dura_replaces_csf_only_and_lines_the_bone(cleft):
    labels = cleft.labels.data.copy()
    add_dura(labels, np.random.default_rng(1))
    dura = labels == DURA
    assert (cleft.labels.data[dura] == 24).all()
    assert dura[..., 69].all()
    assert not dura[..., 66:69][:30].any()
    again = cleft.labels.data.copy()
    add_dura(again, np.random.default_rng(1))
    np.testing.assert_array_equal(labels, again)


def test_a_head_without_hemispheres_has_no_falx():
    assert falx(np.full((20, 20, 20), 24, np.int16), np.random.default_rng(0)) is None


def test_vessels_of_csf_lie_in_csf_and_half_of_them_climb(cleft):
    found = csf_vessels(cleft, fluid_maps(cleft), np.random.default_rng(3), load=2.0)
    places = labels_at(cleft, starts(found))
    assert np.isin(places, (24, 4, 43, 14)).all()
    assert {24, 4, 43} <= set(places.tolist())
    points = np.array([f.sources[0].points for f in found])
    length = np.linalg.norm(points[:, 1] - points[:, 0], axis=1)
    assert 2 <= length.min() <= length.max() <= 22 + 1e-6
    steep = np.abs(points[:, 1, 2] - points[:, 0, 2]) / length > 0.75
    assert 0.4 < steep.mean() < 0.8
    radii = np.array([f.sources[0].radius for f in found])
    assert radii.min() < 0.3
    assert radii.max() > 0.8


def test_vessels_of_tissue_are_longer_than_wide(cleft):
    found = tissue_vessels(cleft, np.random.default_rng(3), load=2.0)
    assert set(labels_at(cleft, starts(found)).tolist()) == {2, 3, 41, 42}
    for vessel in (f.sources[0] for f in found):
        assert np.linalg.norm(np.subtract(*vessel.points)) >= max(5, 3 * vessel.radius)


def test_deep_veins_leave_the_third_ventricle_backwards_in_pairs(cleft):
    found = deep_veins(cleft, np.random.default_rng(5))
    assert {f.kind for f in found} == {"deep_vein"}
    galen, straight = (np.array(f.sources[0].points) for f in found[:2])
    np.testing.assert_array_equal(galen[-1], straight[0])
    assert abs(galen[0, 0] - 39.5) < 1
    assert (np.diff(galen[:, 1]) < 0).all()
    assert straight[1, 1] < straight[0, 1]
    inner = [np.array(f.sources[0].points) for f in found[2:] if len(f.sources[0].points) == 5][:2]
    assert sorted(np.sign(points[0, 0] - 39.5) for points in inner) == [-1, 1]
    no_ventricle = Anatomy(Volume(np.full((20,) * 3, 2, np.int16), np.eye(4)), np.ones((20,) * 3, bool), 60.0)
    assert deep_veins(no_ventricle, np.random.default_rng(5)) == []


def test_fans_start_at_a_ventricle_and_bridges_end_at_the_middle(cleft):
    fans = medullary_fans(cleft, 3, np.random.default_rng(1))
    assert len(fans) >= 9
    bridges = bridging_veins(cleft, fluid_maps(cleft), 12, np.random.default_rng(1))
    ends = np.array([f.sources[0].points[-1] for f in bridges])
    np.testing.assert_allclose(ends[:, 0], 39.5)
    assert len(bridges) > 3


def test_branches_of_pial_veins_are_thinner_than_the_stem_and_start_on_it(cleft):
    found = pial_trees(cleft, fluid_maps(cleft), 6, np.random.default_rng(2))
    stems = [f.sources[0] for f in found if f.sources[0].radius >= 0.5 and len(f.sources[0].points) >= 4]
    corners = {point for stem in stems for point in stem.points}
    thin = [f.sources[0] for f in found if f.sources[0].radius < 0.5]
    assert thin
    assert all(vessel.points[0] in corners for vessel in thin)


def test_choroid_plexus_has_many_small_deposits_in_the_back_of_the_ventricles(cleft):
    deposits = [s for seed in range(6) for f in choroid_plexus(cleft, np.random.default_rng(seed)) for s in f.sources]
    assert len(deposits) > 20
    assert all(s.dchi < 0 for s in deposits)
    places = np.array([s.centre for s in deposits])
    assert np.isin(labels_at(cleft, places), (4, 43)).all()
    assert places[:, 1].max() < 27
    assert np.median([s.radius for s in deposits]) < 0.9


def test_calcium_of_the_pallidum_is_rarer_than_microbleeds_there(toy_head):
    anatomy = make_anatomy(toy_head, np.random.default_rng(0), deformation=0, atrophy=0)
    counts = []
    for seed in range(60):
        found = calcifications(anatomy, np.random.default_rng(seed))
        voxels = np.rint(np.array([f.sources[0].centre for f in found]).reshape(-1, 3) - anatomy.labels.affine[:3, 3])
        counts.append(np.isin(anatomy.labels.data[tuple(voxels.astype(int).T)], (13, 52)).sum())
    assert 0.1 < np.mean(counts) < 0.8
    microbleeds = draw_microbleeds(anatomy, 400, np.random.default_rng(1), apart=0.5)
    voxels = np.rint(np.array([m.sources[0].centre for m in microbleeds]) - anatomy.labels.affine[:3, 3]).astype(int)
    labels = anatomy.labels.data[tuple(voxels.T)]
    deep = {name: np.isin(labels, numbers).mean() for name, (numbers, _) in DEEP_STRUCTURES.items()}
    assert deep["pallidum"] == pytest.approx(0.032, abs=0.025)
    assert deep["putamen"] == pytest.approx(0.064, abs=0.035)
    assert sum(deep.values()) == pytest.approx(0.16, abs=0.05)


def test_plaques_lie_on_dura_and_perforators_run_up_through_the_lentiform_nucleus(toy_head):
    anatomy = make_anatomy(toy_head, np.random.default_rng(0), deformation=0, atrophy=0)
    origin = anatomy.labels.affine[:3, 3]
    plaques = dural_plaques(anatomy, np.random.default_rng(0), mean=6)
    for plaque in plaques:
        assert anatomy.labels.data[tuple(np.rint(plaque.sources[0].centre - origin).astype(int))] == DURA
        assert all(-2 <= s.dchi <= -1 for s in plaque.sources)
    found = mineralised_perforators(anatomy, 10, np.random.default_rng(0))
    steps = np.array([np.subtract(f.sources[0].points[1], f.sources[0].points[0]) for f in found])
    assert (steps[:, 2] > 0).mean() > 0.8


def test_siderosis_is_a_ribbon_without_gaps_that_training_ignores(cleft):
    features = superficial_siderosis(cleft, np.random.default_rng(3))
    ratio = np.ones(cleft.brain.shape, np.float32)
    for feature in features:
        patch = render(feature.sources, np.eye(4), ratio.shape, echo_time=25.0, field_strength=3.0)
        ratio[patch.box] *= np.abs(patch.ratio)
    centres = np.array([s.centre for f in features for s in f.sources])
    dark = ratio[tuple(np.rint(centres).astype(int).T)] < 0.85
    assert dark.mean() > 0.95
    # Each deposit has a neighbour: one line, not scattered dots.
    apart = np.linalg.norm(centres[:, None] - centres[None], axis=2) + 99 * np.eye(len(centres))
    assert np.quantile(apart.min(axis=1), 0.95) < 1.8
    assert MIMIC_NUMBERS["superficial_siderosis"] in IGNORED_MIMICS
    assert ignored(np.array([0, 1, MIMIC_NUMBERS["superficial_siderosis"]])).tolist() == [False, False, True]


def test_microbleeds_are_half_surrounded_by_tissue(cleft):
    assert half_surrounded(cleft, np.array((20, 20, 50)))
    assert not half_surrounded(cleft, np.array((8, 5, 10)))  # a corner of cortex in CSF
    assert half_surrounded(cleft, np.array((36, 30, 30)))  # beside the sulcus, in the cortex
    found = draw_microbleeds(cleft, 60, np.random.default_rng(0), apart=3.0)
    for microbleed in found:
        voxel = np.rint(microbleed.sources[0].centre).astype(int)
        assert TISSUE_TABLE[cleft.labels.data[tuple(voxel)]] in (2, 3)
        # Counted anew, over points of the shell.
        offsets = np.random.default_rng(1).normal(size=(400, 3))
        offsets *= np.random.default_rng(2).uniform(1, 2.2, (400, 1)) / np.linalg.norm(offsets, axis=1, keepdims=True)
        around = TISSUE_TABLE[labels_at(cleft, voxel + offsets)]
        assert np.isin(around, (2, 3)).mean() > 0.4


def test_wide_mimics_are_of_every_kind_and_by_seed(cleft):
    wide = draw_mimics(cleft, np.random.default_rng(9))
    assert wide == draw_mimics(cleft, np.random.default_rng(9))
    kinds = {f.kind for f in wide}
    assert {"csf_vessel", "tissue_vessel", "deep_vein", "bridging_vein"} <= kinds
    narrow = {f.kind for f in draw_mimics(cleft, np.random.default_rng(9), wide=False)}
    assert not narrow & {"csf_vessel", "tissue_vessel", "deep_vein", "bridging_vein"}
    assert all(isinstance(s, Sphere) or s.radius > 0 for f in wide for s in f.sources)
