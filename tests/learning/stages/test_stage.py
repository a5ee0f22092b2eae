import numpy as np
import pytest

from mbseg_bids.detection.network.resnet import build_network
from mbseg_bids.learning.examples.patch_set import KINDS, PatchSet
from mbseg_bids.learning.stages import stage as stages


def patch_set(rng, n=60):
    kinds = rng.choice([KINDS["lesion"], KINDS["background"], KINDS["candidate"]], n).astype(np.uint8)
    volumes = np.where(kinds == KINDS["lesion"], rng.choice([2.0, 9.0, 30.0], n), 0).astype(np.float32)
    images = rng.integers(0, 255, (n, 3, 42, 42)).astype(np.uint8)
    return PatchSet(images, kinds, np.arange(n, dtype=np.int32) % 10, volumes)


def test_no_participant_is_in_two_sets(rng):
    patches = patch_set(rng)
    sets = stages.split(patches, stages.MICROBLEED_SPLIT, seed=3)
    members = [set(s.participants.tolist()) for s in (sets.training, sets.validation, sets.test)]
    assert set.union(*members) == set(range(10))
    assert sum(map(len, members)) == 10
    assert len(sets.training) + len(sets.validation) + len(sets.test) == len(patches)


def test_the_defaults_are_those_of_the_paper():
    stage = stages.MICROBLEED_STAGE
    assert (stage.epochs, stage.batch_size, stage.learning_rate, stage.momentum) == (10, 40, 0.006, 0.9)
    assert (stage.frozen_layers, stage.augmentation.rotations, stage.patch_size, stage.input_size) == (5, 19, 28, 224)
    assert stage.fractions == {"lesion": 0.5, "background": 0.5}
    assert stages.CSF_STAGE.frozen_layers == 0
    assert stages.CSF_STAGE.augmentation.rotations == 0


def test_scores_are_of_the_mixture_that_is_trained():
    kinds = np.repeat([KINDS["lesion"], KINDS["background"], KINDS["candidate"]], [20, 400, 300]).astype(np.uint8)
    patches = PatchSet(np.zeros((720, 3, 4, 4), np.uint8), kinds, np.zeros(720, np.int32), np.zeros(720, np.float32))

    def counts(settings):
        return np.bincount(stages.as_in_training(patches, settings).kinds, minlength=5)[2:].tolist()

    assert counts(stages.MICROBLEED_STAGE) == [20, 20, 0]  # half and half, as in the paper
    hard = stages.with_hard_negatives(stages.MICROBLEED_STAGE, 0.75, kinds)
    assert counts(hard) == [20, 5, 15]


def test_hard_negatives_share_what_is_there():
    kinds = np.array([KINDS[k] for k in ("lesion", "background", "candidate", "mimic", "surround")], np.uint8)
    shares = stages.with_hard_negatives(stages.MICROBLEED_STAGE, 0.8, kinds).fractions
    assert shares == {
        k: pytest.approx(v)
        for k, v in {"lesion": 0.5, "background": 0.1, "candidate": 0.24, "mimic": 0.104, "surround": 0.056}.items()
    }
    without = stages.with_hard_negatives(stages.MICROBLEED_STAGE, 0.8, kinds[[0, 1, 2]]).fractions
    assert without == {k: pytest.approx(v) for k, v in {"lesion": 0.5, "background": 0.1, "candidate": 0.4}.items()}
    assert stages.with_hard_negatives(stages.MICROBLEED_STAGE, 0, kinds) == stages.MICROBLEED_STAGE


def test_only_not_microbleeds_can_be_false_positives(rng):
    patches = patch_set(rng)
    settings = stages.replace(stages.MICROBLEED_STAGE, input_size=32)
    marked = stages.mark_false_positives(build_network(seed=0).eval(), patches, settings, threshold=0.0)
    lesion = patches.kinds == KINDS["lesion"]
    assert (marked.kinds[lesion] == KINDS["lesion"]).all()
    assert (marked.kinds[~lesion] == KINDS["false_positive"]).all()
    assert (patches.kinds != KINDS["false_positive"]).all()


def test_false_positives_take_their_share_from_the_other_negatives():
    settings = stages.with_false_positives(stages.MICROBLEED_STAGE, 0.2)
    assert settings.fractions["lesion"] == 0.5
    assert settings.fractions["false_positive"] == 0.2
    assert abs(sum(settings.fractions.values()) - 1) < 1e-9
