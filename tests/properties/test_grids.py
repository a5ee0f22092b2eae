"""The detection grid: whatever way a scan is stored, the same voxels at the same places in the world."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from volumes import FEW, SEEDS, SHAPES, SPACINGS, TURNS, turn, turned_affine

from mbseg_bids.detection.lesions.segment import segment_lesions
from mbseg_bids.imaging.grids import (
    detection_grid,
    in_plane_spacing,
    labels_to_native,
    probability_to_native,
    slice_axis,
    to_detection_grid,
)
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.settings import DetectionSettings

TILTS = st.floats(-0.3, 0.3)
"""About the x-axis, radians."""
PAPER = DetectionSettings(reader_criteria=False, second_look=False)


def affine_of(spacing, tilt):
    cos, sin = np.cos(tilt), np.sin(tilt)
    rotation = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = rotation * spacing, (-20, 5, 30)
    return affine


@FEW
@given(SHAPES, SPACINGS, TILTS, SEEDS, TURNS)
def test_a_turned_scan_has_the_same_detection_grid(shape, spacing, tilt, seed, way):
    affine = affine_of(spacing, tilt)
    scan = Volume(np.random.default_rng(seed).random(shape).astype(np.float32), affine)
    turned = Volume(turn(scan.data, way), turned_affine(affine, shape, way))
    grids = [detection_grid(volume.shape, volume.affine) for volume in (scan, turned)]
    assert grids[0].shape == grids[1].shape
    np.testing.assert_allclose(grids[0].affine, grids[1].affine, atol=1e-9)
    values = [to_detection_grid(volume, grid).data for volume, grid in zip((scan, turned), grids, strict=True)]
    np.testing.assert_allclose(values[0], values[1], atol=1e-5)


@FEW
@given(SHAPES, SPACINGS, TILTS)
def test_the_detection_grid_keeps_slices_and_extent(shape, spacing, tilt):
    affine = affine_of(spacing, tilt)
    grid, across = detection_grid(shape, affine), slice_axis(affine)
    assert grid.shape[2] == shape[across]
    np.testing.assert_allclose(grid.spacing[2], spacing[across])
    middles = [
        place[:3, :3] @ ((np.array(size) - 1) / 2) + place[:3, 3]
        for place, size in ((affine, shape), (grid.affine, grid.shape))
    ]
    np.testing.assert_allclose(middles[0], middles[1], atol=1e-9)
    wanted = in_plane_spacing(affine)
    assert 1.0 <= wanted <= max(1.0, min(np.delete(spacing, across)))
    for axis in (0, 1):
        assert 0.95 <= grid.spacing[axis] / wanted <= 1.05


@FEW
@given(SHAPES, SPACINGS, SEEDS)
def test_no_label_is_lost_on_the_way_back(shape, spacing, seed):
    """Each label is one voxel, none touches another: the hardest case, as native voxels may be larger."""
    affine = affine_of(spacing, 0.0)
    grid = detection_grid(shape, affine)
    labels = np.zeros(grid.shape, np.int32)
    places = np.argwhere(np.ones([-(-n // 2) for n in grid.shape])) * 2
    chosen = np.random.default_rng(seed).permutation(len(places))[: max(1, min(4, np.prod(shape) // 8))]
    for label, place in enumerate(places[chosen], start=1):
        labels[tuple(place)] = label
    native = labels_to_native(Volume(labels, grid.affine), shape, affine)
    np.testing.assert_array_equal(native.affine, affine)
    assert set(np.unique(native.data)) == set(np.unique(labels)) | ({0} if (native.data == 0).any() else set())


@FEW
@given(SHAPES, SPACINGS, SEEDS, TURNS)
def test_lesions_lie_at_the_same_places_whatever_way_the_scan_is_stored(shape, spacing, seed, way):
    """From the native scan to the detection grid, to lesions, and back; side by side with the same scan turned."""
    shape = tuple(n + 6 for n in shape)
    rng = np.random.default_rng(seed)
    affine = affine_of(spacing, 0.0)
    t2star = np.round(rng.uniform(50, 70, shape)).astype(np.float32)
    for _ in range(2):
        t2star[tuple(slice(start, start + 3) for start in rng.integers(0, np.array(shape) - 2))] = 20
    found = [
        lesions_of(turn(data, w) if w else data, turned_affine(affine, shape, w) if w else affine)
        for data, w in ((t2star, None), (t2star, way))
    ]
    np.testing.assert_array_equal(found[1][0], turn(found[0][0], way))
    assert found[0][0].any()
    places = [result[1][["x_mm", "y_mm", "z_mm", "n_voxels"]].to_numpy(float) for result in found]
    np.testing.assert_allclose(places[0], places[1], atol=1e-6)


def lesions_of(t2star, affine):
    grid = detection_grid(t2star.shape, affine)
    image = to_detection_grid(Volume(t2star, affine), grid).data
    # Rounded, so that sums in another order decide nothing.
    stack = np.stack([np.round(image, 3)] * 3).astype(np.float32)
    probability = (stack[0] < 45).astype(np.float32)
    brain, regions = np.ones(grid.shape, bool), np.full(grid.shape, 3, np.int32)
    result = segment_lesions(stack, probability, brain, regions, grid.spacing, grid.affine, PAPER)
    native = labels_to_native(Volume(result.lesions, grid.affine), t2star.shape, affine).data
    assert (probability_to_native(Volume(probability, grid.affine), t2star.shape, affine).data <= 1).all()
    return native, result.lesion_table
