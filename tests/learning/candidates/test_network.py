"""Examples for the network of the candidate classifier, how they are varied, and that it learns from them."""

import math

import numpy as np
import pytest
import torch

from mbseg_bids.detection.candidates.neighbourhoods import HEIGHTS_MM, N_CHANNELS
from mbseg_bids.detection.candidates.network import SIDE
from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.learning.candidates.neighbourhood_set import (
    HARD,
    N_EASY,
    N_HARD,
    SMALLEST_MM3,
    WIDE,
    NeighbourhoodSet,
    Proposals,
    choose,
    example_voxels,
    load_neighbourhoods,
    load_proposals,
    propose,
)
from mbseg_bids.learning.candidates.network import LesionNetworkSettings, _across, train_lesion_network, vary
from mbseg_bids.settings import DetectionSettings

MIDDLE = HEIGHTS_MM[0].index(0.0)


def dots_and_rods(n, seed=0):
    """T2* dots of one height, and rods through all heights; in one slice they are the same."""
    rng = np.random.default_rng(seed)
    squares = rng.integers(140, 160, (n, N_CHANNELS, WIDE, WIDE), dtype=np.uint8)
    is_dot = np.arange(n) % 2 == 0
    centre = slice(WIDE // 2 - 1, WIDE // 2 + 2)
    squares[:, MIDDLE, centre, centre] = 20
    squares[~is_dot, : len(HEIGHTS_MM[0]), centre, centre] = 20
    return NeighbourhoodSet(squares, is_dot, np.full(n, 0.5, np.float32), np.full(n, 2.0, np.float32))


def test_it_learns_to_tell_a_dot_from_a_rod():
    losses = []
    settings = LesionNetworkSettings(epochs=8, batch_size=16, learning_rate=4e-3)
    train_lesion_network(dots_and_rods(160), settings, lambda step, loss, _: losses.append(loss), report_every=10)
    assert losses[-1] < 0.25 < losses[0]


def test_training_is_repeatable_and_decided_by_the_seed():
    examples, losses = dots_and_rods(32), {}
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        settings = LesionNetworkSettings(epochs=1, batch_size=8, seed=seed)
        train_lesion_network(examples, settings, lambda step, loss, _, name=name: losses.update({name: loss}))
    assert losses["one"] == losses["again"] != losses["other"]


def test_a_trained_network_can_go_on():
    examples, losses = dots_and_rods(64), []
    quiet = lambda *_: None  # noqa: E731
    settings = LesionNetworkSettings(epochs=12, batch_size=16, learning_rate=4e-3)
    trained = train_lesion_network(examples, settings, quiet)
    for initial in (trained, None):
        short = LesionNetworkSettings(epochs=0.5, batch_size=16, learning_rate=1e-4)
        train_lesion_network(examples, short, lambda step, loss, _: losses.append(loss), initial=initial)
    assert losses[0] < 0.7 * losses[1]


def test_moving_across_slices_by_a_step_is_the_next_height():
    squares = torch.arange(N_CHANNELS, dtype=torch.float32)[None, : len(HEIGHTS_MM[0]), None, None].repeat(3, 1, 4, 4)
    moved = _across(squares, torch.tensor([1.0, -0.5, 0.0]))
    assert torch.equal(moved[0, :-1], squares[0, 1:])
    assert torch.equal(moved[0, -1], squares[0, -1])
    assert torch.equal(moved[1, 1:], squares[1, 1:] - 0.5)
    assert torch.equal(moved[2], squares[2])


def test_one_class_alone_is_refused():
    examples = dots_and_rods(8)
    one = NeighbourhoodSet(examples.squares, np.ones(8, bool), examples.first_probability, examples.slice_spacing)
    with pytest.raises(ValueError, match="microbleeds and what is none"):
        train_lesion_network(one, LesionNetworkSettings(), lambda *_: None)


def test_variation_keeps_contrasts_apart_and_heights_in_order():
    heights = np.concatenate([np.arange(len(h)) - len(h) // 2 for h in HEIGHTS_MM])
    levels = 120 + 10 * heights  # within a contrast, brightness rises with height
    squares = np.broadcast_to(levels[None, :, None, None], (40, N_CHANNELS, WIDE, WIDE)).astype(np.uint8)
    varied = vary(torch.from_numpy(squares), 0.0, np.random.default_rng(1), torch.Generator().manual_seed(1))
    assert varied.shape == (40, N_CHANNELS, SIDE, SIDE)
    assert 0 <= varied.min() <= varied.max() <= 1
    middle = varied[:, :, SIDE // 2, SIDE // 2].numpy()
    steps = np.diff(middle[:, : len(HEIGHTS_MM[0])].mean(axis=0, keepdims=False))
    upside_down = middle[:, 0] > middle[:, len(HEIGHTS_MM[0]) - 1]
    assert 5 < upside_down.sum() < 35
    assert np.abs(steps).max() < 0.2
    missing = middle[:, len(HEIGHTS_MM[0]) : len(HEIGHTS_MM[0]) + len(HEIGHTS_MM[1])].max(axis=1) < 0.1
    assert 1 <= missing.sum() <= 20  # T2w is left out of one in five


def test_proposals_are_microbleeds_and_dark_places_apart_from_them(make_scan, tmp_path):
    case = make_scan().as_case()
    proposals = propose(case, np.random.default_rng(0), DetectionSettings())
    volumes = np.bincount(case.lesions.ravel())[1:] * np.prod(case.spacing)
    assert proposals.is_microbleed.sum() == (volumes >= SMALLEST_MM3).sum() > 0
    microbleeds, others = example_voxels(case, np.random.default_rng(0), DetectionSettings())
    assert len(proposals) == len(microbleeds) + len(others)
    assert not case.lesions[tuple(others.T)].any()
    assert case.lesions[tuple(microbleeds.T)].all()
    darkness = case.stack[0][tuple(np.concatenate([microbleeds, others]).T)].clip(0, 100)
    np.testing.assert_allclose(proposals.squares[:, MIDDLE, WIDE // 2, WIDE // 2] / 2.55, darkness, atol=0.25)
    np.testing.assert_allclose(proposals.patches[:, 0, 14, 14] / 2.55, darkness, atol=0.25)
    assert math.isclose(float(proposals.slice_spacing[0]), case.spacing[2], rel_tol=1e-6)
    proposals.save(tmp_path / "proposals.npz")
    np.testing.assert_array_equal(load_proposals(tmp_path / "proposals.npz").patches, proposals.patches)


def test_microbleeds_the_hardest_places_and_few_easy_ones_become_examples():
    n = 3 + N_HARD + 20 + N_EASY + 30
    is_microbleed = np.arange(n) < 3
    probability = np.concatenate([[0.0, 0.9, 0.01], np.linspace(0.9, 0.06, N_HARD + 20), np.full(N_EASY + 30, 0.01)])
    squares = np.arange(n)[:, None, None, None].astype(np.uint8)
    proposals = Proposals(squares, is_microbleed, np.ones(n, np.float32), squares)
    shuffled = np.random.default_rng(1).permutation(n)
    mixed = Proposals(*(getattr(proposals, name)[shuffled] for name in vars(proposals)))
    examples = choose(mixed, probability[shuffled], np.random.default_rng(2))
    assert examples.is_microbleed.sum() == 3
    assert len(examples) == 3 + N_HARD + N_EASY
    kept = np.sort(examples.first_probability[~examples.is_microbleed])[::-1]
    np.testing.assert_allclose(kept[:N_HARD], probability[3 : 3 + N_HARD], rtol=1e-6)
    assert (kept[N_HARD:] < HARD).all()


def test_a_set_survives_its_file_and_a_short_one_is_refused(tmp_path):
    examples, path = dots_and_rods(6), tmp_path / "set.npz"
    examples.save(path)
    both = load_neighbourhoods([path, path])
    assert len(both) == 12
    np.testing.assert_array_equal(both.squares[6:], examples.squares)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UnreadableDataError, match="cannot read neighbourhoods"):
        load_neighbourhoods([path])
