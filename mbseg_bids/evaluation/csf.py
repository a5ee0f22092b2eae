"""The whole-brain CSF map of a network against a tissue segmentation: Dice, volume, picture.

The CSF result of Dadar et al. 2022 ("CSF segmentation", figure 7), who compare with BISON.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import nn

from mbseg_bids.detection.network.classify import Progress, classifier
from mbseg_bids.detection.network.weights import WeightsMetadata

BOTH, TRUTH_ONLY, FOUND_ONLY = "#ffd700", "#8a2be2", "#2e8b57"
"""Yellow, purple and green, as in figure 7."""


@dataclass(frozen=True)
class CsfScore:
    """Agreement of two CSF maps inside the brain mask.

    Attributes
    ----------
    dice
        2 * common / (true + found); not a number where both are empty.
    sensitivity, precision
        Voxel-wise.
    true_volume, found_volume
        cm3.
    """

    dice: float
    sensitivity: float
    precision: float
    true_volume: float
    found_volume: float


def score_csf(
    probability: npt.NDArray[np.floating],
    truth: npt.NDArray[np.bool_],
    brain: npt.NDArray[np.bool_],
    spacing: tuple[float, float, float],
    *,
    threshold: float = 0.5,
) -> CsfScore:
    """Compare a probability map with the truth.

    Parameters
    ----------
    probability, truth, brain
        Shape (I, J, K). Voxels outside the brain do not count.
    spacing
        mm.
    threshold
        Smallest probability of CSF.
    """
    if not probability.shape == truth.shape == brain.shape:
        raise ValueError(f"arrays of different shapes: {probability.shape}, {truth.shape}, {brain.shape}")
    found, truth = (probability >= threshold) & brain, truth & brain
    common, n_found, n_true = int((found & truth).sum()), int(found.sum()), int(truth.sum())
    litre = math.prod(spacing) / 1000
    return CsfScore(
        dice=_part(2 * common, n_found + n_true),
        sensitivity=_part(common, n_true),
        precision=_part(common, n_found),
        true_volume=n_true * litre,
        found_volume=n_found * litre,
    )


def csf_probability(
    model: nn.Module,
    metadata: WeightsMetadata,
    stack: npt.NDArray[np.float32],
    brain: npt.NDArray[np.bool_],
    *,
    batch_size: int | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    n_workers: int = 1,
    progress: Progress | None = None,
) -> npt.NDArray[np.float32]:
    """Ask the patch classifier of stage 1 about every brain voxel.

    Parameters
    ----------
    model, metadata
        Of :func:`mbseg_bids.detection.network.weights.load_weights`.
    stack, brain
        Shapes (3, I, J, K), 0-100, and (I, J, K), on the detection grid.
    batch_size, device, n_workers, progress
        As in :func:`mbseg_bids.detection.network.classify.classify_voxels`.

    Returns
    -------
    Shape (I, J, K), zero outside the brain.
    """
    probability = np.zeros(brain.shape, np.float32)
    options = {"batch_size": batch_size, "device": device, "n_workers": n_workers, "progress": progress}
    probability[brain] = classifier(model, metadata, stack, **options)(np.argwhere(brain))
    return probability


def draw_csf(
    image: npt.NDArray[np.floating],
    truth: npt.NDArray[np.bool_],
    found: dict[str, npt.NDArray[np.bool_]],
    slices: Sequence[int],
) -> bytes:
    """Draw slices as in figure 7: yellow where both say CSF, purple the truth alone, green the network alone.

    Parameters
    ----------
    image
        Shape (I, J, K), 0-100: the background, T1w in the paper. Axes to Right, Anterior and across slices.
    truth
        Shape (I, J, K).
    found
        CSF by each network, by its name: one row each.
    slices
        Indices along K: one column each.

    Returns
    -------
    A PNG file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import to_rgba
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    figure = Figure(figsize=(max(3.6, 2.1 * len(slices) + 0.3), 2.6 * len(found) + 0.4), layout="constrained")
    axes = figure.subplots(len(found), len(slices), squeeze=False)
    for row, (name, mask) in zip(axes, found.items(), strict=True):
        row[0].set_ylabel(name)
        for axis, k in zip(row, slices, strict=True):
            overlay = np.zeros((*truth.shape[:2], 4))
            t, f = truth[:, :, k], mask[:, :, k]
            for where, colour in ((t & f, BOTH), (t & ~f, TRUTH_ONLY), (f & ~t, FOUND_ONLY)):
                overlay[where] = to_rgba(colour, 0.85)
            axis.imshow(_plane(image[:, :, k]), cmap="gray", vmin=0, vmax=100, interpolation="nearest")
            axis.imshow(_plane(overlay), interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.set_xlabel(f"slice {k}", fontsize=7)
    labels = ((BOTH, "both"), (TRUTH_ONLY, "truth only"), (FOUND_ONLY, "network only"))
    figure.legend(handles=[Patch(color=c, label=t) for c, t in labels], loc="outside lower center", ncols=3, fontsize=8)
    FigureCanvasAgg(figure)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return buffer.getvalue()


def _plane(section: npt.NDArray) -> npt.NDArray:
    """Turn (I, J, ...) into rows and columns: anterior up, the patient's right on the left."""
    return np.swapaxes(section[::-1, ::-1], 0, 1)


def _part(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
