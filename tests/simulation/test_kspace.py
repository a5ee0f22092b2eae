import numpy as np
import pytest

from mbseg_bids.imaging.phase import GYROMAGNETIC_RATIO
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation.acquisition import box_average
from mbseg_bids.simulation.kspace import displace, epi_shift, low_pass, measure, width_kept, window
from mbseg_bids.simulation.protocol import EPI_LINE, Protocol, draw_protocol
from mbseg_bids.simulation.rendering import render
from mbseg_bids.simulation.susceptibility import Sphere


def test_the_window_keeps_its_share_and_no_more():
    weights = window(100, 0.5, 1.0)
    assert weights.sum() == 51  # -25 to 25 of -50 to 49
    assert window(100, 1.0, 0.0)[0] == 1
    assert (np.diff(window(100, 1.0, 0.3)[:50]) <= 0).all()


@pytest.mark.parametrize("kept", [0.4, 0.8])
def test_noise_has_the_asked_level_after_the_cut(kept, rng):
    bright = np.full((64, 64, 8), 100, np.float32)
    noisy = measure(bright, rng, sigma=2.0, kept=kept, ringing=0.5)
    assert noisy.std() == pytest.approx(2.0, rel=0.06)
    assert noisy.mean() == pytest.approx(100, rel=0.01)


def test_noise_of_neighbours_is_alike_where_voxels_are_interpolated(rng):
    def likeness(kept):
        noisy = measure(np.full((64, 64, 8), 100, np.float32), rng, sigma=2.0, kept=kept, ringing=1.0) - 100
        return float((noisy[1:] * noisy[:-1]).mean() / noisy.var())

    assert likeness(0.4) == pytest.approx(np.sinc(0.4), abs=0.08)  # the transform of a box
    assert abs(likeness(1.0)) < 0.05


def test_without_noise_the_mean_stays_and_detail_goes(rng):
    image = np.full((60, 60, 2), 50, np.float32)
    image[30, 30] = 0
    seen = measure(image, rng, sigma=0, kept=0.4, ringing=0.5)
    assert seen.mean() == pytest.approx(image.mean(), rel=1e-4)
    assert 30 < seen[30, 30, 0] < 49
    np.testing.assert_allclose(seen, low_pass(image, 0.4, 0.5), atol=1e-3)
    np.testing.assert_allclose(measure(image, rng, sigma=0, kept=1.0, ringing=1.0), image, atol=1e-3)


def test_decay_over_the_lines_blurs_along_phase_only(rng):
    image = np.zeros((64, 64, 1), np.float32)
    image[32, 32] = 1
    seen = measure(image, rng, sigma=0, kept=1.0, ringing=1.0, epi=80, t2star=30)[..., 0]
    assert seen[32, 30:32].max() > 5 * seen[30:32, 32].max()


def test_displacement_of_epi_is_bandwidth_times_offset():
    """30 Hz turns the phase by 2 pi * 30 * EPI_LINE from line to line: that part of the field of view."""
    field = np.full((4, 100, 2), 30 * 2 * np.pi / GYROMAGNETIC_RATIO, np.float32)
    shift = epi_shift(field, np.eye(4), Protocol())
    np.testing.assert_allclose(shift, 30 * EPI_LINE * 1e-3 * 100, rtol=1e-4)
    labels = np.zeros((4, 100, 2), np.int32)
    labels[2, 50, 1] = 7
    moved = displace(labels, np.full(labels.shape, 3.0, np.float32), order=0)
    assert np.argwhere(moved == 7).tolist() == [[2, 53, 1]]


def test_coarse_voxels_keep_less_of_the_grid():
    assert width_kept(Protocol(spacing=(2.0, 2.0, 3.0), kept=0.8), np.eye(4)) == pytest.approx(0.4)
    assert width_kept(Protocol(spacing=(0.5, 0.5, 3.0), kept=0.8), np.eye(4)) == pytest.approx(0.8)


def test_what_lies_in_a_slice_gap_is_not_seen():
    image = np.zeros((8, 8, 20), np.float32)
    image[..., 5] = 1  # the border between slices of 5 mm whose centres are at 2.5 and 7.5 mm
    affine = np.diag([1.0, 1.0, 5.0, 1.0])
    affine[2, 3] = 2.5
    whole, gapped = (box_average(Volume(image, np.eye(4)), affine, (8, 8, 4), gap=gap) for gap in (0.0, 0.4))
    assert whole[4, 4, :2].sum() > 0.15
    assert gapped[4, 4, :2].sum() < 0.4 * whole[4, 4, :2].sum()
    source = Sphere((4.0, 4.0, 5.0), 0.5, 0.6)
    without, with_gap = (
        np.abs(render([source], affine, (8, 8, 4), echo_time=20, field_strength=1.5, gap=gap).ratio).min()
        for gap in (0.0, 0.4)
    )
    assert with_gap > without


def test_wide_protocols_reach_farther():
    rng = np.random.default_rng(1)
    drawn = [draw_protocol(rng, wide=True) for _ in range(500)]
    in_plane, across = np.array([(p.spacing[0], p.spacing[2]) for p in drawn]).T
    assert in_plane.min() < 0.5
    assert in_plane.max() > 2.0
    assert across.max() > 6
    assert {p.gap > 0 for p in drawn} == {p.epi > 0 for p in drawn} == {p.white_noise for p in drawn} == {True, False}
    assert all(p.spacing[2] >= 2.5 for p in drawn if p.gap)
    assert not any(p.white_noise for p in drawn if p.spacing[0] > 1)
    assert max(p.t1w_spacing[2] for p in drawn) > 5
    assert np.mean([p.misregistration > 0.4 for p in drawn]) == pytest.approx(0.3, abs=0.07)
