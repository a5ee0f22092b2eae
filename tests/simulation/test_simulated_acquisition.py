import numpy as np
import pytest

from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation.acquisition import (
    add_ghosts,
    add_rician_noise,
    add_ringing,
    air_dephasing,
    bias_field,
    box_average,
    dropout_factor,
    label_votes,
    map_votes,
    scan_grid,
)
from mbseg_bids.simulation.anatomy import make_anatomy
from mbseg_bids.simulation.protocol import Protocol


@pytest.fixture(scope="module")
def anatomy(toy_head):
    return make_anatomy(toy_head, np.random.default_rng(1), deformation=0, atrophy=0)


def test_partial_volume_conserves_the_mean(rng):
    image = np.zeros((30, 30, 30), dtype=np.float32)
    image[6:24, 6:24, 6:24] = rng.random((18, 18, 18), dtype=np.float32)
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    affine[2, 3] = 1.0  # the first thick slice is slices 0, 1, 2
    thick = box_average(Volume(image, np.eye(4)), affine, (30, 30, 10))
    np.testing.assert_allclose(thick, image.reshape(30, 30, 10, 3).mean(axis=3), atol=1e-6)
    assert thick.mean() == pytest.approx(image.mean(), rel=1e-6)


def test_votes_take_the_most_frequent_label():
    labels = np.zeros((4, 4, 6), dtype=np.uint8)
    labels[..., 1:3], labels[..., 3] = 2, 1
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    affine[2, 3] = 1.0
    votes = label_votes(labels, np.eye(4), affine, (4, 4, 2))
    assert votes[2, 2].tolist() == [2, 0]


def test_maps_voted_together_get_the_votes_of_each_alone(rng):
    maps = [rng.integers(0, n, (8, 9, 12)).astype(np.uint8) for n in (2, 7, 4)]
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    affine[:3, 3] = (0, 0, 1)
    together = map_votes(maps, np.eye(4), affine, (8, 9, 4))
    for voted, labels in zip(together, maps, strict=True):
        counts = np.stack([(labels.reshape(8, 9, 4, 3) == n).sum(axis=3) for n in range(7)])
        np.testing.assert_array_equal(voted, counts.argmax(axis=0))


def test_the_grid_covers_the_brain_and_has_the_asked_spacing(anatomy):
    affine, shape = scan_grid(anatomy, (1.0, 1.0, 3.0), (0.2, 0, 0))
    np.testing.assert_allclose(np.linalg.norm(affine[:3, :3], axis=0), (1, 1, 3))
    corners = np.argwhere(anatomy.brain) @ anatomy.labels.affine[:3, :3].T + anatomy.labels.affine[:3, 3]
    voxels = corners @ np.linalg.inv(affine)[:3, :3].T + np.linalg.inv(affine)[:3, 3]
    assert voxels.min() >= -0.5
    assert (voxels.max(axis=0) <= np.array(shape) - 0.5).all()


def test_rician_noise_has_its_known_mean(rng):
    background = add_rician_noise(np.zeros((40, 40, 40), np.float32), 2.0, rng)
    assert background.mean() == pytest.approx(2 * np.sqrt(np.pi / 2), rel=0.01)
    bright = add_rician_noise(np.full((40, 40, 40), 100, np.float32), 2.0, rng)
    assert bright.std() == pytest.approx(2.0, rel=0.02)


def test_ringing_overshoots_at_an_edge_and_keeps_the_mean():
    image = np.zeros((64, 32, 3), np.float32)
    image[20:44] = 1
    rung = add_ringing(image, 1.0)
    assert rung.max() > 1.05
    assert rung.mean() == pytest.approx(image.mean(), rel=1e-5)
    assert add_ringing(image, 0.0) is image


def test_bias_is_smooth_and_positive(rng):
    bias = bias_field((60, 60, 20), np.diag([1.0, 1.0, 3.0, 1.0]), rng, 0.2)
    assert bias.min() > 0
    assert np.abs(np.diff(bias, axis=0)).max() < 0.05


def test_signal_drops_beside_air(anatomy):
    """A bubble of air under the brain darkens the tissue above it, more with a longer echo time."""
    labels = anatomy.labels.data.copy()
    index = np.argwhere(anatomy.brain)
    middle, low = index.mean(axis=0).astype(int), index[:, 2].min()
    grids = np.ogrid[tuple(slice(0, n) for n in labels.shape)]
    bubble = sum((g - c) ** 2 for g, c in zip(grids, (middle[0], middle[1] + 15, low - 2), strict=True)) < 64
    labels[bubble & ~anatomy.brain] = 0
    with_air = type(anatomy)(Volume(labels, anatomy.labels.affine), anatomy.brain, anatomy.age)
    affine, shape = scan_grid(anatomy, (1.0, 1.0, 3.0))
    protocol = Protocol(dropout=1.0)
    kept = [dropout_factor(air_dephasing(a, protocol), affine, shape, 25.0) for a in (anatomy, with_air)]
    assert kept[1].min() >= 0
    assert kept[1].max() <= 1
    assert kept[1][..., :8].mean() < kept[0][..., :8].mean()
    longer = dropout_factor(air_dephasing(with_air, protocol), affine, shape, 40.0)
    assert longer.mean() < kept[1].mean()


def test_periodic_motion_puts_ghosts_at_the_field_of_view_over_the_period():
    image = np.zeros((8, 96, 2), np.float32)
    image[:, 46:50] = 1.0
    ghosted = add_ghosts(image, 0.5, period=4.0)
    outside = np.ones(96, bool)
    outside[42:54] = False
    line = ghosted[4, :, 0]
    ghosts = line * outside
    assert ghosts[48 + 24 - 3 : 48 + 24 + 3].max() == ghosts.max() > 0.05
    assert ghosts[48 + 8 : 48 + 16].max() < 0.5 * ghosts.max()
    assert np.linalg.norm(ghosted) == pytest.approx(np.linalg.norm(image), rel=1e-4)  # phase turns keep the energy
    assert add_ghosts(image, 0.0, period=4.0) is image
    turned = add_ghosts(image.swapaxes(0, 1), 0.5, period=4.0, axis=0)
    np.testing.assert_allclose(turned, ghosted.swapaxes(0, 1), atol=1e-5)


def test_a_narrower_k_space_blurs_more():
    image = np.zeros((64, 64, 1), np.float32)
    image[32, 32] = 1
    peaks = [add_ringing(image, 1.0, kept=kept).max() for kept in (1.0, 0.8, 0.6)]
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[0] > 1.5 * peaks[2]
