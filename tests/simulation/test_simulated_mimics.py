import numpy as np
import pytest
from scipy import ndimage

from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation.anatomy import Anatomy
from mbseg_bids.simulation.mimics import (
    MIMICS,
    lacune_rims,
    old_haemorrhage,
    perivascular_spaces,
    superficial_siderosis,
)
from mbseg_bids.simulation.relaxation import LACUNE
from mbseg_bids.simulation.rendering import render
from mbseg_bids.simulation.susceptibility import Vessel
from mbseg_bids.simulation.vessels import arteries, sulcal_veins


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    """A sulcus (CSF, x 28-31) between two banks of cortex in white matter, with one lacune; 60 mm a side."""
    labels = np.full((60, 60, 60), 2, np.int16)
    labels[24:36], labels[28:32] = 3, 24
    labels[8:12, 28:33, 28:33] = LACUNE
    return Anatomy(Volume(labels, np.eye(4)), np.ones(labels.shape, bool), 70.0)


def darkness(features, *, echo_time=25.0, shape=(60, 60, 60)):
    ratio = np.ones(shape, np.float32)
    for feature in features:
        patch = render(feature.sources, np.eye(4), shape, echo_time=echo_time, field_strength=3.0)
        if patch is not None:
            ratio[patch.box] *= np.abs(patch.ratio)
    return ratio


def test_numbers_of_mimics_keep_their_meaning():
    kinds = ["medullary_vein", "sulcal_vein", "calcification", "cavernoma", "perivascular_space"]
    assert [MIMICS[number] for number in range(1, 6)] == kinds
    assert set(MIMICS) == set(range(1, len(MIMICS) + 1))


def test_siderosis_is_a_dark_line_along_the_cortex(anatomy):
    features = superficial_siderosis(anatomy, np.random.default_rng(3))
    dark = np.argwhere(darkness(features) < 0.7)
    assert len(dark) > 20
    assert ((dark[:, 0] >= 24) & (dark[:, 0] <= 35)).mean() > 0.95  # the banks of the sulcus, and its CSF
    extent = np.ptp(dark, axis=0)
    assert extent[1:].max() >= 10  # long,
    assert extent[0] <= 12  # and thin


def test_a_haemorrhage_is_a_slit_of_fluid_in_a_dark_rim(anatomy):
    features = old_haemorrhage(anatomy, np.random.default_rng(2))
    core, *rim = features
    assert isinstance(core.sources[0], Vessel)
    assert core.t2w > 1.4
    ratio = darkness(rim)
    middle = np.rint(np.mean(core.sources[0].points, axis=0)).astype(int)
    assert (ratio < 0.7).sum() > 30
    around = ndimage.distance_transform_edt(np.arange(ratio.size).reshape(ratio.shape) != middle @ (3600, 60, 1))
    assert ratio[around < 1].mean() > ratio[(around > 1) & (around < 4)].min() + 0.2


def test_only_some_lacunes_have_a_rim_and_it_lies_about_them(anatomy):
    assert lacune_rims(anatomy, np.random.default_rng(0), probability=0.0) == []
    places = [
        source.centre
        for seed in range(5)
        for feature in lacune_rims(anatomy, np.random.default_rng(seed), probability=1.0)
        for source in feature.sources
    ]
    assert len(places) > 10
    outside = np.maximum(np.abs(np.array(places) - (9.5, 30, 30)) - (1.5, 2.0, 2.0), 0)
    assert np.linalg.norm(outside, axis=1).max() < 2.6


def test_arteries_are_voids_on_t2w_and_alike_on_t2star_within_a_scan(anatomy):
    bright = []
    for seed in range(8):
        found = arteries(anatomy, 6, np.random.default_rng(seed))
        assert all(feature.t2w < 0.3 for feature in found)
        densities = np.array([feature.sources[0].density for feature in found])
        assert (densities > 1).all() or (densities < 1).all()
        bright.append(densities[0] > 1)
        starts = np.array([feature.sources[0].points[0] for feature in found])
        assert ((starts[:, 0] > 27) & (starts[:, 0] < 32.5)).all()
    assert 0 < sum(bright) < 8


def test_some_sulcal_veins_are_cut_across_by_axial_slices(anatomy):
    def steepness(across):
        veins = sulcal_veins(anatomy, 60, np.random.default_rng(4), across=across)
        steps = [np.diff(vein.sources[0].points, axis=0)[0] for vein in veins]
        return np.array([abs(step[2]) / np.linalg.norm(step) for step in steps])

    assert (steepness(1.0) > 0.75).mean() > 0.8
    assert (steepness(0.0) > 0.75).mean() < 0.6


def test_a_vein_in_cross_section_is_a_dot_in_every_slice():
    vein = Vessel(((15.2, 15.4, 2.0), (15.2, 15.4, 28.0)), 0.6)
    patch = render([vein], np.diag([1.0, 1.0, 3.0, 1.0]), (30, 30, 10), echo_time=25, field_strength=3)
    dark = np.abs(patch.ratio) < 0.85
    assert (dark.sum(axis=(0, 1))[2:-2] >= 1).all()
    assert dark.sum(axis=(0, 1)).max() <= 6


def test_perivascular_spaces_are_not_dark_on_t2star(anatomy):
    features = perivascular_spaces(anatomy, 4, np.random.default_rng(1))
    ratio = darkness(features)
    assert ratio.min() > 0.99
    assert ratio.max() > 1.02
