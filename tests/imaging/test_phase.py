import numpy as np
import pytest

from mbseg_bids.imaging.phase import NotPhaseError, coherence, phase_in_radians, phase_of_parts, wrapped

SHAPE = (16, 14, 10)


@pytest.fixture
def scan():
    """Magnitude, and a phase that winds several times."""
    rng = np.random.default_rng(3)
    i, j, k = np.indices(SHAPE)
    truth = wrapped(0.9 * i + 0.02 * j**2 - 0.4 * k + 0.05 * rng.normal(size=SHAPE))
    magnitude = 400 * np.exp(-(((i - 7) / 9) ** 2 + ((j - 6) / 9) ** 2)) + rng.random(SHAPE)
    return magnitude, truth


STORED = {
    "radians": lambda p: p,
    "0 to 2 pi": lambda p: p % (2 * np.pi),
    "Siemens, signed": lambda p: np.rint(p / np.pi * 4096).clip(-4096, 4095).astype(np.int16),
    "Siemens, unsigned": lambda p: np.rint((p % (2 * np.pi)) / (2 * np.pi) * 4096).clip(0, 4095).astype(np.int16),
    "GE": lambda p: np.rint(1000 * p).astype(np.int16),
    "Philips": lambda p: 1.53455 * np.rint((1000 * p + 3142) / 1.53455) - 3142,
    "half turns": lambda p: p / np.pi,
    "turns": lambda p: (p % (2 * np.pi)) / (2 * np.pi),
    "12 bits, signed": lambda p: np.rint(p / np.pi * 2047),
}


@pytest.mark.parametrize("name", STORED)
def test_every_vendors_scale_gives_the_same_radians(scan, name):
    magnitude, truth = scan
    radians, _ = phase_in_radians(STORED[name](truth), magnitude)
    assert np.abs(wrapped(radians - truth)).max() < 0.01
    assert np.abs(radians).max() <= np.pi + 1e-6


def test_an_unwrapped_phase_in_radians_needs_its_unit(scan):
    magnitude, truth = scan
    unwound = np.unwrap(truth, axis=0)
    assert np.allclose(wrapped(phase_in_radians(unwound, magnitude, "rad")[0] - truth), 0, atol=1e-5)
    with pytest.raises(NotPhaseError, match="no known scale"):
        phase_in_radians(unwound, magnitude, "arbitrary")


def test_units_that_cannot_be_true_are_not_believed(scan):
    magnitude, truth = scan
    radians, scale = phase_in_radians(STORED["Siemens, signed"](truth), magnitude, "rad")
    assert scale == "13 bits"
    assert np.abs(wrapped(radians - truth)).max() < 0.01


def test_numbers_that_are_none_become_zero(scan):
    magnitude, truth = scan
    truth = truth.copy()
    truth[0, 0, 0] = np.nan
    assert phase_in_radians(truth, magnitude)[0][0, 0, 0] == 0


def mask_of(phase):
    return np.where(phase > 0, 1.0, 1 + phase / np.pi)  # as for the susceptibility-weighted image


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda magnitude, phase: magnitude, "is a magnitude"),
        (lambda magnitude, phase: magnitude * (4095 / magnitude.max()), "is a magnitude"),
        (lambda magnitude, phase: np.random.default_rng(1).uniform(-np.pi, np.pi, SHAPE), "is noise"),
        (lambda magnitude, phase: mask_of(phase), "mask made of the phase"),
        (lambda magnitude, phase: phase[:-1], r"15 x 14 x 10 voxels, the magnitude 16 x 14 x 10"),
        (lambda magnitude, phase: phase[..., None], "voxels"),
        (lambda magnitude, phase: 0 * phase, "one value"),
        (lambda magnitude, phase: np.full(SHAPE, np.nan), "no number"),
        (lambda magnitude, phase: 137 * phase, "no known scale"),
    ],
)
def test_what_is_no_phase_is_named(scan, made, why):
    magnitude, truth = scan
    with pytest.raises(NotPhaseError, match=why):
        phase_in_radians(made(magnitude, truth), magnitude)


def test_real_and_imaginary_part_give_magnitude_and_phase(scan):
    magnitude, truth = scan
    got, radians = phase_of_parts(magnitude * np.cos(truth), magnitude * np.sin(truth))
    assert np.allclose(got, magnitude, rtol=1e-5)
    assert np.allclose(wrapped(radians - truth), 0, atol=1e-5)


@pytest.mark.parametrize(
    ("real", "imaginary", "why"),
    [
        (np.ones(SHAPE), np.ones(SHAPE), "one sign"),
        (np.ones(SHAPE), np.ones((2, 2, 2)), "the parts have"),
        (*np.random.default_rng(0).normal(size=(2, *SHAPE)), "noise"),
    ],
)
def test_parts_that_are_none_are_named(real, imaginary, why):
    with pytest.raises(NotPhaseError, match=why):
        phase_of_parts(real, imaginary)


def test_coherence_is_one_on_any_slope_and_zero_in_noise():
    everywhere = np.ones(SHAPE, bool)
    assert coherence(wrapped(2.8 * np.indices(SHAPE)[0]), everywhere) == pytest.approx(1)
    assert coherence(np.random.default_rng(0).uniform(-np.pi, np.pi, SHAPE), everywhere) < 0.1
    assert coherence(np.zeros(SHAPE), ~everywhere) == 0
