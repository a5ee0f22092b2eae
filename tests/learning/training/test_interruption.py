import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from mbseg_bids.learning.examples.augmentation import Augmentation
from mbseg_bids.learning.training import trainer
from mbseg_bids.learning.training.batches import TrainingSettings
from mbseg_bids.learning.training.interruption import StopRequest, TrainingStoppedError

SETTINGS = TrainingSettings(
    steps=9,
    batch_size=8,
    input_size=16,
    learning_rate=0.01,
    augmentation=Augmentation(rotations=19, mirror=True, noise=0.05),
    validate_every=4,
    checkpoint_every=100,
)


def weights(model):
    return torch.cat([v.flatten().double() for v in model.state_dict().values()])


class StopAfter:
    """A request that comes after so many questions."""

    def __init__(self, n):
        self._left = n

    @property
    def reason(self):
        self._left -= 1
        return "SIGTERM" if self._left <= 0 else None


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_a_stopped_training_goes_on_to_the_same_bits_and_log(tiny_network, dark_patches, tmp_path, optimiser):
    settings = replace(SETTINGS, optimiser=optimiser)

    def run(folder, model, **options):
        trainer.train(model, dark_patches, dark_patches, settings, folder, report=lambda _: None, **options)
        return model

    whole = run(tmp_path / "whole", tiny_network(1))
    for attempt, stop_after in enumerate((3, 2)):  # in mid-epoch, twice, where no checkpoint was due
        with pytest.raises(TrainingStoppedError, match="--resume") as stopped:
            # What a resumed training starts from is no matter: the checkpoint fills it.
            run(tmp_path / "broken", tiny_network(1 + attempt), resume=attempt > 0, stop=StopAfter(stop_after))
        assert stopped.value.exit_code == 75
    resumed = run(tmp_path / "broken", tiny_network(9), resume=True)
    assert torch.equal(weights(resumed), weights(whole))
    timeless = [
        [",".join(line.split(",")[:3] + line.split(",")[4:]) for line in (tmp_path / name / "log.csv").open()]
        for name in ("whole", "broken")
    ]
    assert timeless[0] == timeless[1]


SIGNALLED = """
import os, signal
from mbseg_bids.learning.training.interruption import StopRequest

number = signal.Signals({number})
before = signal.getsignal(number)
with StopRequest() as stop:
    assert stop.reason is None
    os.kill(os.getpid(), number)
    assert stop.reason == number.name
    assert signal.getsignal(number) is before  # a second one acts at once
assert signal.getsignal(number) is before
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_request_inside_and_as_before_outside(number):
    """In a process of its own: a signal that were not caught would end the one that runs the tests."""
    done = subprocess.run([sys.executable, "-c", SIGNALLED.format(number=int(number))], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_time_limit_is_a_request():
    assert StopRequest(time_limit=1000).reason is None
    assert StopRequest(time_limit=0).reason == "the time limit"


def test_a_stop_at_the_last_step_is_none(tiny_network, dark_patches, tmp_path):
    trainer.train(
        tiny_network(), dark_patches, dark_patches, SETTINGS, tmp_path, report=lambda _: None, stop=StopAfter(9)
    )
