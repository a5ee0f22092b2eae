"""Several processes that train one network, each on a part of every batch: one for each GPU, started by torchrun."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mbseg_bids.detection.network.resnet import training_mode
from mbseg_bids.learning.training.gradients import Arithmetic

PATIENCE = timedelta(hours=2)
"""How long the others wait while the first process looks at validation."""


@dataclass(frozen=True)
class Distributed:
    """The place of this process among those that train together; alone by default."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def share(self, chosen: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
        """Return the part of a batch that is this process's."""
        return np.array_split(chosen, self.size)[self.rank]

    def any(self, flag: bool, device: torch.device) -> bool:
        """Return whether the flag is set in any process, the same in all."""
        return flag if self.size == 1 else self._sum(float(flag), device) > 0

    def mean(self, value: float, device: torch.device) -> float:
        """Return the mean over the processes."""
        return value if self.size == 1 else self._sum(value, device) / self.size

    @staticmethod
    def _sum(value: float, device: torch.device) -> float:
        total = torch.tensor(value, dtype=torch.float64, device=device)
        dist.all_reduce(total)
        return float(total)


ALONE = Distributed()


class DistributedGradients:
    """Gradients averaged over all processes by :class:`torch.nn.parallel.DistributedDataParallel`.

    On GPUs batch norms see the whole batch; on CPUs each sees the part of its process, and the running statistics are
    those of the first.

    Parameters
    ----------
    model
        Its parameters receive the gradients.
    distributed, device, arithmetic
        The processes, where this one computes, and in which number format.
    fixed_statistics
        As in :func:`mbseg_bids.detection.network.resnet.training_mode`.
    """

    def __init__(
        self,
        model: nn.Module,
        distributed: Distributed,
        device: torch.device,
        arithmetic: Arithmetic,
        *,
        fixed_statistics: bool = False,
    ) -> None:
        self._distributed, self._device, self._arithmetic = distributed, device, arithmetic
        self._fixed_statistics = fixed_statistics
        if device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        self._model = model
        self._parallel = DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)

    def gradients(self, inputs: torch.Tensor, targets: torch.Tensor, frozen_layers: int) -> float:
        """Set the gradients of the mean cross-entropy over the whole batch; return that mean.

        Parameters
        ----------
        inputs, targets
            The part of this process; parts may differ in size by one.
        frozen_layers
            As in :func:`mbseg_bids.detection.network.resnet.training_mode`.
        """
        training_mode(self._model, frozen_layers, fixed_statistics=self._fixed_statistics)
        weight = len(targets) / self._distributed.mean(len(targets), self._device)
        loss = self._arithmetic.loss(self._parallel, inputs, targets) * weight
        self._arithmetic.scaler.scale(loss).backward()
        return self._distributed.mean(float(loss.detach()), self._device)


@contextmanager
def join_processes(device: torch.device) -> Iterator[tuple[Distributed, torch.device]]:
    """Join the processes that ``torchrun`` started, if it did.

    Yields
    ------
    Its place among them, and its device: its own GPU where there are several.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE, device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Distributed(dist.get_rank(), size), device
    finally:
        dist.destroy_process_group()
