import numpy as np
import pytest
import torch

from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation.rendering import occupancy, render
from mbseg_bids.simulation.susceptibility import Feature, Sphere, Vessel, cylinder_field, sphere_field

GRID = (np.eye(4), (24, 24, 24))
CENTRE = (12.0, 12.0, 12.0)


def dark_volume(source, *, echo_time=25.0, field_strength=3.0):
    patch = render([source], *GRID, echo_time=echo_time, field_strength=field_strength)
    return int((np.abs(patch.ratio) < 0.7).sum())


@pytest.mark.parametrize("distance", [1.0001, 2.0, 5.0])
def test_sphere_field_on_the_axis_and_the_equator(distance):
    dchi, b0 = 2.0, 3.0
    scale = dchi * 1e-6 * b0 / 3 / distance**3
    points = torch.tensor(
        [(0, 0, distance), (0, 0, -distance), (distance, 0, 0), (0, distance, 0)], dtype=torch.float64
    )
    field = sphere_field(points, 1.0, dchi, b0)
    # A paramagnetic sphere strengthens the field at its poles (twice) and weakens it at its equator (once).
    np.testing.assert_allclose(field, np.array([2, 2, -1, -1]) * scale, rtol=1e-12)


def test_sphere_field_vanishes_inside_and_at_the_magic_angle():
    magic = np.arccos(1 / np.sqrt(3))
    points = torch.tensor([(0.2, 0.1, 0.5), (2 * np.sin(magic), 0, 2 * np.cos(magic))], dtype=torch.float64)
    np.testing.assert_allclose(sphere_field(points, 1.0, 1.0, 3.0), 0, atol=1e-18)


def test_diamagnetic_sphere_has_the_opposite_field():
    points = torch.tensor([(0.0, 1.0, 2.0)], dtype=torch.float64)
    np.testing.assert_allclose(sphere_field(points, 1, -1, 3), -sphere_field(points, 1, 1, 3))


def test_cylinder_across_the_field():
    # Perpendicular cylinder: + (dChi B0 / 2)(a/rho)^2 along B0, the negative across it, -dChi B0 / 6 inside.
    points = torch.tensor([(5.0, 0, 2.0), (-3.0, 2.0, 0), (1.0, 0.1, 0.2)], dtype=torch.float64)
    field = cylinder_field(points, torch.tensor((1.0, 0, 0), dtype=torch.float64), 1.0, 0.4, 3.0)
    scale = 0.4e-6 * 3.0
    np.testing.assert_allclose(field, [scale / 8, -scale / 8, -scale / 6], rtol=1e-12)


def test_cylinder_along_the_field_disturbs_nothing_outside():
    points = torch.tensor([(0.0, 2.0, 7.0), (0.3, 0.2, 1.0)], dtype=torch.float64)
    field = cylinder_field(points, torch.tensor((0.0, 0, 1), dtype=torch.float64), 1.0, 0.4, 3.0)
    np.testing.assert_allclose(field, [0, 0.4e-6 * 3 / 3], atol=1e-15)


def test_a_straight_vessel_has_the_field_of_a_cylinder():
    vessel = Vessel(((-10, 0, 0), (0, 0, 0), (10, 0, 0)), 0.5, 0.4)
    points = torch.tensor([(0.3, 1.0, 1.0), (-4.0, 0.2, -1.2), (2.0, 0.1, 0.1)], dtype=torch.float64)
    inside, field = vessel.effect(points, 3.0)
    np.testing.assert_allclose(
        field, cylinder_field(points, torch.tensor((1.0, 0, 0), dtype=torch.float64), 0.5, 0.4, 3.0), rtol=1e-9
    )
    assert inside.tolist() == [False, False, True]


def test_blooming_grows_with_echo_time_and_with_the_field():
    sphere = Sphere(CENTRE, 0.8, 1.2)
    by_echo = [dark_volume(sphere, echo_time=te) for te in (5, 15, 25, 40)]
    by_field = [dark_volume(sphere, field_strength=b0) for b0 in (0.5, 1.5, 3.0, 7.0)]
    assert by_echo == sorted(by_echo)
    assert by_echo[0] < by_echo[-1]
    assert by_field == sorted(by_field)
    assert by_field[0] < by_field[-1]


def test_a_lesion_looks_larger_than_it_is():
    sphere = Sphere(CENTRE, 0.9, 1.5)
    assert dark_volume(sphere) > 2 * 4 / 3 * np.pi * 0.9**3


@pytest.mark.parametrize("axes", [(1, 2, 0), (2, 0, 1), (1, 0, 2)])
def test_the_order_of_voxel_axes_does_not_matter(axes):
    affine = np.diag([1.0, 1.5, 2.0, 1.0])
    shape = (20, 18, 14)
    source = Sphere((9.3, 12.1, 13.2), 1.0, 1.0)
    reference = render([source], affine, shape, echo_time=25, field_strength=3)
    permuted_affine = affine.copy()
    permuted_affine[:, :3] = affine[:, list(axes)]
    permuted = render([source], permuted_affine, [shape[a] for a in axes], echo_time=25, field_strength=3)
    np.testing.assert_allclose(permuted.ratio, reference.ratio.transpose(axes), atol=1e-4)


def test_the_field_follows_the_scanner_not_the_grid():
    """A grid tilted by 90 degrees sees the same dipole, its axis along the scanner's z."""
    tilted = np.eye(4)
    tilted[:3, :3] = [[1, 0, 0], [0, 0, 1], [0, -1, 0]]
    tilted[:3, 3] = (0, 0, 23)
    source = Sphere((12.0, 12.0, 12.0), 0.7, 1.5)
    straight = render([source], *GRID, echo_time=25, field_strength=3)
    turned = render([source], tilted, (24, 24, 24), echo_time=25, field_strength=3)

    def filled(patch):
        image = np.ones((24, 24, 24), dtype=complex)
        image[patch.box] = patch.ratio
        return image

    # Tilted index (i, j, k) lies at world (i, k, 23 - j).
    expected = filled(straight).transpose(0, 2, 1)[:, ::-1]
    np.testing.assert_allclose(filled(turned), expected, atol=1e-4)


def test_a_uniform_background_changes_nothing():
    background = Volume(np.full((26, 26, 26), 3.0, dtype=np.float32), np.eye(4))
    source = Sphere(CENTRE, 0.8, 1.2)
    plain = render([source], *GRID, echo_time=25, field_strength=3)
    on_tissue = render([source], *GRID, background=background, echo_time=25, field_strength=3)
    np.testing.assert_allclose(on_tissue.ratio, plain.ratio, atol=1e-5)


def test_a_source_outside_the_grid_leaves_no_patch():
    assert render([Sphere((99, 99, 99), 1, 1)], *GRID, echo_time=25, field_strength=3) is None


def test_occupancy_adds_up_to_the_volume():
    _, share = occupancy([Sphere((12.2, 11.7, 12.4), 3.0, 1.0)], *GRID, pitch=0.2)
    assert share.sum() == pytest.approx(4 / 3 * np.pi * 27, rel=0.02)


def test_moving_a_feature_moves_its_sources():
    move = np.eye(4)
    move[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    move[:3, 3] = (1, 2, 3)
    feature = Feature("medullary_vein", (Vessel(((0, 0, 0), (2, 0, 0)), 0.3), Sphere((0, 1, 0), 1, 1)))
    vessel, sphere = feature.moved(move).sources
    assert vessel.points == ((1, 2, 3), (1, 4, 3))
    assert sphere.centre == (0, 2, 3)
