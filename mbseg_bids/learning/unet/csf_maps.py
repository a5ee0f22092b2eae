"""CSF maps of labelled scans by either network, with the time each takes."""

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from torch import nn

from mbseg_bids.detection.network.weights import WeightsMetadata
from mbseg_bids.evaluation.csf import csf_probability
from mbseg_bids.learning.examples.labelled_scan import LabelledScan
from mbseg_bids.learning.unet.inference import SlidingWindow, predict_scan
from mbseg_bids.learning.unet.network import UNetMetadata
from mbseg_bids.settings import Device

CsfMap = Callable[[LabelledScan], tuple[npt.NDArray[np.float32], float]]
"""Takes a scan; returns the probability of CSF, shape (I, J, K), and the seconds of wall time it took."""


def resnet_csf(model: nn.Module, metadata: WeightsMetadata, device: Device = "auto", n_workers: int = 1) -> CsfMap:
    """Return what maps CSF with the patch classifier, voxel by voxel over the whole brain."""

    def predict(scan: LabelledScan) -> tuple[npt.NDArray[np.float32], float]:
        start = time.perf_counter()
        found = csf_probability(model, metadata, scan.stack, scan.brain, device=device, n_workers=n_workers)
        return found, time.perf_counter() - start

    return predict


def unet_csf(model: nn.Module, metadata: UNetMetadata, device: Device = "auto") -> CsfMap:
    """Return what maps CSF with a U-Net: whole slices, or windows that overlap by half."""
    windows = SlidingWindow(metadata.patch_size, 0.5)

    def predict(scan: LabelledScan) -> tuple[npt.NDArray[np.float32], float]:
        start = time.perf_counter()
        found = predict_scan(model, scan.stack, scan.brain, windows, device=device)
        return found, time.perf_counter() - start

    return predict


def typical_slices(truth: npt.NDArray[np.bool_], n: int = 4) -> list[int]:
    """Return up to ``n`` slices, evenly spaced through the middle of those that hold CSF (I, J, K)."""
    occupied = np.flatnonzero(truth.any(axis=(0, 1)))
    if not len(occupied):
        return [truth.shape[2] // 2]
    at = np.linspace(0, len(occupied) - 1, n + 2)[1:-1]
    return sorted({int(occupied[round(p)]) for p in at})
