"""Classification of voxels: patches through the network, in fixed batches."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mbseg_bids.detection.network import runtime_cuda
from mbseg_bids.detection.network.device_patches import DevicePatches
from mbseg_bids.detection.network.resnet import fuse_batch_norms
from mbseg_bids.detection.network.runtime_openvino import OpenVinoNetwork
from mbseg_bids.detection.network.runtime_pytorch import TorchNetwork, exact_convolutions
from mbseg_bids.detection.network.runtimes import Runtime, choose_device, choose_runtime
from mbseg_bids.detection.network.weights import WeightsMetadata
from mbseg_bids.errors import TemporaryError

__all__ = ["Classifier", "choose_device", "classifier", "classify_voxels"]

LOGGER = logging.getLogger("mbseg")

Progress = Callable[[int, int], None]
Compute = Callable[[torch.Tensor], torch.Tensor]
"""From a full batch of patches (B, 3, size, size) to probabilities (B,)."""

CPU_BATCH = 16
"""Patches a batch on a CPU: the rounds of a search are small, and more would not be faster."""
GPU_BATCH = 512
"""Patches a batch on a GPU whose memory allows it."""
GPU_BYTES_PER_PIXEL = 500
"""Of a network input, in float32: the two widest layers of a ResNet-50, which are alive at once, and room to work."""
SMALLEST_BATCH = 8
"""Where halving ends when memory does not suffice."""
MARGIN = 0.1
"""How much lower than :attr:`Classifier.exact_from` the probability in low precision may be of a voxel that is computed
again."""


@dataclass(frozen=True)
class _Network:
    """A fused network that stands for its weights, so that it is compiled once a process."""

    identity: str
    model: nn.Module = field(compare=False)


class Classifier:
    """Asks a network about voxels of one scan.

    The scan goes to the device once, and the network is made ready once. On a CPU every batch is computed by one
    thread, and batches are dealt to ``n_workers`` threads; every batch has the same size. So a voxel's probability
    depends neither on how many workers there are nor on what is asked together with it, to the last bit.

    Attributes
    ----------
    runtime
        What computes the network.
    exact_from
        Smallest probability that must be as in float32. What lower precision puts clearly below is left at that, and
        all else is computed again. None: everything is computed in float32.
    """

    def __init__(
        self,
        model: nn.Module,
        stack: npt.NDArray[np.float32],
        *,
        patch_size: int = 28,
        input_size: int = 224,
        batch_size: int | None = None,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        runtime: Literal["auto", "pytorch", "openvino"] = "auto",
        exact_from: float | None = None,
        n_workers: int = 1,
        progress: Progress | None = None,
        identity: str = "",
    ) -> None:
        self.runtime = choose_runtime(runtime, device, model)
        self._may_change = runtime == "auto" and self.runtime.name == "openvino"
        self.exact_from = exact_from if self.runtime.fast else None
        self.batch_size = batch_size or _default_batch(self.runtime.device, input_size)
        self._model, self._stack, self._identity = model, stack, identity
        self._sizes = (patch_size, input_size)
        self._n_workers, self._progress = max(1, n_workers), progress
        self._patches: DevicePatches | None = None
        self._networks: dict[str, Compute] = {}
        self._graphs: dict[str, Compute] = {}

    def describe(self) -> dict[str, str]:
        """Return runtime, device and precision as plain values, for a log and for those who read the results."""
        precision = "float32" if self.exact_from is None else f"{self.runtime.fast} below {self.exact_from:g}, float32"
        return {**self.runtime.describe(), "precision": precision}

    def __call__(self, voxels: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
        """Return the probability of each voxel (N, 3) to be a microbleed, shape (N,) float32, in the same order.

        Raises
        ------
        TemporaryError
            If the memory of the GPU, or of the machine, does not suffice.
        """
        voxels = np.asarray(voxels).reshape(-1, 3)
        if not len(voxels):
            return np.empty(0, np.float32)
        limit = self.exact_from
        if limit is None or self.runtime.fast is None:
            return self._halving(voxels, "float32", self._progress)
        probability = self._halving(voxels, self.runtime.fast, self._progress)
        again = ~(probability < limit - MARGIN)  # also what is no number
        if again.any():
            probability[again] = self._halving(voxels[again], "float32", None)
        return probability

    def _halving(self, voxels: npt.NDArray, precision: str, progress: Progress | None) -> npt.NDArray[np.float32]:
        """Compute; where memory does not suffice, in batches of half the size."""
        while True:
            try:
                return self._compute(voxels, precision, progress)
            except (torch.OutOfMemoryError, MemoryError) as error:
                where = f"out of memory on {self.runtime.device} with batches of {self.batch_size} patches"
                if self.batch_size <= SMALLEST_BATCH:
                    raise TemporaryError(where, "set a smaller --batch-size or --device cpu") from error
            self._networks.clear()
            self._graphs.clear()
            if self.runtime.device == "cuda":
                torch.cuda.empty_cache()
            self.batch_size = max(SMALLEST_BATCH, self.batch_size // 2)
            LOGGER.warning("%s: going on with %d", where, self.batch_size)

    def _compute(self, voxels: npt.NDArray, precision: str, progress: Progress | None) -> npt.NDArray[np.float32]:
        size, n = self.batch_size, len(voxels)
        patches, network = self._ready(precision)
        # A full batch every time: convolutions of another batch size round differently.
        places = patches.locate(np.concatenate([voxels, np.repeat(voxels[-1:], -n % size, axis=0)]))
        probability = torch.empty(len(places), dtype=torch.float32, device=places.device)
        on_gpu = self.runtime.device == "cuda"

        def plain(of_batch: torch.Tensor) -> torch.Tensor:
            return network(patches.gather(of_batch))

        batch: Compute = plain
        starts = range(0, len(places), size)
        with exact_convolutions():
            if on_gpu and runtime_cuda.GRAPHS and (precision in self._graphs or len(starts) >= runtime_cuda.GRAPH_FROM):
                if precision not in self._graphs:
                    self._graphs[precision] = runtime_cuda.graphed(plain, places[:size])
                batch = self._graphs[precision]

            def classify(start: int) -> None:
                probability[start : start + size] = batch(places[start : start + size])

            # What a GPU is given it works off by itself; the results are fetched when all has been given.
            for done, _ in enumerate(
                map(classify, starts) if on_gpu else _in_threads(classify, starts, self._n_workers)
            ):
                if progress is not None:
                    progress(min((done + 1) * size, n), n)
            return probability[:n].cpu().numpy()

    def _ready(self, precision: str) -> tuple[DevicePatches, Compute]:
        if self._patches is None:
            self._patches = DevicePatches(self._stack, self._sizes[0], torch.device(self.runtime.device))
        if precision not in self._networks:
            self._networks[precision] = self._network(precision)
        return self._patches, self._networks[precision]

    def _network(self, precision: str) -> Compute:
        if not self._networks:
            LOGGER.info("network: %s", ", ".join(self.describe().values()))
        make = _make if self._identity else _make.__wrapped__  # without a name, nothing to find it again by
        key = _Network(self._identity, self._model)
        try:
            if self.runtime.name == "pytorch":  # takes batches of any size
                return make(key, self.runtime, precision, *self._sizes)
            return make(key, self.runtime, precision, *self._sizes, self.batch_size, self._n_workers)
        except RuntimeError as error:
            if not self._may_change:
                raise
            LOGGER.warning("OpenVINO cannot compute this network, PyTorch does: %s", error)
        self._may_change, self.exact_from = False, None
        self.runtime = choose_runtime("pytorch", self.runtime.device, self._model)
        self._networks.clear()
        return make(key, self.runtime, "float32", *self._sizes)


def classify_voxels(
    model: nn.Module, stack: npt.NDArray[np.float32], voxels: npt.NDArray[np.integer], **options: Any
) -> npt.NDArray[np.float32]:
    """Return the probability of each voxel to be a microbleed.

    Parameters
    ----------
    model
        A network of :func:`mbseg_bids.detection.network.resnet.build_network` with two outputs.
    stack
        Shape (3, I, J, K): T2*, T2w, T1w on the detection grid, 0-100.
    voxels
        Shape (N, 3), indices (i, j, k).
    **options
        patch_size, input_size
            Side of a patch in voxels, and the side it is resized to; both are in the metadata of the weights.
        batch_size
            Patches a batch; None: what suits the device and its memory.
        device, runtime
            As in :func:`mbseg_bids.detection.network.runtimes.choose_runtime`.
        exact_from
            As in :class:`Classifier`.
        n_workers
            CPU threads.
        progress
            Called with (voxels done, voxels in all) after each batch; on a GPU, done is what it has been given.

    Returns
    -------
    Shape (N,) float32, in the order of ``voxels``.

    Raises
    ------
    TemporaryError
        If the memory of the GPU, or of the machine, does not suffice.
    UsageError
        If a device or runtime was asked for that is not there.

    Examples
    --------
    >>> import numpy as np
    >>> from mbseg_bids.steps import classify_voxels, load_weights
    >>> model, metadata = load_weights()
    >>> stack = np.full((3, 41, 41, 1), 60.0, np.float32)
    >>> sizes = {"patch_size": metadata.patch_size, "input_size": metadata.input_size}
    >>> probability = classify_voxels(model, stack, np.array([[20, 20, 0]]), device="cpu", **sizes)
    >>> probability.shape, bool(0 <= probability[0] <= 1)
    ((1,), True)
    """
    return Classifier(model, stack, **options)(voxels)


def classifier(
    model: nn.Module, metadata: WeightsMetadata, stack: npt.NDArray[np.float32], **options: Any
) -> Classifier:
    """Return a function from voxels (N, 3) of a stack to the probabilities (N,) of a network.

    Parameters
    ----------
    model, metadata
        Of :func:`mbseg_bids.detection.network.weights.load_weights`.
    stack
        Shape (3, I, J, K), 0-100.
    **options
        Those of :func:`classify_voxels` that the weights do not decide.
    """
    options |= {"patch_size": metadata.patch_size, "input_size": metadata.input_size, "identity": metadata.sha256}
    return Classifier(model, stack, **options)


@lru_cache(maxsize=4)
def _make(
    network: _Network,
    runtime: Runtime,
    precision: str,
    patch_size: int,
    input_size: int,
    batch_size: int = 0,
    n_workers: int = 0,
) -> Compute:
    """Make a network ready to compute batches of patches."""
    fused = fuse_batch_norms(network.model)
    if runtime.name == "pytorch":
        return TorchNetwork(fused, input_size=input_size, device=torch.device(runtime.device), precision=precision)
    sizes = {"patch_size": patch_size, "input_size": input_size, "batch_size": batch_size}
    compiled = OpenVinoNetwork(fused, **sizes, n_workers=n_workers, precision=precision)
    return lambda patches: torch.from_numpy(compiled(patches.contiguous().numpy()))


def _default_batch(device: str, input_size: int) -> int:
    if device != "cuda":
        return CPU_BATCH
    free, _ = torch.cuda.mem_get_info()
    possible, batch = free // 2 // (GPU_BYTES_PER_PIXEL * input_size**2), GPU_BATCH
    while batch > possible and batch > SMALLEST_BATCH:
        batch //= 2
    return batch


def _in_threads(work: Callable[[int], None], items: range, n_workers: int) -> Iterator[None]:
    """Run ``work`` on every item in a pool of threads, each of which computes without further threads."""
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(n_workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(work, items)
    finally:
        torch.set_num_threads(before)
