import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from mbseg_bids.detection.network import build_network
from mbseg_bids.errors import MbsegError, UnreadableDataError, UsageError
from mbseg_bids.learning import trainer
from mbseg_bids.learning.gradients import GradientWorkers
from mbseg_bids.learning.patch_set import KINDS, PatchSet
from mbseg_bids.learning.rotation import NONE
from mbseg_bids.learning.trainer import Batches, TrainingSettings

SMALL = TrainingSettings(steps=4, batch_size=8, input_size=32, augmentation=NONE, checkpoint_every=2, validate_every=2)


@pytest.fixture
def patches(rng):
    """Lesions are dark in the middle, backgrounds are not."""
    n = 48
    kinds = np.where(np.arange(n) % 2, KINDS["lesion"], KINDS["background"]).astype(np.uint8)
    images = rng.integers(120, 160, (n, 3, 42, 42)).astype(np.uint8)
    images[kinds == KINDS["lesion"], :, 17:26, 17:26] = 0
    return PatchSet(images, kinds, np.zeros(n, np.int32), np.zeros(n, np.float32))


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_a_batch_has_the_share_of_each_kind(rng):
    kinds = rng.permutation(np.repeat([2, 3, 4, 5], [30, 500, 400, 20])).astype(np.uint8)
    settings = replace(
        SMALL, batch_size=40, fractions={"lesion": 0.4, "background": 0.25, "candidate": 0.25, "mimic": 0.1}
    )
    batches = Batches(kinds, settings)
    for step in (0, 7, 100):
        assert np.bincount(kinds[batches[step]], minlength=6).tolist() == [0, 0, 16, 10, 10, 4]


def test_all_patches_of_a_kind_come_once_before_any_comes_twice():
    kinds = np.repeat([2, 3], [20, 60]).astype(np.uint8)
    batches = Batches(kinds, replace(SMALL, batch_size=10))
    shown = np.concatenate([batches[step] for step in range(12)])
    assert np.bincount(shown, minlength=80).tolist() == [3] * 20 + [1] * 60


def test_an_epoch_shows_each_lesion_upright_and_turned():
    kinds = np.repeat([2, 3], [20, 60]).astype(np.uint8)
    batches = Batches(kinds, TrainingSettings())
    assert batches.steps_per_epoch == 20 * 20 / 20  # 20 lesions, 19 rotations and upright, 20 of them a batch


def test_a_batch_depends_on_the_step_alone():
    kinds = np.repeat([2, 3], [20, 60]).astype(np.uint8)
    one, two = Batches(kinds, SMALL), Batches(kinds, SMALL)
    for step in range(30):
        one[step]
    np.testing.assert_array_equal(one[9], two[9])


def test_every_half_of_a_batch_has_both_classes():
    kinds = np.repeat([2, 3], [40, 60]).astype(np.uint8)
    batches = Batches(kinds, replace(SMALL, batch_size=40))
    for step in range(10):
        for half in np.split(kinds[batches[step]], 2):
            assert set(half) == {2, 3}


def test_a_missing_kind_is_named():
    with pytest.raises(UsageError, match="background"):
        Batches(np.full(5, 2, np.uint8), SMALL)


def test_the_network_learns_what_it_can_see(patches, tmp_path):
    model = build_network(seed=1)
    settings = replace(SMALL, steps=25, batch_size=12, learning_rate=0.02)
    scores = trainer.train(model, patches, patches, settings, tmp_path, report=lambda _: None)
    assert scores.accuracy > 0.9
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert int(rows[-1]["step"]) == 25
    assert float(rows[-1]["training_loss"]) < float(rows[0]["training_loss"])


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_a_resumed_training_ends_where_an_uninterrupted_one_does(patches, tmp_path, optimiser):
    settings = replace(SMALL, optimiser=optimiser, learning_rate=1e-3)

    def quiet(_):
        pass

    whole = build_network(seed=1)
    trainer.train(whole, patches, patches, settings, tmp_path / "whole", report=quiet)
    broken = build_network(seed=1)

    def stop(line):
        if line.startswith("step 4"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.train(broken, patches, patches, settings, tmp_path / "broken", report=stop)
    assert json.loads((tmp_path / "broken" / "checkpoint.json").read_text())["step"] == 2
    resumed = build_network(seed=99)
    trainer.train(resumed, patches, patches, settings, tmp_path / "broken", resume=True, report=quiet)
    assert torch.equal(weights(resumed), weights(whole))


def test_a_checkpoint_of_other_settings_is_refused(patches, tmp_path):
    trainer.train(build_network(seed=1), patches, patches, SMALL, tmp_path, report=lambda _: None)
    with pytest.raises(UnreadableDataError, match="other settings"):
        trainer.train(build_network(seed=1), patches, patches, replace(SMALL, seed=5), tmp_path, resume=True)


def test_a_truncated_checkpoint_is_refused(patches, tmp_path):
    (tmp_path / "checkpoint.safetensors").write_bytes(b"1234567890")
    with pytest.raises(UnreadableDataError, match="checkpoint"):
        trainer.train(build_network(seed=1), patches, patches, SMALL, tmp_path, resume=True)


def test_a_loss_that_is_no_number_ends_the_training(patches, tmp_path):
    model = build_network(seed=1)
    with torch.no_grad():
        model.fc.weight.fill_(float("nan"))
    with pytest.raises(MbsegError, match="diverged"):
        trainer.train(model, patches, patches, SMALL, tmp_path)


def test_the_rate_warms_up_and_falls_as_a_cosine():
    settings = TrainingSettings(learning_rate=0.01, schedule="cosine", warmup=4)
    assert settings.rate(0, 100) == pytest.approx(0.002, rel=1e-3)
    assert settings.rate(50, 100) == pytest.approx(0.005)
    assert settings.rate(99, 100) < 1e-5
    assert TrainingSettings().rate(99, 100) == 0.006


def test_threads_that_share_a_batch_give_the_mean_gradient():
    """Both halves alike: then batch norms see the same, and the gradient is that of the half."""
    half, targets = torch.rand(6, 3, 32, 32), torch.tensor([0, 1, 1, 0, 1, 0])
    one, two = build_network(seed=2), build_network(seed=2)
    loss_one = GradientWorkers(one, 1).gradients(half, targets, 0)
    loss_two = GradientWorkers(two, 2).gradients(torch.cat([half, half]), torch.cat([targets, targets]), 0)
    assert loss_one == pytest.approx(loss_two, rel=1e-5)
    for name in ("conv1.weight", "layer3.2.conv2.weight", "fc.bias"):
        torch.testing.assert_close(two.get_parameter(name).grad, one.get_parameter(name).grad, rtol=1e-3, atol=1e-5)
