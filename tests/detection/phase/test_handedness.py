import numpy as np
import pytest
from phase_scene import scene, turn

from mbseg_bids.detection.phase.dipole import PhaseScan
from mbseg_bids.detection.phase.handedness import convention, field_of
from mbseg_bids.imaging.phase import Echo

TIMES = (0.02,)


def veins(n=8, dchi=0.4, seed=1):
    rng = np.random.default_rng(seed)
    return [(rng.uniform(-25, 25, 3), rng.normal(size=3), rng.uniform(1, 2), dchi) for _ in range(n)]


def scan_of(made, phase=None):
    signal = made.signal[0]
    phase = np.angle(signal) if phase is None else phase
    echo = Echo(np.abs(signal), phase.astype(np.float32), TIMES[0])
    return PhaseScan((echo,), np.ones(signal.shape, bool), made.affine, 3.0)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("case", [{}, {"voxel": (1, 1, 3), "rotation": turn(20, -15)}])
def test_veins_tell_the_convention(flip, case):
    found = convention(scan_of(scene([((5, 5, 5), 3, -2.0)], veins(), size=60, flip=flip, **case)))
    assert found.sign == (-1 if flip else 1)
    assert found.errors * found.sign > 4


def test_without_anything_dark_it_is_not_sure():
    assert convention(scan_of(scene(size=60))).sign == 0


def test_an_echo_too_short_for_t2star_tells_nothing():
    scan = scan_of(scene([], veins(), size=60))
    short = Echo(scan.echoes[0].magnitude, scan.echoes[0].radians, 0.005)
    assert convention(PhaseScan((short,), scan.brain, scan.affine, 3.0)).sign == 0


def test_bone_about_the_brain_has_no_say():
    """Dark and diamagnetic, about a brain without veins; the mask of the brain holds a part of it."""
    size, edge = 60, 24
    made = scene([], size=size, slope=0)
    index = np.stack(np.indices(made.signal[0].shape), -1)
    distance = np.linalg.norm(index - (size - 1) / 2, axis=-1)
    bone = (distance > edge) & (distance < edge + 4)
    turned = 0.3 * field_of(-2.0 * bone, made.affine) * 2.6752e8 * 3e-6 * TIMES[0]
    made.signal[0] = made.signal[0] * np.exp(1j * turned) * np.where(bone, 0.2, 1)
    scan = scan_of(made)
    scan.brain[:] = distance < edge + 1
    assert convention(scan).sign == 0


def test_noise_tells_nothing():
    made = scene([], veins(), size=60)
    noise = np.random.default_rng(0).uniform(-np.pi, np.pi, made.signal[0].shape)
    assert convention(scan_of(made, noise)).sign == 0


def test_candidates_have_no_say():
    """Calcium alone would turn the convention round, and all calcium would be blood."""
    rng = np.random.default_rng(5)
    places = rng.uniform(-25, 25, (12, 3))
    made = scene([(p, 3, -2.0) for p in places], size=60)
    scan = scan_of(made)
    dark = np.abs(made.signal[0]) < 0.85
    assert convention(scan).sign == -1
    assert convention(scan, dark).sign == 0


def test_outside_the_brain_nothing_counts():
    scan = scan_of(scene([], veins(), size=60))
    scan.brain[:] = False
    assert convention(scan).sign == 0


def test_field_of_a_sphere_is_that_of_a_dipole():
    """On slices twice as thick, at a slant to B0."""
    rotation = turn(30, 10)
    affine = np.eye(4)
    affine[:3, :3] = rotation * np.array([1.0, 1, 2])
    index = np.stack(np.indices((48, 48, 24)), -1)
    world = (index - (24, 24, 12)) @ affine[:3, :3].T
    distance = np.linalg.norm(world, axis=-1)
    chi = np.clip((5 - distance) / 2 + 0.5, 0, 1)  # soft, as voxels are
    volume = chi.sum() * 2
    far = (distance > 8) & (distance < 11)
    expected = volume / (4 * np.pi) * (3 * world[..., 2] ** 2 / distance.clip(1) ** 2 - 1) / distance.clip(1) ** 3
    assert np.corrcoef(field_of(chi, affine)[far], expected[far])[0, 1] > 0.99
    assert np.polyfit(expected[far], field_of(chi, affine)[far], 1)[0] == pytest.approx(1, abs=0.1)
