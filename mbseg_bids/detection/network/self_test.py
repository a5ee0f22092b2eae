"""Self-test of weights where they are installed: two drawn patches whose answer is known."""

import numpy as np
import torch

from mbseg_bids.detection.network.resnet import to_network_input
from mbseg_bids.detection.network.weights import load_weights

RADIUS = 1.5
"""Of the dot, mm."""

TISSUE = (0.6, 0.5, 0.7)
"""Standardised signal of white matter on T2*, T2w and T1w."""

LOSS = (0.85, 0.34, 0.13)
"""Share of the signal that the dot takes on each: iron darkens T2* most, and T1w hardly."""


def self_test_patches(patch_size: int) -> np.ndarray:
    """Draw a microbleed in white matter, and white matter alone.

    Returns
    -------
    float32 (2, 3, patch_size, patch_size): the dot in the middle of the first, nothing in the second; T2*, T2w and
    T1w; signal 0-1; voxels of 1 mm.
    """
    i, j = np.indices((patch_size, patch_size)) - patch_size // 2
    inside = 1 / (1 + np.exp((np.hypot(i, j) - RADIUS) / 0.3))
    dot = np.stack([signal * (1 - loss * inside) for signal, loss in zip(TISSUE, LOSS, strict=True)])
    background = np.broadcast_to(np.reshape(TISSUE, (3, 1, 1)), dot.shape)
    return np.stack([dot, background]).astype(np.float32)


def run_self_test(name_or_path: str = "default") -> tuple[float, float]:
    """Return the microbleed probability of the dot and of the background.

    Raises
    ------
    UnreadableDataError, UsageError
        As :func:`~mbseg_bids.detection.network.weights.load_weights`; weights of another task are a usage error.
    """
    model, metadata = load_weights(name_or_path, task="microbleed")
    patches = torch.from_numpy(self_test_patches(metadata.patch_size))
    with torch.inference_mode():
        answer = torch.softmax(model(to_network_input(patches, metadata.input_size)), dim=1)[:, 1]
    return float(answer[0]), float(answer[1])
