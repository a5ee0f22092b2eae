"""Points, images and labels moved by known transforms."""

import numpy as np
import pytest
from head_phantom import centred_affine, rigid

from mbseg_bids.imaging.grids import Grid
from mbseg_bids.imaging.label_mapping import map_labels
from mbseg_bids.imaging.transforms import PointField, compose_field, field_of_view, grid_points, move_points, resample
from mbseg_bids.imaging.volume import Volume

SHAPE, SPACING = (24, 28, 20), (2.0, 2.0, 2.5)
AFFINE = centred_affine(SHAPE, SPACING)


def ramp(points: np.ndarray) -> np.ndarray:
    return (100 + 0.8 * points[0] - 0.5 * points[1] + 0.3 * points[2]).astype(np.float32)


@pytest.fixture
def image():
    return Volume(ramp(grid_points(SHAPE, AFFINE)), AFFINE)


def test_no_transform_is_the_identity(image):
    np.testing.assert_allclose(resample(image, Grid(SHAPE, AFFINE)).data, image.data, atol=1e-4)


def test_rigid_transform_of_an_image(image):
    """Sampling a linear image at moved points gives the function of the moved points."""
    moved = rigid((5, 10, -7), (1, -2, 3))
    grid = Grid((10, 10, 8), centred_affine((10, 10, 8), (1.0, 1.0, 2.0)))
    expected = ramp(move_points(grid_points(grid.shape, grid.affine), [moved]))
    np.testing.assert_allclose(resample(image, grid, [moved]).data, expected, atol=1e-3)


def test_coarse_voxels_hold_the_mean(rng):
    """A slice of 5 mm made from voxels of 1 mm holds their mean, not the middle one."""
    affine = centred_affine((12, 12, 40), (1.0, 1.0, 1.0))
    fine = Volume(rng.normal(size=(12, 12, 40)).astype(np.float32), affine)
    grid = Grid((12, 12, 8), centred_affine((12, 12, 8), (1.0, 1.0, 5.0)))
    expected = fine.data.reshape(12, 12, 8, 5).mean(axis=3)
    np.testing.assert_allclose(resample(fine, grid).data, expected, atol=1e-5)


def test_outside_the_field_of_view(image):
    far = rigid((0, 0, 0), (20.0, 0, 0))
    grid = Grid(SHAPE, AFFINE)
    inside = field_of_view(image, grid, [far])
    assert inside[:-10].all()
    assert not inside[-10:].any()
    assert (resample(image, grid, [far], fill=-1).data[-10:] == -1).all()


def test_labels_are_never_mixed(rng):
    labels = Volume(rng.choice([0, 3, 1000], SHAPE).astype(np.int32), AFFINE)
    found = resample(labels, Grid(SHAPE, AFFINE), [rigid((9, 4, 2), (1, 1, 1))], order=0)
    assert found.data.dtype == np.int32
    assert set(np.unique(found.data)) <= {0, 3, 1000}


def test_field_holds_a_rigid_transform():
    moved = rigid((5, 10, -7), (1, -2, 3))
    field = compose_field(Grid(SHAPE, AFFINE), [moved])
    points = np.array([[3.3, -8.1], [4.0, 10.2], [-5.0, 6.6]])
    np.testing.assert_allclose(field(points), move_points(points, [moved]), atol=1e-4)


def bent_field() -> PointField:
    x, y, z = grid_points((30, 30, 30), centred_affine((30, 30, 30), (2.0, 2.0, 2.0)))
    shift = np.stack([3 * np.sin(y / 15), 2 * np.cos(x / 12), 1.5 * np.sin(z / 10)], axis=-1).astype(np.float32)
    return PointField(shift, centred_affine((30, 30, 30), (2.0, 2.0, 2.0)))


@pytest.mark.parametrize("spacing", [2.0, 4.0])
def test_no_lesion_is_lost_on_the_way(spacing):
    """One-voxel lesions of a 1-mm grid all arrive on a grid of coarser voxels, near their place."""
    shape = (30, 30, 30)
    affine = centred_affine(shape, (1.0, 1.0, 1.0))
    labels = np.zeros(shape, np.int32)
    places = np.argwhere(np.ones((3, 3, 3))) * 8 + 6
    for number, place in enumerate(places, start=1):
        labels[tuple(place)] = number
    counts = tuple(int(50 / spacing) for _ in range(3))
    grid = Grid(counts, centred_affine(counts, (spacing,) * 3))
    way = [bent_field(), rigid((3, -2, 4), (0.5, 0.3, -0.8))]
    moved = map_labels(Volume(labels, affine), grid, way)
    assert moved.data.dtype == np.int32
    np.testing.assert_array_equal(np.unique(moved.data), np.arange(len(places) + 1))
    for number, place in enumerate(places, start=1):
        there = np.argwhere(moved.data == number).mean(axis=0)
        back = move_points((grid.affine[:3, :3] @ there + grid.affine[:3, 3])[:, None], way)[:, 0]
        gap = np.linalg.norm(back - (affine[:3, :3] @ place + affine[:3, 3]))
        assert gap < spacing
