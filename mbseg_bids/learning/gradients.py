"""Gradients of one batch, shared among threads of a CPU."""

import copy
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn
from torch.nn import functional

from mbseg_bids.detection.network import training_mode


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
    """

    def __init__(self, model: nn.Module, n: int) -> None:
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
        losses = (
            [_backward(*work[0])] if self._pool is None else list(self._pool.map(lambda job: _backward(*job), work))
        )
        for parameters in zip(*(r.parameters() for r in self._replicas[: len(parts)]), strict=True):
            for other in parameters[1:]:
                if other.grad is not None:
                    parameters[0].grad += other.grad
                    other.grad = None
        return sum(losses)


def _backward(
    replica: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, share: float, frozen_layers: int
) -> float:
    training_mode(replica, frozen_layers)
    loss = functional.cross_entropy(replica(inputs), targets) * share
    loss.backward()
    return float(loss.detach())
