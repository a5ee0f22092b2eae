"""The detection grid: to it and back, over orientations and voxel sizes."""

import nibabel as nib
import numpy as np
import pytest

from mbseg_bids.imaging.grids import (
    FINEST_SHARE,
    detection_grid,
    in_plane_spacing,
    labels_to_native,
    mask_to_native,
    probability_to_native,
    slice_axis,
    to_detection_grid,
    touching_labels,
)
from mbseg_bids.imaging.volume import Volume

ORIENTATIONS = ["RAS", "LAS", "LPS", "PSL", "SAR", "oblique"]
SPACINGS = [(1.0, 1.0, 3.0), (0.45, 0.45, 4.0), (1.2, 1.2, 2.0), (0.98, 0.98, 5.0), (0.7, 1.2, 2.5)]


def scan_grid(orientation: str, spacing, shape=(30, 34, 9)):
    """Shape and affine of a scan acquired in axial slices and stored in the given orientation."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-12.3, -17.7, 21.1]
    if orientation == "oblique":
        a, b = np.deg2rad([17.0, -9.0])
        turn_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
        turn_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
        affine[:3, :3] = turn_x @ turn_z @ affine[:3, :3]
        return shape, affine
    image = nib.Nifti1Image(np.zeros(shape, np.uint8), affine)
    change = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(orientation))
    turned = image.as_reoriented(change)
    return turned.shape, turned.affine


@pytest.fixture(params=ORIENTATIONS)
def orientation(request):
    return request.param


@pytest.mark.parametrize("spacing", SPACINGS)
def test_axes_of_the_detection_grid(orientation, spacing):
    shape, affine = scan_grid(orientation, spacing)
    grid = detection_grid(shape, affine)
    assert nib.aff2axcodes(grid.affine) == ("R", "A", "S")
    assert grid.shape[2] == 9
    assert grid.spacing[2] == pytest.approx(spacing[2])
    for found, native in zip(grid.spacing[:2], spacing[:2], strict=True):
        assert found == pytest.approx(native if abs(native - 1) <= 0.05 else 1.0)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_grid_covers_the_field_of_view(orientation, spacing):
    shape, affine = scan_grid(orientation, spacing)
    grid = detection_grid(shape, affine)
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in shape], indexing="ij")).reshape(3, -1)
    to_grid = np.linalg.inv(grid.affine) @ affine
    placed = to_grid[:3, :3] @ corners + to_grid[:3, 3:]
    # A corner lies inside the outermost voxels, or within half a voxel where spacings differ by less than 5 %.
    assert placed.min() > -0.5 - 0.51
    assert (np.array(grid.shape) - 0.5 + 0.51 > placed.T).all()
    assert (placed.max(axis=1) - placed.min(axis=1) <= np.array(grid.shape) + 1e-6).all()


def test_no_resampling_is_the_identity_to_the_bit(orientation, rng):
    shape, affine = scan_grid(orientation, (1.0, 1.0, 3.0))
    scan = Volume(rng.normal(size=shape).astype(np.float32), affine)
    grid = detection_grid(shape, affine)
    there = to_detection_grid(scan, grid)
    back = probability_to_native(there, shape, affine)
    np.testing.assert_array_equal(back.data, scan.data)
    np.testing.assert_array_equal(back.affine, affine)
    assert back.data.dtype == scan.data.dtype


def test_world_position_is_kept(orientation):
    """A linear function of the world position survives interpolation exactly, averaging to a few hundredths of a mm."""
    shape, affine = scan_grid(orientation, (0.7, 1.2, 2.5))
    grid = detection_grid(shape, affine)
    direction = np.array([0.3, -0.5, 0.8])

    def ramp(some_shape, some_affine):
        index = np.indices(some_shape).reshape(3, -1)
        return (direction @ (some_affine[:3, :3] @ index + some_affine[:3, 3:])).reshape(some_shape).astype(np.float32)

    found = to_detection_grid(Volume(ramp(shape, affine), affine), grid).data[2:-2, 2:-2]
    np.testing.assert_allclose(found, ramp(grid.shape, grid.affine)[2:-2, 2:-2], atol=0.03)


def test_coarser_grid_averages(rng):
    """Noise of 0.25 mm voxels falls by the number of voxels averaged: no aliasing."""
    affine = np.diag([0.25, 0.25, 3.0, 1.0])
    scan = Volume(rng.normal(size=(128, 128, 4)).astype(np.float32), affine)
    reduced = to_detection_grid(scan, detection_grid(scan.shape, affine))
    assert reduced.data.std() == pytest.approx(0.25, rel=0.1)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_every_single_voxel_label_survives(orientation, spacing):
    """One-voxel labels two voxels apart all come back, apart from each other."""
    shape, affine = scan_grid(orientation, spacing)
    grid = detection_grid(shape, affine)
    labels = np.zeros(grid.shape, np.int32)
    labels[::3, ::3, ::3] = 1 + np.arange(labels[::3, ::3, ::3].size).reshape(labels[::3, ::3, ::3].shape)
    native = labels_to_native(Volume(labels, grid.affine), shape, affine)
    np.testing.assert_array_equal(np.unique(native.data), np.unique(labels))
    np.testing.assert_array_equal(native.affine, affine)
    assert native.data.shape == tuple(shape)
    assert not touching_labels(native.data)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_label_stays_where_it_was(orientation, spacing):
    shape, affine = scan_grid(orientation, spacing)
    grid = detection_grid(shape, affine)
    labels = np.zeros(grid.shape, np.int32)
    labels[8:12, 9:12, 3:5] = 7
    native = labels_to_native(Volume(labels, grid.affine), shape, affine)

    def centre(array, some_affine):
        return some_affine[:3, :3] @ np.argwhere(array == 7).mean(axis=0) + some_affine[:3, 3]

    assert np.linalg.norm(centre(native.data, affine) - centre(labels, grid.affine)) < 0.5


def test_gap_of_one_voxel_does_not_close():
    """Two lesions one 1-mm voxel apart stay apart on a 1.2-mm grid."""
    shape, affine = scan_grid("RAS", (1.2, 1.2, 2.0))
    grid = detection_grid(shape, affine)
    for start in range(3, 20):
        labels = np.zeros(grid.shape, np.int32)
        labels[start : start + 2, 5:9, 4] = 1
        labels[start + 3 : start + 5, 5:9, 4] = 2
        native = labels_to_native(Volume(labels, grid.affine), shape, affine)
        assert set(np.unique(native.data)) == {0, 1, 2}
        assert not touching_labels(native.data)


def test_touching_labels_are_left_touching():
    shape, affine = scan_grid("LAS", (1.2, 1.2, 2.0))
    grid = detection_grid(shape, affine)
    labels = np.zeros(grid.shape, np.int32)
    labels[4:8, 4:8, 2:4] = 1
    labels[8:12, 4:8, 2:4] = 2
    native = labels_to_native(Volume(labels, grid.affine), shape, affine)
    assert touching_labels(native.data) == {(1, 2)}


def test_mask_keeps_its_volume(orientation):
    shape, affine = scan_grid(orientation, (0.45, 0.45, 4.0), (120, 100, 9))
    grid = detection_grid(shape, affine)
    mask = np.zeros(grid.shape, bool)
    mask[10:40, 10:30, 2:7] = True
    native = mask_to_native(Volume(mask, grid.affine), shape, affine)
    assert native.data.sum() * native.voxel_volume == pytest.approx(mask.sum() * 4.0, rel=0.05)


@pytest.mark.parametrize(
    ("spacing", "axis"), [((5.0, 1, 1), 0), ((1, 3.0, 1), 1), ((1, 1, 1), 2), ((1.02, 1, 1), 2), ((1.2, 1, 1), 0)]
)
def test_slice_axis(spacing, axis):
    assert slice_axis(np.diag([*spacing, 1.0])) == axis


def test_grids_that_are_not_parallel_are_refused():
    shape, affine = scan_grid("oblique", (1.0, 1.0, 3.0))
    with pytest.raises(ValueError, match="not parallel"):
        to_detection_grid(Volume(np.zeros(shape), affine), detection_grid(shape, np.diag([1.0, 1.0, 3.0, 1.0])))


def test_coarse_scans_get_a_grid_as_coarse_and_others_one_of_a_millimetre(orientation):
    for native, expected in ((0.4, 1.0), (1.0, 1.0), (FINEST_SHARE, 1.0), (2.4, 1.5), (3.2, 2.0)):
        shape, affine = scan_grid(orientation, (native, native, 4.0))
        assert in_plane_spacing(affine) == pytest.approx(expected, abs=1e-3)
        grid = detection_grid(shape, affine)
        tolerance = 0.05 * expected  # what lies as near is left as it is
        assert grid.spacing[:2] == pytest.approx((expected, expected), abs=tolerance)
        assert grid.spacing[2] == pytest.approx(4.0)


def test_a_lesion_of_a_coarse_scan_stays_where_it_was(orientation):
    """Within half of the scan's voxel, and as large within as much all round."""
    shape, affine = scan_grid(orientation, (2.4, 2.4, 3.0))
    grid = detection_grid(shape, affine)
    labels = np.zeros(grid.shape, np.int32)
    labels[10:15, 11:16, 3:5] = 4
    native = labels_to_native(Volume(labels, grid.affine), shape, affine).data

    def centre(array, some_affine):
        return some_affine[:3, :3] @ np.argwhere(array == 4).mean(axis=0) + some_affine[:3, 3]

    assert np.linalg.norm(centre(native, affine) - centre(labels, grid.affine)) < 1.7
    small, large = ((7.5 + step) ** 2 * 6 for step in (-2.4, 2.4))
    assert small <= (native == 4).sum() * 2.4 * 2.4 * 3.0 <= large
