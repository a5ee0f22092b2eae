"""Gradients of one batch, shared among threads of a CPU, in full or mixed precision."""

import copy
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn
from torch.nn import functional

from mbseg_bids.detection.network.resnet import training_mode
from mbseg_bids.errors import UsageError
from mbseg_bids.learning.training.batches import Precision


class Arithmetic:
    """Number format of the convolutions, and the scale that keeps small gradients of half precision from vanishing.

    Parameters
    ----------
    precision
        As in :class:`mbseg_bids.learning.training.batches.TrainingSettings`.
    device
        Where to compute.

    Raises
    ------
    UsageError
        For ``float16`` on a CPU, where torch has no gradient scaling.
    """

    def __init__(self, precision: Precision = "float32", device: torch.device | None = None) -> None:
        self._device = device or torch.device("cpu")
        if precision == "float16" and self._device.type != "cuda":
            raise UsageError("precision float16 needs a GPU", "use --precision float32 or bfloat16")
        self._format = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
        self.scaler = torch.amp.GradScaler(self._device.type, enabled=precision == "float16")

    def loss(self, network: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy, single precision."""
        return functional.cross_entropy(self.logits(network, inputs), targets)

    def logits(self, network: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        """Return what a network answers, single precision."""
        with torch.autocast(self._device.type, dtype=self._format, enabled=self._format is not None):
            return network(inputs).float()


class GradientWorkers:
    """Replicas of a network on the same weights, each with a part of every batch and a thread of its own.

    Threads meet once a step instead of at every layer, as OpenMP makes them do; on a machine with other work to do that
    is several times faster. Batch norms see the part of their replica; the running statistics are those of the first.

    Parameters
    ----------
    model
        Its parameters receive the gradients.
    n
        Replicas; with 1 the model computes the whole batch itself.
    arithmetic
        Number format; single precision where None.
    fixed_statistics
        As in :func:`mbseg_bids.detection.network.resnet.training_mode`.
    """

    def __init__(
        self, model: nn.Module, n: int, arithmetic: Arithmetic | None = None, *, fixed_statistics: bool = False
    ) -> None:
        self._arithmetic = arithmetic or Arithmetic()
        self._fixed_statistics = fixed_statistics
        self._replicas = [model]
        for _ in range(n - 1):
            replica = copy.deepcopy(model)
            for mine, shared in zip(replica.parameters(), model.parameters(), strict=True):
                mine.data = shared.data
            self._replicas.append(replica)
        self._pool = ThreadPoolExecutor(n, initializer=torch.set_num_threads, initargs=(1,)) if n > 1 else None

    def gradients(self, inputs: torch.Tensor, targets: torch.Tensor, frozen_layers: int) -> float:
        """Set the gradients of the mean cross-entropy over a batch; return that mean."""
        parts = list(zip(inputs.chunk(len(self._replicas)), targets.chunk(len(self._replicas)), strict=True))
        work = [
            (replica, part, target, len(target) / len(targets), frozen_layers)
            for replica, (part, target) in zip(self._replicas, parts, strict=False)  # a tiny batch has fewer parts
        ]
        losses = [self._backward(*work[0])] if self._pool is None else list(self._pool.map(self._backward_job, work))
        for parameters in zip(*(r.parameters() for r in self._replicas[: len(parts)]), strict=True):
            for other in parameters[1:]:
                if other.grad is not None:
                    parameters[0].grad += other.grad
                    other.grad = None
        return sum(losses)

    def _backward_job(self, job: tuple) -> float:
        return self._backward(*job)

    def _backward(
        self, replica: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, share: float, frozen_layers: int
    ) -> float:
        training_mode(replica, frozen_layers, fixed_statistics=self._fixed_statistics)
        loss = self._arithmetic.loss(replica, inputs, targets) * share
        self._arithmetic.scaler.scale(loss).backward()
        return float(loss.detach())
