"""The rendering in torch against a slow one in numpy that has the formulas and nothing else."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from mbseg_bids.imaging.phase import GYROMAGNETIC_RATIO
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation.rendering import occupancy, render, sample
from mbseg_bids.simulation.susceptibility import Sphere, Vessel

ECHO_TIME, FIELD_STRENGTH, TISSUE_T2STAR, PITCH = 25.0, 3.0, 50.0, 0.3


def reference_sphere(sphere, point):
    offset = point - np.array(sphere.centre)
    r = np.linalg.norm(offset)
    if r <= sphere.radius:
        return True, 0.0
    cosine = offset[2] / r
    return False, sphere.dchi * 1e-6 * FIELD_STRENGTH / 3 * (sphere.radius / r) ** 3 * (3 * cosine**2 - 1)


def reference_vessel(vessel, point):
    best = None
    for start, end in pairwise(np.array(vessel.points)):
        along = end - start
        foot = start + np.clip((point - start) @ along / (along @ along), 0, 1) * along
        distance = np.linalg.norm(point - foot)
        if best is None or distance < best[0]:
            best = distance, start, along / np.linalg.norm(along)
    distance, start, axis = best
    offset = point - start
    across = offset - (offset @ axis) * axis
    rho, sine = np.linalg.norm(across), np.sqrt(1 - axis[2] ** 2)
    if rho <= vessel.radius:
        field = vessel.dchi * 1e-6 * FIELD_STRENGTH / 6 * (3 * axis[2] ** 2 - 1)
    else:
        cos_phi = across[2] / rho / max(sine, 1e-12)  # B0 across the axis is (0, 0, 1) - axis_z * axis, of length sine
        field = vessel.dchi * 1e-6 * FIELD_STRENGTH / 2 * (vessel.radius / rho) ** 2 * sine**2 * (2 * cos_phi**2 - 1)
    fade = min(1.0, rho**2 / max(distance**2, 1e-9))
    return distance <= vessel.radius, field * fade if distance < 8 * vessel.radius else 0.0


def reference_voxel(sources, voxel, affine, background):
    """Complex mean over the sub-voxels of one voxel, one after the other, and the share that sources fill."""
    counts = np.ceil(np.linalg.norm(affine[:3, :3], axis=0) / PITCH - 1e-6).astype(int)
    with_sources = without = filled = 0.0
    for part in np.ndindex(*counts):
        place = voxel + (np.array(part) + 0.5) / counts - 0.5
        point = affine[:3, :3] @ place + affine[:3, 3]
        rho, field, factors = background(point), 0.0, []
        for source in sources:
            inside, change = (reference_sphere if isinstance(source, Sphere) else reference_vessel)(source, point)
            field += change
            if inside:
                factors.append(source.density * np.exp(-ECHO_TIME / source.t2star + ECHO_TIME / TISSUE_T2STAR))
        filled += bool(factors)
        phase = GYROMAGNETIC_RATIO * ECHO_TIME * 1e-3 * field
        with_sources += rho * (min(factors) if factors else 1) * np.exp(1j * phase)
        without += rho
    return with_sources / without, filled / np.prod(counts)


SOURCES = {
    "microbleed": (Sphere((10.2, 9.1, 11.7), 0.9, 1.3), Sphere((11.1, 9.6, 11.2), 0.6, 1.1)),
    "calcification": (Sphere((9.4, 10.0, 12.3), 1.1, -1.5, t2star=8.0, density=0.4),),
    "vein": (Vessel(((6.0, 8.0, 8.0), (9.5, 10.5, 11.0), (13.0, 10.0, 15.5)), 0.45, 0.45),),
    "perivascular_space": (Vessel(((8.0, 8.0, 8.0), (9.0, 10.0, 15.0)), 0.6, 0.0, t2star=150.0, density=1.2),),
}


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 3.0), (0.6, 0.6, 0.8)])
def test_voxels_are_those_of_the_obvious_computation(kind, spacing, rng):
    affine = np.diag([*spacing, 1.0])
    affine[:3, :3] = [[0.98, -0.17, 0], [0.17, 0.98, 0.1], [0, -0.1, 0.99]] * np.array(spacing)
    shape = tuple(round(20 / s) for s in spacing)
    slope = rng.normal(0, 0.02, 3)
    i, j, k = np.meshgrid(*[np.arange(30.0)] * 3, indexing="ij")
    background = Volume((1 + slope[0] * i + slope[1] * j + slope[2] * k).astype(np.float32), np.eye(4))
    patch = render(
        SOURCES[kind],
        affine,
        shape,
        background=background,
        echo_time=ECHO_TIME,
        field_strength=FIELD_STRENGTH,
        tissue_t2star=TISSUE_T2STAR,
        pitch=PITCH,
    )
    start = np.array([side.start for side in patch.box])
    affected = np.argwhere(patch.ratio != 1)
    worst = np.argwhere(np.abs(patch.ratio) <= np.abs(patch.ratio).min())
    for voxel in np.concatenate([rng.choice(affected, 12), worst[:1]]):
        ratio, filled = reference_voxel(SOURCES[kind], voxel + start, affine, lambda point: 1 + slope @ point)
        assert patch.ratio[tuple(voxel)] == pytest.approx(ratio, abs=2e-4)
        assert patch.occupancy[tuple(voxel)] == pytest.approx(filled, abs=0.02)


@pytest.mark.parametrize("kind", SOURCES)
def test_portions_change_nothing(kind):
    options = {"echo_time": ECHO_TIME, "field_strength": FIELD_STRENGTH}
    whole, small = (
        render(SOURCES[kind], np.diag([1.0, 1.0, 2.0, 1]), (20, 20, 10), chunk=chunk, **options)
        for chunk in (10**7, 500)
    )
    np.testing.assert_allclose(whole.ratio, small.ratio, atol=1e-6)
    np.testing.assert_array_equal(whole.occupancy, small.occupancy)


def test_twice_the_same_to_the_bit():
    one, two = (
        render(SOURCES["vein"], np.eye(4), (20, 20, 20), echo_time=25, field_strength=3).ratio for _ in range(2)
    )
    np.testing.assert_array_equal(one, two)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("kind", SOURCES)
def test_a_gpu_gives_the_same(kind):
    cpu, gpu = (
        render(SOURCES[kind], np.eye(4), (20, 20, 20), echo_time=25, field_strength=3, device=device)
        for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(gpu.ratio, cpu.ratio, atol=1e-5)


def test_voxels_out_of_reach_are_left_alone():
    """A long oblique vein touches few of the voxels of the box about it; of the rest the field is near zero."""
    vein = (Vessel(((2.0, 2.0, 2.0), (17.0, 18.0, 17.0)), 0.3, 0.4),)
    patch = render(vein, np.eye(4), (20, 20, 20), echo_time=25, field_strength=3)
    assert 0.02 < (patch.ratio != 1).mean() < 0.2
    assert np.abs(patch.ratio).min() < 0.9


def test_sampling_is_linear_and_continues_the_edge():
    volume = Volume(np.arange(24, dtype=np.float32).reshape(2, 3, 4), np.diag([2.0, 1.0, 1.0, 1.0]))
    points = torch.tensor([(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (2.0, 1.5, 2.5), (9.0, 0.0, -3.0)])
    np.testing.assert_allclose(sample(volume, points), [0, 6, 20.5, 12], atol=1e-5)


def test_occupancy_of_a_thin_vessel_adds_up_to_its_volume():
    _, share = occupancy([Vessel(((5.3, 10.2, 2.0), (5.3, 10.2, 18.0)), 1.0)], np.eye(4), (20, 20, 20), pitch=0.2)
    assert share.sum() == pytest.approx(np.pi * 16 + 4 / 3 * np.pi, rel=0.03)
