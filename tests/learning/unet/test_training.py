import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mbseg_bids.errors import MbsegError, UnreadableDataError, UsageError
from mbseg_bids.learning.unet.network import UNetShape, build_unet
from mbseg_bids.learning.unet.training import UNetTraining, train_unet
from mbseg_bids.learning.unet.windows import IGNORED, WindowSampler

SMALL = UNetShape((4, 8, 8), 1)
TOY = UNetTraining(
    "microbleed",
    16,
    steps=40,
    batch_size=8,
    learning_rate=0.02,
    optimiser="adamw",
    target_weight=4.0,
    rotations=3,
    validation_windows=20,
)


@pytest.fixture
def scans(make_scan):
    return [make_scan("a", seed=1)], [make_scan("b", seed=2)]


def test_the_loss_falls_and_lesions_are_found(scans, tmp_path):
    start = time.process_time()
    lines = []
    model = build_unet(SMALL)
    untrained = train_unet(model, *scans, UNetTraining("microbleed", 16, steps=1, learning_rate=0.0), tmp_path / "0")
    trained = train_unet(model, *scans, TOY, tmp_path / "1", report=lines.append)
    assert trained.loss < 0.3 * untrained.loss
    assert trained.sensitivity > 0.5
    assert trained.precision > 0.5
    assert len(lines) == 1
    assert time.process_time() - start < 20


def test_half_of_the_windows_are_about_target_voxels(scans):
    sampler = WindowSampler(scans[0], "microbleed", 16)
    windows = sampler.draw(0, 10)
    assert windows.images.shape == (10, 3, 16, 16)
    assert (windows.classes[:5, 8, 8] == 1).all()
    assert (windows.classes[5:, 8, 8] == 0).all()


def test_turned_windows_keep_their_middle(scans):
    sampler = WindowSampler(scans[0], "csf", 16)
    upright, turned = sampler.draw(0, 12), sampler.draw(0, 12, rotations=10**6)
    assert (turned.classes[:6, 8, 8] == 1).all()
    torch.testing.assert_close(turned.images[:, :, 8, 8], upright.images[:, :, 8, 8], atol=1e-3, rtol=0)
    assert not turned.images.equal(upright.images)


def test_outside_the_brain_nothing_is_learnt(make_scan):
    windows = WindowSampler([make_scan(shape=(41, 37, 1))], "csf", 256).draw(0, 2)
    assert windows.images.shape == (2, 3, 256, 256)
    # The slice lies in the middle; its brain leaves out three voxels on each side.
    inside = torch.zeros(256, 256, dtype=torch.bool)
    inside[128 - 20 + 3 : 128 + 21 - 3, 128 - 18 + 3 : 128 + 19 - 3] = True
    assert ((windows.classes == IGNORED) == ~inside).all()
    assert (windows.classes == 1).sum() == 2 * 4 * 31


def test_windows_are_a_function_of_seed_and_step(scans):
    one, same, other = (WindowSampler(scans[0], "csf", 16, seed=seed).draw(4, 6, rotations=3) for seed in (1, 1, 2))
    assert one.images.equal(same.images)
    assert not one.images.equal(other.images)


def test_a_run_that_was_stopped_goes_on_as_if_it_was_not(scans, tmp_path):
    settings = UNetTraining("csf", 16, steps=6, batch_size=4, validate_every=3, validation_windows=4)
    whole, halves = build_unet(SMALL), build_unet(SMALL)
    train_unet(whole, *scans, settings, tmp_path / "whole", report=lambda _: None)

    class StoppedError(Exception):
        pass

    def stop(line):
        raise StoppedError

    with pytest.raises(StoppedError):  # at the look after step 3, with its checkpoint
        train_unet(build_unet(SMALL), *scans, settings, tmp_path / "halves", report=stop)
    lines = []
    train_unet(halves, *scans, settings, tmp_path / "halves", resume=True, report=lines.append)
    assert len(lines) == 1
    for name, value in whole.state_dict().items():
        assert halves.state_dict()[name].equal(value)
    assert len((tmp_path / "halves" / "log.csv").read_text().splitlines()) == 3


def test_a_checkpoint_is_safetensors_and_of_one_set_of_settings(scans, tmp_path):
    settings = UNetTraining("csf", 16, steps=2, batch_size=4, validation_windows=4)
    model = build_unet(SMALL)
    train_unet(model, *scans, settings, tmp_path, report=lambda _: None)
    state = load_file(tmp_path / "checkpoint.safetensors")  # a format that cannot hold a pickle
    assert any(name.startswith("optimiser.momentum_buffer.") for name in state)
    with pytest.raises(UnreadableDataError, match="other settings: steps"):
        train_unet(model, *scans, replace(settings, steps=3), tmp_path, resume=True)
    with pytest.raises(UnreadableDataError, match="other settings: patches"):  # other people's scans
        train_unet(model, scans[1], scans[0], settings, tmp_path, resume=True)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"short")
    with pytest.raises(UnreadableDataError, match="checkpoint"):
        train_unet(model, *scans, settings, tmp_path, resume=True)


def test_a_task_without_a_voxel_is_refused(make_scan, tmp_path):
    scan = make_scan(n_lesions=0)
    with pytest.raises(UsageError, match="no microbleed voxel"):
        train_unet(build_unet(SMALL), [scan], [scan], TOY, tmp_path)


def test_a_brain_of_nothing_but_the_target_is_refused(make_scan):
    scan = make_scan()
    scan.tissue[scan.brain] = 1
    with pytest.raises(UsageError, match="every brain voxel is csf"):
        WindowSampler([scan], "csf", 16)


def test_a_loss_that_is_no_number_ends_the_training(scans, tmp_path):
    model = build_unet(SMALL)
    with torch.no_grad():
        next(model.parameters()).fill_(np.nan)
    with pytest.raises(MbsegError, match="diverged"):
        train_unet(model, *scans, TOY, tmp_path)


def test_an_epoch_shows_as_much_as_the_classifier_sees():
    settings = UNetTraining("microbleed", rotations=19)
    assert settings.total_steps(100) == 10 * (2 * 100 * 20 // 20)
    assert UNetTraining("microbleed", steps=7).total_steps(100) == 7
