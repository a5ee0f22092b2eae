"""What figure 12 of Dadar et al. 2022 shows of the U-Net: lesions found against window size, overlap and time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mbseg_bids.detection.network.weights import WeightsMetadata
from mbseg_bids.learning.examples.labelled_scan import LabelledScan
from mbseg_bids.learning.stages.scan_scores import probability_map, score_scan
from mbseg_bids.learning.unet.inference import Blend, SlidingWindow, predict_scan
from mbseg_bids.learning.unet.network import UNetMetadata
from mbseg_bids.learning.unet.windows import FULL_SLICE, window
from mbseg_bids.settings import DetectionSettings, Device

MINIMUM_VOLUME = 8.0
"""mm3; smaller true lesions count neither as missed nor as false. `mbseg evaluate` has the same, from 4.2 mm3."""


@dataclass(frozen=True)
class ScanRow:
    """One network on one scan; a row of ``scans.tsv``.

    Attributes
    ----------
    scan, network
        Names.
    patch_size
        Side of its windows or patches, voxels.
    stride
        Step of the windows as a part of their side (``1/4``); ``n/a`` for a classifier of single voxels.
    n_slices
        Slices with brain.
    n_truth, n_detected, n_predicted, n_correct
        Lesions, as in :class:`mbseg_bids.evaluation.lesion.Score`.
    voxel_dice
        Overlap of all lesion voxels with all found ones.
    cpu_seconds, wall_seconds
        From the stack to the probability map.
    """

    scan: str
    network: str
    patch_size: int
    stride: str
    n_slices: int
    n_truth: int
    n_detected: int
    n_predicted: int
    n_correct: int
    voxel_dice: float
    cpu_seconds: float
    wall_seconds: float


def evaluate_unet(
    model: nn.Module,
    metadata: UNetMetadata,
    scan: LabelledScan,
    stride: Fraction,
    settings: DetectionSettings,
    *,
    blend: Blend = "centre",
    device: Device = "auto",
) -> ScanRow:
    """Run a U-Net with one stride over a scan, segment lesions from its map as from any other, and match them."""
    windows = SlidingWindow(metadata.patch_size, float(stride), blend)

    def predict() -> npt.NDArray[np.float32]:
        return predict_scan(model, scan.stack, scan.brain, windows, device=device)

    return _evaluate(scan, predict, settings, "U-Net", metadata.patch_size, str(stride))


def evaluate_resnet(
    model: nn.Module,
    metadata: WeightsMetadata,
    scan: LabelledScan,
    settings: DetectionSettings,
    *,
    n_workers: int = 1,
) -> ScanRow:
    """Run the patch classifier over a scan as the BIDS App does (search mask and all), for comparison."""
    case = scan.as_case()

    def predict() -> npt.NDArray[np.float32]:
        return probability_map(model, metadata, case, settings, n_workers=n_workers)

    return _evaluate(scan, predict, settings, "ResNet-50", metadata.patch_size, "n/a")


def _evaluate(
    scan: LabelledScan,
    predict: Callable[[], npt.NDArray[np.float32]],
    settings: DetectionSettings,
    network: str,
    patch_size: int,
    stride: str,
) -> ScanRow:
    wall, cpu = time.perf_counter(), time.process_time()
    probability = predict()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    found, _ = score_scan(
        scan.as_case(),
        probability,
        settings,
        threshold=settings.probability_threshold,
        minimum_volume=MINIMUM_VOLUME,
    )
    _, n_truth, n_predicted, n_detected, n_correct = found.score.counts
    n_slices = int(scan.brain.any(axis=(0, 1)).sum())
    return ScanRow(
        scan.name, network, patch_size, stride, n_slices, n_truth, n_detected, n_predicted, n_correct,
        round(found.dice, 4), round(cpu, 2), round(wall, 2),
    )  # fmt: skip


def patch_sensitivity(
    model: nn.Module, metadata: UNetMetadata, scan: LabelledScan, *, batch_size: int = 20
) -> tuple[int, int]:
    """Return how many microbleeds a window about each of them finds, and how many there are (figure 12A).

    The window lies on the lesion's slice of largest area, about its voxel nearest to the centroid there, or on the
    middle of the slice where windows are whole slices. Found: any voxel of the lesion with a probability of 0.5.
    """
    volume = float(np.prod(scan.spacing))
    sizes = np.bincount(scan.lesions[scan.lesions > 0], minlength=1)
    labels = [int(n) for n in np.flatnonzero(sizes) if sizes[n] * volume >= MINIMUM_VOLUME * (1 - 1e-6)]
    images, masks = [], []
    for label in labels:
        image, mask = _lesion_window(scan, label, metadata.patch_size)
        images.append(image)
        masks.append(mask)
    found = 0
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(labels), batch_size):
            batch = torch.from_numpy(np.stack(images[start : start + batch_size])).float() / 255
            logits = model(batch)
            positive = (logits[:, 1] >= logits[:, 0]).numpy() & np.stack(masks[start : start + batch_size])
            found += int(positive.any(axis=(1, 2)).sum())
    return found, len(labels)


def _lesion_window(scan: LabelledScan, label: int, size: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    voxels = np.argwhere(scan.lesions == label)
    k = int(np.bincount(voxels[:, 2]).argmax())
    inside = voxels[voxels[:, 2] == k][:, :2]
    nearest = np.argmin(((inside - inside.mean(axis=0)) ** 2).sum(axis=1))
    centre = tuple(inside[nearest].tolist())
    if size >= FULL_SLICE:
        centre = scan.brain.shape[0] // 2, scan.brain.shape[1] // 2
    mask = window((scan.lesions[None, :, :, k] == label), centre, size)[0]
    return window(scan.levels[..., k], centre, size), mask
