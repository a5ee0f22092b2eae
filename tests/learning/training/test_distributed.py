import os
import socket

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from torch import nn

from mbseg_bids.learning.training import distributed as module
from mbseg_bids.learning.training.distributed import ALONE, Distributed
from mbseg_bids.learning.training.gradients import Arithmetic, GradientWorkers


def network():
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(9, 3, 8, 8, generator=generator), torch.tensor([0, 1, 1, 0, 1, 0, 0, 1, 1])


def member(rank, port, folder):
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    device = torch.device("cpu")
    with module.join_processes(device) as (distributed, _):
        inputs, targets = batch()
        mine = distributed.share(np.arange(9))
        model = network()
        loss = module.DistributedGradients(model, distributed, device, Arithmetic()).gradients(
            inputs[mine], targets[mine], 0
        )
        found = {"loss": loss, "any": distributed.any(rank == 1, device), "none": distributed.any(False, device)}
        torch.save(found | {"gradients": [p.grad for p in model.parameters()]}, f"{folder}/{rank}.pt")


def test_two_processes_give_the_gradient_of_two_threads(tmp_path):
    """Both split a batch in two, unequal halves of which batch norms see one: so the gradients are the same."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.start_processes(member, (port, str(tmp_path)), nprocs=2, start_method="spawn")
    model = network()
    inputs, targets = batch()
    loss = GradientWorkers(model, 2).gradients(inputs, targets, 0)
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert found["loss"] == pytest.approx(loss, rel=1e-6)
        assert (found["any"], found["none"]) == (True, False)
        for mine, expected in zip(found["gradients"], model.parameters(), strict=True):
            torch.testing.assert_close(mine, expected.grad, rtol=1e-5, atol=1e-7)


def test_the_parts_of_a_team_make_the_whole_batch():
    whole = np.arange(41)
    parts = [Distributed(rank, 4).share(whole) for rank in range(4)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert {len(p) for p in parts} == {10, 11}


def test_alone_nothing_is_asked_of_others():
    device = torch.device("cpu")
    assert ALONE.any(True, device)
    assert not ALONE.any(False, device)
    assert ALONE.mean(2.5, device) == 2.5
