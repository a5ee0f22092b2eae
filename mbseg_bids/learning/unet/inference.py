"""A U-Net over a whole scan: MONAI's sliding window over each slice, with overlap."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from mbseg_bids.detection.network.classify import choose_device
from mbseg_bids.detection.network.patches import STANDARD_MAXIMUM
from mbseg_bids.errors import TemporaryError, UsageError
from mbseg_bids.learning.unet.network import monai_module
from mbseg_bids.settings import Device

Blend = Literal["centre", "constant", "gaussian"]

OUTER_WEIGHT = 1e-6
"""Weight of a voxel outside the middle of a window: it counts only where no window has it in its middle (at the border
of the slice)."""


@dataclass(frozen=True)
class SlidingWindow:
    """How windows are laid over a slice.

    Attributes
    ----------
    patch_size
        Side of a window, voxels.
    stride
        Step from window to window as a fraction of the side: 1 (no overlap) to 1/16 in the paper.
    blend
        ``centre``: a voxel takes the value of the windows whose middle (a square of one step) it lies in, as in the
        paper; ``constant``, ``gaussian``: the weighted mean of all windows over it, MONAI's two ways.
    batch_size
        Windows at a time.
    """

    patch_size: int
    stride: float = 1.0
    blend: Blend = "centre"
    batch_size: int = 64

    def __post_init__(self) -> None:
        if not 0 < self.stride <= 1:
            raise UsageError(f"a stride is a fraction of the patch above 0 and up to 1, not {self.stride}", "give 1/4")
        if self.patch_size * self.stride < 1:
            raise UsageError(
                f"a stride of {self.stride:g} of {self.patch_size} voxels is no voxel", "give a larger one"
            )

    @property
    def step(self) -> int:
        """Voxels from window to window."""
        return int(self.patch_size * (1 - self.overlap))

    @property
    def overlap(self) -> float:
        """Part of a window that the next one shares, as MONAI counts it."""
        return 1 - self.stride

    def count(self, shape: tuple[int, int]) -> int:
        """Return the number of windows over a slice of this shape; the last of a row is moved back into the slice."""
        return math.prod(math.ceil(max(0, n - self.patch_size) / self.step) + 1 for n in shape)

    def weights(self) -> torch.Tensor | None:
        """Return the weights (S, S) of a window's voxels for ``centre``; None leaves them to MONAI."""
        if self.blend != "centre":
            return None
        weights = torch.full((self.patch_size, self.patch_size), OUTER_WEIGHT)
        first = (self.patch_size - self.step) // 2
        weights[first : first + self.step, first : first + self.step] = 1
        return weights


def predict_scan(
    model: nn.Module,
    stack: npt.NDArray[np.float32],
    brain: npt.NDArray[np.bool_],
    windows: SlidingWindow,
    *,
    device: Device = "auto",
) -> npt.NDArray[np.float32]:
    """Return the probability of output 1 for every brain voxel.

    Each slice with brain is cut down to the brain and half a window around it; what is smaller than a window is padded
    with zeros.

    Parameters
    ----------
    model
        Of :func:`mbseg_bids.learning.unet.network.build_unet`.
    stack
        Shape (3, I, J, K): T2*, T2w, T1w on the detection grid, 0-100.
    brain
        Shape (I, J, K).
    windows
        How the windows lie.
    device
        ``auto`` takes the GPU where there is one.

    Returns
    -------
    Shape (I, J, K), zero outside the brain.

    Raises
    ------
    TemporaryError
        If the memory does not suffice.
    """
    target = choose_device(device)
    probability = np.zeros(brain.shape, np.float32)
    if not brain.any():
        return probability
    rows, columns = (_extent(np.any(brain, axis=axes), windows.patch_size // 2) for axes in ((1, 2), (0, 2)))
    model = model.to(target).eval()
    try:
        for k in np.flatnonzero(brain.any(axis=(0, 1))):
            image = stack[:, rows, columns, k].astype(np.float32) * np.float32(1 / STANDARD_MAXIMUM)
            found = slide(model, torch.from_numpy(np.ascontiguousarray(image))[None].to(target), windows)
            probability[rows, columns, k] = found[0].cpu().numpy()
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise TemporaryError(
            f"out of memory on {target} with {windows.batch_size} windows at a time", "set a smaller --batch-size"
        ) from error
    return probability * brain


def slide(model: nn.Module, images: torch.Tensor, windows: SlidingWindow) -> torch.Tensor:
    """Return the probability of output 1, shape (N, I, J), of images (N, 3, I, J), values 0-1."""
    inferers = monai_module("inferers")
    with torch.inference_mode():
        # Centred padding; MONAI pads too, but the weights of the middle are not used then.
        padding = []
        for n in reversed(images.shape[2:]):
            missing = max(0, windows.patch_size - n)
            padding += [missing // 2, missing - missing // 2]
        padded = functional.pad(images, padding)
        found = inferers.sliding_window_inference(
            padded,
            roi_size=(windows.patch_size, windows.patch_size),
            sw_batch_size=windows.batch_size,
            predictor=lambda batch: torch.softmax(model(batch).float(), dim=1)[:, 1:],
            overlap=windows.overlap,
            mode="gaussian" if windows.blend == "gaussian" else "constant",
            roi_weight_map=windows.weights(),
        )
    top, left = padding[2], padding[0]
    return found[:, 0, top : top + images.shape[2], left : left + images.shape[3]]


def _extent(occupied: npt.NDArray[np.bool_], margin: int) -> slice:
    where = np.flatnonzero(occupied)
    return slice(max(0, where[0] - margin), min(len(occupied), where[-1] + 1 + margin))
