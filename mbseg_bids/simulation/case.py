"""One simulated scan, ready to train on: all contrasts on the detection grid, with its truth."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from mbseg_bids.imaging.intensity import standardise
from mbseg_bids.imaging.regions import PALLIDUM
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation import acquisition as acq
from mbseg_bids.simulation.anatomy import crop_to_brain, make_anatomy
from mbseg_bids.simulation.geometry import small_move
from mbseg_bids.simulation.lesions import REGION_SHARES, draw_microbleeds
from mbseg_bids.simulation.mimics import draw_mimics
from mbseg_bids.simulation.protocol import Protocol, draw_protocol
from mbseg_bids.simulation.scan import (
    acquire,
    keep_labels,
    lesion_table,
    paint_contrasts,
    render_features,
    white_matter_mean,
)


@dataclass(frozen=True, eq=False)
class Case:
    """A simulated scan on the detection grid: axes 0 and 1 in plane (1 mm), axis 2 across slices.

    Attributes
    ----------
    stack
        Shape (3, I, J, K), float32, 0-100: T2*, T2w, T1w.
    lesions
        Shape (I, J, K), int32: one integer per visible microbleed, 0 elsewhere.
    lesion_table
        One row a microbleed, `index` as in `lesions`.
    mimics
        Shape (I, J, K), uint8: keys of `mimics.MIMICS`.
    tissue, regions, brain
        Shape (I, J, K): uint8 classes of imaging.labels, bool.
    spacing
        mm.
    affine
        Voxel indices to scanner RAS+ mm.
    protocol
        What the scan was made with.
    pallidum
        Shape (I, J, K), bool; None where it is not known.
    """

    stack: npt.NDArray[np.float32]
    lesions: npt.NDArray[np.int32]
    lesion_table: pd.DataFrame
    mimics: npt.NDArray[np.uint8]
    tissue: npt.NDArray[np.uint8]
    regions: npt.NDArray[np.uint8]
    brain: npt.NDArray[np.bool_]
    spacing: tuple[float, float, float]
    affine: npt.NDArray[np.float64]
    protocol: Protocol | None
    pallidum: npt.NDArray[np.bool_] | None = None


def simulate_training_case(
    labelmap: Volume,
    rng: np.random.Generator,
    *,
    protocol: Protocol | None = None,
    n_lesions: int | None = None,
    mimic_load: float = 1.0,
    shares: dict[int, float] = REGION_SHARES,
    grey_white: tuple[Volume, Volume] | None = None,
    vary_contrast: bool = False,
    device: torch.device | str = "cpu",
) -> Case:
    """A new head, scanned, on the detection grid.

    Parameters
    ----------
    labelmap
        FreeSurfer-numbered label map, see `anatomy`.
    rng
        Source of everything random: the same generator state gives the same case.
    protocol
        Drawn if not given. T2* in-plane voxels of 0.5 mm are averaged to 1 mm, others taken as 1 mm.
    n_lesions
        Microbleeds to place, some of which may turn out invisible; 40-80 if not given, for many examples per scan.
    mimic_load
        Multiplies the number of vessels.
    shares
        Relative frequency of microbleeds by region.
    grey_white
        See `anatomy.make_anatomy`.
    vary_contrast
        Whether tissues get contrasts of their own, beyond those of real sequences: for training, not for testing.
    device
        Where torch computes the fields of microbleeds and vessels.
    """
    protocol = draw_protocol(rng) if protocol is None else protocol
    head = make_anatomy(labelmap, rng, grey_white=grey_white)
    anatomy = crop_to_brain(head)
    n_lesions = int(rng.integers(40, 81)) if n_lesions is None else n_lesions
    features = draw_microbleeds(anatomy, n_lesions, rng, shares=shares) + draw_mimics(anatomy, rng, load=mimic_load)
    spread = draw_contrast_spread(rng) if vary_contrast else (0.0, 0.0, 0.0)
    t2star, t2w, t1w = paint_contrasts(anatomy, protocol, features, rng, contrast_spread=spread, device=device)

    factor = max(1, round(1 / protocol.spacing[0]))
    spacing = (1.0, 1.0, protocol.spacing[2])
    affine, shape = acq.scan_grid(anatomy, spacing, protocol.tilt)
    source = anatomy.labels.affine
    maps = (anatomy.brain, anatomy.regions, anatomy.tissue, anatomy.select(*PALLIDUM))
    votes = acq.map_votes(maps, source, affine, shape)
    brain = votes[0] > 0
    regions, tissue = votes[1] * brain, votes[2] * brain
    rendering = render_features(features, t2star, affine, shape, protocol, factor=factor, device=device)
    rendering.lesions[~brain] = 0
    rendering.mimics[~brain] = 0
    kept = [label for label in range(1, len(rendering.numbers) + 1) if (rendering.lesions == label).any()]
    rendering = keep_labels(rendering, kept)

    dropout = acq.dropout_factor(acq.air_dephasing(head, protocol), affine, shape, protocol.echo_time)
    # After bias correction a part of the receive field remains.
    left = float(rng.uniform(0.1, 0.6))
    channels = [
        acquire(
            t2star, affine, shape, rng,
            sigma=white_matter_mean(t2star, anatomy) / protocol.snr[0] / factor,
            bias=protocol.bias[0] * left, ringing=protocol.ringing, kept=protocol.kept, motion=protocol.motion[0],
            modulation=rendering.ratio * dropout,
        )
    ]  # fmt: skip
    centre = source[:3, 3] + np.array(anatomy.labels.shape) / 2
    for number, (image, own) in enumerate(((t2w, protocol.t2w_spacing), (t1w, protocol.t1w_spacing)), start=1):
        tilt = rng.normal(0, 0.06, 3).tolist()
        own_affine, own_shape = acq.scan_grid(anatomy, own, tilt)
        scan = acquire(
            image, own_affine, own_shape, rng,
            sigma=white_matter_mean(image, anatomy) / protocol.snr[number],
            bias=protocol.bias[number] * left, ringing=protocol.ringing * float(rng.uniform(0, 1)),
            kept=protocol.kept, motion=protocol.motion[number],
        )  # fmt: skip
        # What registration leaves: about 0.4 mm.
        error = small_move(rng, 0.4, 0.004, centre)
        channels.append(acq.resample(scan, own_affine, affine, shape, move=error))
    stack = np.stack([standardise(channel, brain) for channel in channels])
    table = lesion_table(rendering, features, regions, affine)
    truth = (rendering.lesions, table, rendering.mimics, tissue, regions, brain)
    return Case(stack, *truth, spacing, affine, protocol, votes[3] > 0)


def draw_contrast_spread(rng: np.random.Generator) -> tuple[float, float, float]:
    """Log standard deviations of the signal of a tissue on T2*, T2w, T1w; now and then far from any real sequence."""
    wild = rng.random(3) < 0.2
    return tuple(np.where(wild, (0.12, 0.35, 0.3), (0.04, 0.12, 0.1)).tolist())
