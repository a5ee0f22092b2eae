"""Features of dots, lines in plane and lines across slices in a uniform brain."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mbseg_bids.detection.candidates.features import (
    CLIP_LOG_ODDS,
    FEATURES,
    REGION_ORDER,
    USUAL_LEVEL,
    lesion_features,
)
from mbseg_bids.detection.rules.lesion_view import Scan

SPACING = (1.0, 1.0, 2.0)
SHAPE = (48, 44, 15)
CENTRE = (24, 22, 7)
REASONS_OF_MISSING_T2W = {"t2w_ratio", "ring_t2w"}


def dot(offsets):
    return (offsets**2).sum(axis=0) <= 1.5**2


def line_in_plane(offsets):
    return (np.abs(offsets[0]) <= 1) & (np.abs(offsets[2]) <= 0.5)


def line_across(offsets):
    return (offsets[:2] ** 2).sum(axis=0) <= 1.5**2


def make(shape_of, *, own=dot, depth=20.0):
    """A scan with a dark shape about its middle, of which the component is the part within ``own``."""
    offsets = (np.indices(SHAPE).T - CENTRE).T * np.reshape(SPACING, (3, 1, 1, 1))
    stack = np.stack([np.full(SHAPE, level) for level in (60.0, 40.0, 50.0)])
    stack[0][shape_of(offsets)] = depth
    labels = (shape_of(offsets) & own(offsets)).astype(np.int32)
    brain = np.zeros(SHAPE, bool)
    brain[4:-4, 4:-4] = True
    probability = np.where(labels > 0, 0.8, 0.0)
    return Scan(stack, probability, brain, np.where(brain, 3, 0), SPACING), labels


def measure(scan, labels, region="cerebral_wm"):
    volume = float((labels == 1).sum() * np.prod(scan.spacing))
    return lesion_features(scan, labels, {1: 2 * volume}, {1: region}, no_opinion)[1]


def no_opinion(stack, voxels, slice_spacing):
    """Stand in for the network of neighbourhoods."""
    return np.zeros(len(voxels))


def test_every_feature_has_a_reason_and_a_value():
    features = measure(*make(dot))
    assert list(features) == list(FEATURES)
    assert all(math.isfinite(value) for value in features.values())
    unasked = lesion_features(*make(dot), {1: 10.0}, {1: "deep_gm"})[1]
    assert [name for name, value in unasked.items() if not math.isfinite(value)] == ["neighbourhood"]


def test_the_network_is_asked_about_the_middle_and_not_believed_without_limit():
    scan, labels = make(dot)
    asked = []

    def ask(stack, voxels, slice_spacing):
        asked.append((stack, [tuple(voxel) for voxel in voxels], slice_spacing))
        return np.array([99.0])

    features = lesion_features(scan, labels, {1: 10.0}, {1: "deep_gm"}, ask)[1]
    ((stack, voxels, slice_spacing),) = asked
    assert (voxels, slice_spacing) == ([CENTRE], 2.0)
    np.testing.assert_array_equal(stack[1:], scan.stack[1:])
    np.testing.assert_allclose(stack[0], scan.stack[0] * USUAL_LEVEL / 60)
    assert features["neighbourhood"] == CLIP_LOG_ODDS


@pytest.mark.parametrize("gain", [0.4, 1.2])
def test_the_network_sees_the_same_however_dark_tissue_is(gain):
    scan, labels = make(dot)
    asked = []

    def ask(stack, voxels, slice_spacing):
        asked.append(stack)
        return np.zeros(len(voxels))

    for factor in (1, gain):
        other = replace(scan, stack=scan.stack * np.reshape([factor, 1, 1], (3, 1, 1, 1)))
        lesion_features(other, labels, {1: 10.0}, {1: "deep_gm"}, ask)
    np.testing.assert_allclose(*asked)


def test_the_network_sees_what_is_bright_apart_and_not_cut_off():
    scan, labels = make(dot)
    scan.stack[0][scan.stack[0] == 60] = 30
    for voxel, value in enumerate((0, 15, 65, 100)):
        scan.stack[0][0, 0, voxel] = value
    asked = []

    def ask(stack, voxels, slice_spacing):
        asked.append(stack)
        return np.zeros(len(voxels))

    before = scan.stack.copy()
    lesion_features(scan, labels, {1: 10.0}, {1: "deep_gm"}, ask)
    np.testing.assert_allclose(asked[0][0, 0, 0, :4], [0, USUAL_LEVEL / 2, (USUAL_LEVEL + 100) / 2, 100])
    np.testing.assert_array_equal(scan.stack, before)


def test_a_dot_by_hand():
    scan, labels = make(dot)
    features = measure(scan, labels)
    assert features["log_volume"] == pytest.approx(math.log((labels > 0).sum() * 2.0))
    assert features["elongation"] == pytest.approx(1)
    assert features["contrast"] == features["darkest"] == features["depth"] == pytest.approx(math.log(3))
    assert features["kept_share"] == pytest.approx(0.5)
    assert features["probability_max"] == pytest.approx(math.log(4))
    assert features["blobness"] == pytest.approx(1, abs=0.02)
    assert features["dark_extent"] == features["in_plane"] == features["across_slices"] == features["csf_share"] == 0
    assert features["edge_distance"] == 15
    assert features["ring_spread"] == pytest.approx(0, abs=1e-12)
    assert features["t2w_ratio"] == features["ring_t1w"] == 0
    assert REGION_ORDER[int(features["region"])] == "cerebral_wm"


def test_a_line_is_followed_wherever_it_points():
    """An oblique line, which goes on neither in plane nor straight up, and a dot of the same darkness."""
    direction = np.array([0.6, 0.3, 0.74])

    def oblique(offsets):
        along = np.tensordot(direction / np.linalg.norm(direction), offsets, axes=1)
        return ((offsets**2).sum(axis=0) - along**2) <= 1.5**2

    line, spot = measure(*make(oblique)), measure(*make(dot))
    assert line["line_through"] > 0.3 > 0.05 > spot["line_through"]
    assert line["line_from"] >= line["line_through"]
    assert line["line_to_dot"] > 0.5 > 0.1 > spot["line_to_dot"]
    assert line["structure_elongation"] > 2 > 1.3 > spot["structure_elongation"]
    assert line["structure_volume"] > 1 > 0.01 > spot["structure_volume"]
    ends_here = measure(*make(lambda o: oblique(o) & (o[2] > -1.5)))
    assert ends_here["line_through"] < 0.1 < 0.3 < ends_here["line_from"]


def test_a_line_in_plane_goes_on_in_plane():
    features = measure(*make(line_in_plane, own=lambda o: np.abs(o[1]) <= 4))
    assert features["elongation"] == pytest.approx(3)  # 9 voxels long, 3 wide
    features = measure(*make(line_in_plane))
    assert features["in_plane"] == features["contrast"] > 0.8  # as dark beyond as within
    assert features["blobness"] < 0.3
    assert features["dark_extent"] > 9
    assert features["across_slices"] == 0


def test_a_line_across_slices_goes_on_above_and_below():
    features = measure(*make(line_across))
    assert features["across_slices"] == features["across_slices_weaker"] == features["contrast"] > 0.7
    assert features["elongation"] == pytest.approx(1)
    assert features["in_plane"] == 0
    one_sided = measure(*make(lambda o: line_across(o) & (o[2] > -1)))
    assert one_sided["across_slices"] > 0.7
    assert one_sided["across_slices_weaker"] == 0


@pytest.mark.parametrize("shape_of", [dot, line_in_plane, line_across])
@pytest.mark.parametrize("turn", ["flip", "transpose", "upside down"])
def test_features_do_not_depend_on_how_the_array_lies(shape_of, turn, rng):
    scan, labels = make(shape_of)
    scan.stack[:] *= rng.uniform(0.95, 1.05, scan.stack.shape)

    def turned(array):
        if turn == "transpose":
            return np.swapaxes(array, -3, -2)
        return np.flip(array, -3 if turn == "flip" else -1)

    images = map(turned, (scan.stack, scan.probability, scan.brain, scan.tissue))
    other = Scan(*images, SPACING)
    expected, found = measure(scan, labels), measure(other, turned(labels))
    for name in FEATURES:
        # Sectors of the circle have edges, on either side of which a voxel may come to lie.
        tolerance = 0.12 if name == "in_plane" else 1e-9
        assert found[name] == pytest.approx(expected[name], abs=tolerance), name


def test_a_scale_of_a_contrast_changes_nothing():
    scan, labels = make(dot)
    other = replace(scan, stack=scan.stack * np.reshape([0.5, 2, 3], (3, 1, 1, 1)))
    assert measure(other, labels) == pytest.approx(measure(scan, labels))


def test_what_a_missing_contrast_would_tell_is_not_a_number():
    scan, labels = make(dot)
    scan.stack[1] = 0
    features = measure(scan, labels)
    assert {name for name, value in features.items() if math.isnan(value)} == REASONS_OF_MISSING_T2W


def test_csf_and_the_surface_are_told():
    scan, labels = make(dot)
    scan.tissue[24:] = 1
    assert 0.3 < measure(scan, labels)["csf_share"] < 0.6
    scan.brain[24 + 3 :] = False
    assert measure(scan, labels)["edge_distance"] < 5


def test_two_components_are_measured_as_alone():
    scan, labels = make(dot)
    alone = measure(scan, labels)
    labels[10:12, 10:12, 3] = 2
    scan.stack[0][10:12, 10:12, 3] = 30
    both = lesion_features(
        scan, labels, {1: 2 * (labels == 1).sum() * 2.0, 2: 8.0}, {1: "cerebral_wm", 2: "deep_gm"}, no_opinion
    )
    assert both[1] == pytest.approx(alone)
    assert both[2]["contrast"] == pytest.approx(math.log(2))


def test_without_a_ring_shape_is_all_that_is_known():
    scan, labels = make(dot)
    alone = replace(scan, brain=labels > 0)
    features = measure(alone, labels)
    assert math.isnan(features["contrast"])
    assert math.isnan(features["blobness"])
    assert features["elongation"] == pytest.approx(1)
