from dataclasses import replace

import numpy as np
import pytest
import torch

from mbseg_bids.learning.examples.augmentation import Augmentation
from mbseg_bids.learning.examples.patch_set import KINDS, PatchSet, wide_size
from mbseg_bids.learning.training.batches import Batches, TrainingSettings
from mbseg_bids.learning.training.distributed import ALONE, Distributed
from mbseg_bids.learning.training.feeding import DeviceFeed, HostFeed, make_feed

VARIED = Augmentation(
    rotations=9, mirror=True, exact=0.5, gain=0.15, gamma=0.3, blur=0.6, shift=1, drop=(0.3, 0.2), decentre=1
)
SETTINGS = TrainingSettings(batch_size=16, augmentation=VARIED, seed=3)
CPU = torch.device("cpu")


@pytest.fixture
def patches(rng):
    n, side = 60, wide_size(28)
    kinds = np.where(np.arange(n) % 3, KINDS["background"], KINDS["lesion"]).astype(np.uint8)
    return PatchSet(
        rng.integers(0, 255, (n, 3, side, side)).astype(np.uint8), kinds, np.zeros(n, np.int32), np.zeros(n, np.float32)
    )


def fed(kind, patches, settings, distributed=ALONE, steps=range(3, 6)):
    return list(kind(patches, settings, Batches(patches.kinds, settings), distributed, CPU)(steps))


def test_the_device_makes_the_batches_of_the_host(patches):
    for one, other in zip(fed(HostFeed, patches, SETTINGS), fed(DeviceFeed, patches, SETTINGS), strict=True):
        assert one[0] == other[0]
        torch.testing.assert_close(one[1], other[1], atol=1e-6, rtol=0)
        assert torch.equal(one[2], other[2])


def test_both_give_every_process_its_part_of_a_batch(patches):
    for kind in (HostFeed, DeviceFeed):
        parts = [fed(kind, patches, SETTINGS, Distributed(rank, 2)) for rank in (0, 1)]
        whole = fed(kind, patches, SETTINGS)
        for step, batch in enumerate(whole):
            assert torch.equal(torch.cat([part[step][2] for part in parts]), batch[2])


def test_the_noise_of_the_device_is_as_strong_and_repeats_by_step(patches):
    settings = replace(SETTINGS, augmentation=Augmentation(rotations=0, noise=0.2))
    still = replace(SETTINGS, augmentation=Augmentation(rotations=0))
    plain = [batch[1] for batch in fed(DeviceFeed, patches, still)]
    spreads = []
    for kind in (HostFeed, DeviceFeed):
        inside = [
            (noisy[1] - clean)[(clean > 0.4) & (clean < 0.6)]
            for noisy, clean in zip(fed(kind, patches, settings), plain, strict=True)
        ]
        spreads.append(float(torch.cat(inside).std()))
    assert spreads[0] == pytest.approx(spreads[1], rel=0.05)
    again = fed(DeviceFeed, patches, settings, steps=range(4, 6))
    for one, other in zip(fed(DeviceFeed, patches, settings)[1:], again, strict=True):
        assert torch.equal(one[1], other[1])


def test_steps_come_in_order_wherever_they_begin(patches):
    for steps in (range(0), range(1), range(5, 9)):
        assert [step for step, *_ in fed(DeviceFeed, patches, SETTINGS, steps=steps)] == list(steps)


def test_what_fails_ahead_fails_at_its_step(patches):
    class Broken(Batches):
        def __getitem__(self, step):
            if step == 2:
                raise ValueError("step 2")
            return super().__getitem__(step)

    coming = DeviceFeed(patches, SETTINGS, Broken(patches.kinds, SETTINGS), ALONE, CPU)(range(4))
    assert [next(coming)[0] for _ in range(2)] == [0, 1]
    with pytest.raises(ValueError, match="step 2"):
        next(coming)


def test_a_batch_goes_on_where_a_round_of_its_kind_ends(patches):
    """One by one: no matter how many rounds a batch touches."""
    settings = replace(SETTINGS, batch_size=100)  # 50 of 20 lesions, 50 of 40 others
    batches = Batches(patches.kinds, settings)
    for step in range(4):
        shown = batches[step]
        for kind in ("lesion", "background"):
            expected = [int(batches._of_kind(kind, step * 50 + n, 1)[0]) for n in range(50)]
            assert sorted(expected) == sorted(shown[patches.kinds[shown] == KINDS[kind]].tolist())
            assert batches._of_kind(kind, step * 50, 50).tolist() == expected


def test_patches_are_fed_from_the_host_where_there_is_no_gpu(patches):
    assert isinstance(make_feed(patches, SETTINGS, Batches(patches.kinds, SETTINGS), ALONE, CPU), HostFeed)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_patches_that_fit_lie_on_the_gpu(patches):
    feed = make_feed(patches, SETTINGS, Batches(patches.kinds, SETTINGS), ALONE, torch.device("cuda"))
    assert isinstance(feed, DeviceFeed)
    host = fed(HostFeed, patches, SETTINGS)
    for one, other in zip(host, feed(range(3, 6)), strict=True):
        torch.testing.assert_close(one[1], other[1].cpu(), atol=1e-4, rtol=0)
