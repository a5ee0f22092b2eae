import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from mbseg_bids.detection.network.resnet import build_network
from mbseg_bids.errors import MbsegError, UnreadableDataError, UsageError
from mbseg_bids.learning.examples.augmentation import NONE
from mbseg_bids.learning.examples.patch_set import KINDS, PatchSet
from mbseg_bids.learning.training import trainer
from mbseg_bids.learning.training.gradients import GradientWorkers
from mbseg_bids.learning.training.trainer import Batches, TrainingSettings

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


@pytest.mark.parametrize("workers", [1, 2])
def test_fixed_statistics_stay_and_are_used_while_weights_learn(patches, tmp_path, workers):
    model = build_network(seed=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    settings = replace(SMALL, fixed_statistics=True, workers=workers)
    trainer.train(model, patches, patches, settings, tmp_path, report=lambda _: None)
    after = model.state_dict()
    statistics = [name for name in before if "running" in name or "num_batches" in name]
    assert statistics
    assert all(torch.equal(before[name], after[name]) for name in statistics)
    assert not torch.equal(before["layer4.0.conv1.weight"], after["layer4.0.conv1.weight"])


def test_the_rate_warms_up_and_falls_as_a_cosine():
    settings = TrainingSettings(learning_rate=0.01, schedule="cosine", warmup=4)
    assert settings.rate(0, 100) == pytest.approx(0.002, rel=1e-3)
    assert settings.rate(50, 100) == pytest.approx(0.005)
    assert settings.rate(99, 100) < 1e-5
    assert TrainingSettings().rate(99, 100) == 0.006


def test_threads_that_share_a_batch_give_the_mean_gradient():
    """Both halves alike: then batch norms see the same, and the gradient is that of the half.

    In double precision: batch norms over six values blow the rounding of single precision up to a per cent.
    """
    half = torch.rand(6, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([0, 1, 1, 0, 1, 0])
    one, two = build_network(seed=2).double(), build_network(seed=2).double()
    loss_one = GradientWorkers(one, 1).gradients(half, targets, 0)
    loss_two = GradientWorkers(two, 2).gradients(torch.cat([half, half]), torch.cat([targets, targets]), 0)
    assert loss_one == pytest.approx(loss_two, rel=1e-12)
    for name in ("conv1.weight", "layer3.0.conv2.weight", "fc.bias"):
        expected = one.get_parameter(name).grad
        assert expected.abs().max() > 1e-6, name  # not the zeros of a block that is still the identity
        torch.testing.assert_close(two.get_parameter(name).grad, expected, rtol=1e-6, atol=1e-9)


def test_a_checkpoint_of_another_network_is_refused(tiny_network, patches, tmp_path):
    settings = replace(SMALL, input_size=16)
    trainer.train(tiny_network(width=8), patches, patches, settings, tmp_path, report=lambda _: None)
    with pytest.raises(UnreadableDataError, match="another network"):
        trainer.train(tiny_network(width=6), patches, patches, settings, tmp_path, resume=True)


def test_a_checkpoint_of_other_patches_is_refused(tiny_network, patches, tmp_path):
    settings = replace(SMALL, input_size=16)
    trainer.train(tiny_network(), patches, patches, settings, tmp_path, report=lambda _: None)
    with pytest.raises(UnreadableDataError, match="other settings: patches"):
        trainer.train(tiny_network(), patches.select(slice(2, None)), patches, settings, tmp_path, resume=True)


def test_half_precision_learns_as_single_precision_does(tiny_network, patches, tmp_path):
    losses = {}
    for precision in ("float32", "bfloat16"):
        settings = replace(SMALL, steps=6, input_size=16, learning_rate=0.05, precision=precision)
        trainer.train(tiny_network(3), patches, patches, settings, tmp_path / precision, report=lambda _: None)
        with open(tmp_path / precision / "log.csv", newline="") as file:
            losses[precision] = [float(row["training_loss"]) for row in csv.DictReader(file)]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.03)
    assert losses["bfloat16"] != losses["float32"]


def test_a_frozen_batch_norm_of_a_replica_is_that_of_the_checkpoint(patches, tmp_path):
    """Replicas made before the checkpoint is read would keep the statistics of the network they were made from."""
    settings = replace(SMALL, steps=3, workers=2, frozen_layers=5, checkpoint_every=1, batch_size=6)
    whole = build_network(seed=1)
    trainer.train(whole, patches, patches, settings, tmp_path / "whole", report=lambda _: None)

    class Stop:
        reason = "SIGTERM"

    with pytest.raises(MbsegError, match="stopped at step 1 of 3"):
        trainer.train(build_network(seed=1), patches, patches, settings, tmp_path / "broken", stop=Stop())
    resumed = build_network(seed=99)
    resumed.bn1.running_mean.fill_(5.0)
    trainer.train(resumed, patches, patches, settings, tmp_path / "broken", resume=True, report=lambda _: None)
    assert torch.equal(weights(resumed), weights(whole))


def test_an_epoch_shows_novel_backgrounds_where_there_are_enough():
    settings = TrainingSettings()
    enough = Batches(np.repeat([2, 3], [20, 400]).astype(np.uint8), settings)
    assert enough.showings() == {"lesion": 20, "background": 1}
    epoch = np.concatenate([enough[step] for step in range(enough.steps_per_epoch)])
    assert np.bincount(epoch, minlength=420).tolist() == [20] * 20 + [1] * 400
    assert Batches(np.repeat([2, 3], [20, 100]).astype(np.uint8), settings).showings()["background"] == 4


def test_a_batch_that_cannot_hold_every_kind_is_refused():
    kinds = np.repeat([2, 3, 4], 20).astype(np.uint8)
    three = {"lesion": 0.5, "background": 0.3, "candidate": 0.2}
    with pytest.raises(UsageError, match="a batch of 2 cannot hold 3 kinds"):
        Batches(kinds, replace(SMALL, batch_size=2, fractions=three))
    assert len(Batches(kinds, replace(SMALL, batch_size=3, fractions=three))[0]) == 3


def test_rare_kinds_do_not_make_a_batch_larger():
    kinds = np.repeat([2, 3, 4, 5], 20).astype(np.uint8)
    shares = {"lesion": 0.6, "background": 0.36, "candidate": 0.02, "mimic": 0.02}
    assert np.bincount(kinds[Batches(kinds, replace(SMALL, batch_size=6, fractions=shares))[0]]).tolist()[2:] == [
        *(2, 2, 1, 1)
    ]


def test_a_progress_bar_counts_the_steps(tiny_network, patches, tmp_path, capsys):
    from mbseg_bids.learning.training.log import Display

    settings = replace(SMALL, input_size=16)
    trainer.train(tiny_network(), patches, patches, settings, tmp_path, report=print, display=Display(bar=True))
    shown = capsys.readouterr()
    assert "4/4" in shown.err
    assert "step 4/4" in shown.out


def test_curves_go_to_tensorboard_where_it_is_installed(tiny_network, patches, tmp_path, monkeypatch):
    from types import SimpleNamespace

    from mbseg_bids.learning.training import log as training_log

    drawn = []

    class SummaryWriter:
        def __init__(self, folder):
            drawn.append(folder)

        def add_scalar(self, name, value, step):
            drawn.append((name, step))

        def flush(self):
            pass

        def close(self):
            drawn.append("closed")

    monkeypatch.setattr(training_log, "_tensorboard", lambda: SimpleNamespace(SummaryWriter=SummaryWriter))
    settings = replace(SMALL, input_size=16)
    display = training_log.Display(tensorboard=True)
    trainer.train(tiny_network(), patches, patches, settings, tmp_path, report=lambda _: None, display=display)
    assert drawn[0] == str(tmp_path / "tensorboard")
    assert ("training_loss", 2) in drawn
    assert ("validation_accuracy", 4) in drawn
    assert drawn[-1] == "closed"
