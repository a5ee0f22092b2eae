import numpy as np
import pytest
from phase_scene import scene, turn

from mbseg_bids.detection.phase.dipole import DipoleFit, PhaseScan, dipole_kernel, fit_dipole
from mbseg_bids.imaging.phase import Echo, phase_in_radians

CUBE = 30
"""Edge (mm) of what is simulated."""


def scan_of(made, times, field, phases=None):
    phases = [np.angle(s) for s in made.signal] if phases is None else phases
    echoes = tuple(Echo(np.abs(s), p.astype(np.float32), t) for s, p, t in zip(made.signal, phases, times, strict=True))
    return PhaseScan(echoes, np.ones(made.signal[0].shape, bool), made.affine, field)


def place(made, voxel, offset):
    """World millimetres of an offset from the middle of the cube along the axes of the array."""
    index = (np.asarray(offset) + CUBE / 2) / np.asarray(voxel) - 0.5
    return made.affine[:3, :3] @ index + made.affine[:3, 3]


@pytest.mark.parametrize(
    ("voxel", "field", "times", "rotation", "exact"),
    [
        ((1, 1, 1), 3.0, (0.02,), None, 0.15),
        ((1, 1, 2), 1.5, (0.04,), None, 0.2),
        ((0.5, 1, 2), 3.0, (0.015,), turn(25, -15), 0.2),
        ((1, 1, 5), 3.0, (0.02,), None, 0.7),
        ((1, 1, 2), 3.0, (0.01, 0.02, 0.03), None, 0.2),
    ],
)
@pytest.mark.parametrize("dchi", [1.0, -2.0])
def test_moment_of_a_sphere_between_voxels(voxel, field, times, rotation, exact, dchi):
    offset = (0.3, -0.4, 0.2)
    made = scene([(offset, 3, dchi)], voxel=voxel, field=field, times=times, rotation=rotation, size=CUBE)
    # The centre of a candidate is not that of the source.
    fit = fit_dipole(scan_of(made, times, field), place(made, voxel, offset) + np.array((0.5, 0.3, -0.4)))
    true = dchi * np.pi / 6 * 27
    assert fit.sure
    assert fit.moment * true > 0
    assert fit.moment == pytest.approx(true, rel=exact)


def test_nothing_is_sure_of_nothing():
    made = scene([], size=CUBE)
    fit = fit_dipole(scan_of(made, (0.02,), 3.0), place(made, (1, 1, 1), (0, 0, 0)))
    assert not fit.sure
    assert abs(fit.moment) < 0.5


def test_noise_is_sure_of_nothing():
    made = scene([((0, 0, 0), 3, 2.0)], size=CUBE)
    noise = np.random.default_rng(0).uniform(-np.pi, np.pi, made.signal[0].shape)
    assert not fit_dipole(scan_of(made, (0.02,), 3.0, [noise]), place(made, (1, 1, 1), (0, 0, 0))).sure


def test_the_other_convention_turns_the_sign_and_nothing_else():
    fits = []
    for flip in (False, True):
        made = scene([((0.2, 0, 0), 3, -1.5)], size=CUBE, flip=flip, slope=0, noise=0)
        fits.append(fit_dipole(scan_of(made, (0.02,), 3.0), place(made, (1, 1, 1), (0, 0, 0))))
    assert fits[0].moment == pytest.approx(-fits[1].moment, rel=1e-3)
    assert fits[0].sure
    assert fits[1].sure
    assert fits[1].turned(-1).moment == -fits[1].moment


def test_every_vendors_scale_and_any_winding_give_the_same_decision():
    made = scene([((0.2, 0, 0), 3, -1.5)], size=CUBE, slope=25.0)
    magnitude, true = np.abs(made.signal[0]), np.angle(made.signal[0])
    stored = (true, true % (2 * np.pi), np.rint(true / np.pi * 4096).clip(-4096, 4095), np.rint(1000 * true))
    centre = place(made, (1, 1, 1), (0, 0, 0))
    moments = []
    for values in stored:
        radians, _ = phase_in_radians(values, magnitude)
        moments.append(fit_dipole(scan_of(made, (0.02,), 3.0, [radians]), centre))
    assert all(fit.sure and fit.moment < 0 for fit in moments)
    assert np.ptp([fit.moment for fit in moments]) < 0.05


def test_a_slope_of_more_than_half_a_turn_between_slices_is_followed():
    voxel = (1, 1, 3)
    made = scene([((0, 0, 0.5), 3, 1.5)], voxel=voxel, size=CUBE, slope=0)
    ramp = np.exp(1j * 4.0 * np.arange(made.signal[0].shape[2]))
    made.signal[0] = made.signal[0] * ramp
    fit = fit_dipole(scan_of(made, (0.02,), 3.0), place(made, voxel, (0, 0, 0.5)))
    assert fit.sure
    assert fit.moment > 0


@pytest.mark.parametrize("brain", ["none", "far away", "few voxels"])
def test_without_signal_about_it_nothing_is_fitted(brain):
    made = scene([((0, 0, 0), 3, 2.0)], size=CUBE)
    scan = scan_of(made, (0.02,), 3.0)
    scan.brain[:] = False
    if brain == "far away":
        scan.brain[:2] = True
    if brain == "few voxels":
        scan.brain[14:17, 14:17, 14:17] = True
    fit = fit_dipole(scan, place(made, (1, 1, 1), (0, 0, 0)))
    assert not fit.sure
    assert np.isnan(fit.moment)


def test_kernel_far_away_is_that_of_the_point():
    points = np.array([[0.0, 0, 8], [0, 8, 0], [5, 5, 5]])
    kernel, _ = dipole_kernel(points, np.diag([0.1, 0.1, 0.1]), np.zeros(3))
    assert kernel == pytest.approx([2 / 8**3, -1 / 8**3, 0], abs=1e-5)


def test_the_physics_is_that_of_the_simulation():
    torch = pytest.importorskip("torch")
    from mbseg_bids.simulation.susceptibility import sphere_field

    points = np.array([[3.0, 1, 4], [2, -5, 1]])
    kernel, _ = dipole_kernel(points, np.diag([0.1] * 3), np.zeros(3))
    volume = 4 / 3 * np.pi * 1.5**3
    tesla = 1.2 * volume * 1e-6 * 3 / (4 * np.pi) * kernel
    assert tesla == pytest.approx(sphere_field(torch.tensor(points), 1.5, 1.2, 3.0).numpy(), rel=0.02)


def test_fit_is_a_value():
    assert DipoleFit(2.0, 0.1, 0.5, True).turned(-1) == DipoleFit(-2.0, 0.1, 0.5, True)
