"""Classification of voxels: patches through the network, in fixed batches."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mbseg_bids.detection.network import fuse_batch_norms, to_network_input
from mbseg_bids.detection.patches import extract_patches
from mbseg_bids.detection.weights import WeightsMetadata
from mbseg_bids.errors import TemporaryError, UsageError

Progress = Callable[[int, int], None]


def classify_voxels(
    model: nn.Module,
    stack: npt.NDArray[np.float32],
    voxels: npt.NDArray[np.integer],
    *,
    patch_size: int = 28,
    input_size: int = 224,
    batch_size: int = 64,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    n_workers: int = 1,
    progress: Progress | None = None,
) -> npt.NDArray[np.float32]:
    """Return the probability of each voxel to be a microbleed.

    On a CPU every batch is computed by one thread, and batches are dealt to ``n_workers`` threads: the result does not
    depend on how many there are, to the last bit.

    Parameters
    ----------
    model
        A network of :func:`mbseg_bids.detection.network.build_network` with two outputs.
    stack
        Shape (3, I, J, K): T2*, T2w, T1w on the detection grid, 0-100.
    voxels
        Shape (N, 3), indices (i, j, k).
    patch_size, input_size
        Side of a patch in voxels, and the side it is resized to; both are in the metadata of the weights.
    batch_size
        Patches a batch.
    device
        ``auto`` takes the GPU where there is one.
    n_workers
        CPU threads.
    progress
        Called with (voxels done, voxels in all) after each batch.

    Returns
    -------
    Shape (N,) float32, in the order of ``voxels``.

    Raises
    ------
    TemporaryError
        If the memory of the GPU, or of the machine, does not suffice.
    """
    voxels = np.asarray(voxels).reshape(-1, 3)
    target = choose_device(device)
    starts = range(0, len(voxels), batch_size)
    probability = np.empty(len(voxels), np.float32)

    def classify(start: int) -> None:
        batch = slice(start, min(start + batch_size, len(voxels)))
        # A full batch every time: convolutions of another batch size round differently.
        patches = np.zeros((batch_size, 3, patch_size, patch_size), np.float32)
        patches[: batch.stop - start] = extract_patches(stack, voxels[batch], patch_size)
        with torch.inference_mode():
            logits = network(to_network_input(torch.from_numpy(patches).to(target), input_size))
            probability[batch] = torch.softmax(logits.float(), dim=1)[: batch.stop - start, 1].cpu().numpy()

    try:
        network = fuse_batch_norms(model).to(target)
        batches = map(classify, starts) if target.type == "cuda" else _in_threads(classify, starts, max(1, n_workers))
        for n, _ in enumerate(batches, start=1):
            if progress is not None:
                progress(min(n * batch_size, len(voxels)), len(voxels))
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise TemporaryError(
            f"out of memory on {target} with batches of {batch_size} patches",
            "set a smaller --batch-size or --device cpu",
        ) from error
    return probability


def classifier(
    model: nn.Module, metadata: WeightsMetadata, stack: npt.NDArray[np.float32], **options: Any
) -> Callable[[npt.NDArray[np.integer]], npt.NDArray[np.float32]]:
    """Return a function from voxels (N, 3) of a stack to the probabilities (N,) of a network.

    Parameters
    ----------
    model, metadata
        Of :func:`mbseg_bids.detection.weights.load_weights`.
    stack
        Shape (3, I, J, K), 0-100.
    **options
        Those of :func:`classify_voxels` that the weights do not decide.
    """
    return partial(
        classify_voxels, model, stack, patch_size=metadata.patch_size, input_size=metadata.input_size, **options
    )


def choose_device(device: str) -> torch.device:
    """Return the device to compute on; ``auto`` takes the GPU where there is one."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda, but torch finds no GPU", "use --device auto or cpu, or check the driver")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def _in_threads(work: Callable[[int], None], items: range, n_workers: int) -> Iterator[None]:
    """Run ``work`` on every item in a pool of threads, each of which computes without further threads."""
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(n_workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(work, items)
    finally:
        torch.set_num_threads(before)
