"""Fields, blooming and noise of the second simulator against what is known of them."""

import numpy as np
import pytest

from benchmarks.worlds import acquire, susceptibility
from benchmarks.worlds.grids import Box
from benchmarks.worlds.lesions import Microbleed, core_radius, draw_volume
from benchmarks.worlds.protocol import Slices

UP = np.array([0.0, 0.0, 1.0])
BOX = Box((40, 40, 40), 0.7)


def microbleed(chi=1.5, radius=0.8, centre=(0.0, 0.0, 0.0)):
    return Microbleed(np.array(centre), np.array([[0.0, 0.0, 0.0, radius]]), chi, 10.0, "cerebral_wm")


def slices(noise=0.0, resolution=0.8, zero_fill=1.0, thickness=1.2, filter_width=0.2):
    return Slices(resolution, zero_fill, thickness, thickness, noise, filter_width)


def scan(lesions, rng, *, b0=3.0, echo_time=0.02, spec=None, direction=UP):
    stack = acquire.Stack.place(spec or slices(), (22, 22, 16))
    even, still = np.ones(BOX.shape, np.float32), np.zeros(BOX.shape, np.float32)
    return stack, *acquire.gradient_echo(even, still, BOX, stack, echo_time, lesions, b0, direction, rng)


def test_field_of_a_sphere_is_the_dipole_of_the_textbook():
    at_pole, at_equator = susceptibility.sphere_frequency(
        np.array([[0, 0, 4.0], [4.0, 0, 0]]), (0, 0, 0), 2.0, 1.0, 3.0, UP
    )
    expected = 42.577478e6 * 3.0 * 1e-6 / 3 / 8
    assert at_pole == pytest.approx(2 * expected)
    assert at_equator == pytest.approx(-expected)


@pytest.mark.parametrize("direction", [UP, np.array([0.0, 0.6, 0.8])])
def test_fourier_field_agrees_with_the_analytical_one(direction):
    box = Box((72, 72, 72), 0.5)
    points = np.stack(np.meshgrid(*(box.axis(i) for i in range(3)), indexing="ij"), axis=-1)
    distance = np.linalg.norm(points, axis=-1)
    radius = 4.0
    chi = np.clip((radius - distance) / box.spacing + 0.5, 0, 1)
    field = susceptibility.frequency_map(chi, box.spacing, 3.0, direction, pad=20)
    known = susceptibility.sphere_frequency(points, (0, 0, 0), radius, 1.0, 3.0, direction)
    shell = (distance > 5.5) & (distance < 11)
    # The sphere is made of cubes: 3 % of the field's unit, chi gamma b0 / 3.
    unit = susceptibility.LARMOR * 3.0 * 1e-6 / 3
    assert np.sqrt(np.mean((field - known)[shell] ** 2)) < 0.03 * unit
    assert np.abs(field[distance < 2.5]).mean() < 0.03 * unit


def test_shim_removes_what_a_shim_can_and_nothing_else(rng):
    x, y, z = np.meshgrid(*(BOX.axis(i) for i in range(3)), indexing="ij")
    bump = 30 * np.exp(-((x - 3) ** 2 + y**2 + z**2) / 8)
    smooth = 5 + 2 * x - y + 0.1 * x * z
    everywhere = np.ones(BOX.shape, bool)
    shimmed = susceptibility.shim(bump + smooth, BOX.spacing, everywhere)
    np.testing.assert_allclose(shimmed, susceptibility.shim(bump, BOX.spacing, everywhere), atol=1e-3)
    assert shimmed.max() > 20


def test_static_dephasing_is_proportional_to_field_and_susceptibility():
    rate = susceptibility.static_dephasing_rate
    assert rate(0.2, 3.0) == pytest.approx(4 * rate(-0.1, 1.5))
    assert rate(1.0, 3.0) == pytest.approx(0.403 * 2 * np.pi * 42.577478 * 3, rel=1e-3)


def test_blooming_grows_with_echo_time_and_field(rng):
    def dark(b0, echo_time):
        return int((scan([microbleed()], rng, b0=b0, echo_time=echo_time)[2] < 0.7).sum())

    by_time = [dark(3.0, te) for te in (0.005, 0.015, 0.03, 0.06)]
    assert by_time == sorted(set(by_time))
    assert dark(1.5, 0.02) < dark(3.0, 0.02)
    assert dark(1.5, 0.02) > 0


@pytest.mark.parametrize("volume", [6.0, 10.6, 40.0])
@pytest.mark.parametrize("chi", [0.8, 3.0])
def test_a_lesion_shows_about_the_volume_that_was_drawn(volume, chi, rng):
    lesion = microbleed(chi, core_radius(volume, chi))
    stack, _, quotient = scan([lesion], rng, b0=2.2, echo_time=0.025)
    seen = (quotient < 0.7).sum() * abs(np.linalg.det(stack.affine[:3, :3]))
    assert 0.5 * volume < seen < 1.8 * volume


def test_drawn_volumes_have_the_median_of_the_cohort(rng):
    assert np.median([draw_volume(rng) for _ in range(2000)]) == pytest.approx(10.6, rel=0.1)


@pytest.mark.parametrize("zero_fill", [1.0, 2.0])
def test_noise_has_the_level_asked_for_and_is_rician(zero_fill, rng):
    spec = slices(noise=0.05, zero_fill=zero_fill)
    image = scan([], rng, spec=spec)[1]
    inner = image[image.shape[0] // 3 : -image.shape[0] // 3, image.shape[1] // 3 : -image.shape[1] // 3]
    assert inner.std() == pytest.approx(0.05, rel=0.1)
    stack = acquire.Stack.place(spec, (22, 22, 16))
    nothing = acquire.magnitude_image(np.zeros(BOX.shape, np.float32), BOX, stack, np.eye(4), rng)
    assert nothing.mean() == pytest.approx(0.05 * np.sqrt(np.pi / 2), rel=0.05)  # Rayleigh


def test_no_lesion_changes_nothing(rng):
    assert (scan([], rng)[2] == 1).all()


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LIA", "PSR", "RPS"])
def test_a_lesion_is_dark_at_its_place_however_the_image_is_stored(codes, rng):
    place = np.array([3.0, -2.0, 2.4])
    stack, image, _ = scan([microbleed(2.0, 1.2, place)], rng)
    world = np.eye(4)
    angle = np.radians(12)
    world[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    world[:3, 3] = (20, -7, 4)
    data, affine = acquire.store(image, world @ stack.affine, codes)
    index = np.linalg.inv(affine) @ (world @ [*place, 1.0])
    assert data[tuple(np.rint(index[:3]).astype(int))] < 0.3
    darkest = affine @ [*np.unravel_index(np.argmin(data), data.shape), 1.0]
    assert np.linalg.norm(darkest[:3] - (world @ [*place, 1.0])[:3]) < 2.0


def test_zero_filling_keeps_the_field_of_view_and_the_signal(rng):
    coarse, fine = (scan([], rng, spec=slices(zero_fill=f)) for f in (1.0, 2.0))
    assert fine[1].shape[0] == 2 * coarse[1].shape[0]
    np.testing.assert_allclose(fine[0].field_of_view, coarse[0].field_of_view)
    assert np.median(fine[1]) == pytest.approx(np.median(coarse[1]), rel=0.02)
