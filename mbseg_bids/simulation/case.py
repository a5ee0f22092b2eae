"""One simulated scan, ready to train on: all contrasts on the detection grid, with its truth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from mbseg_bids.imaging.intensity import standardise
from mbseg_bids.imaging.labels import CSF
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation import acquisition as acq
from mbseg_bids.simulation.anatomy import Anatomy, crop_to_brain, make_anatomy
from mbseg_bids.simulation.breadth import WILD_SPREAD, Breadth, draw_breadth, moved, seen_brain, seen_tissue
from mbseg_bids.simulation.geometry import small_move
from mbseg_bids.simulation.kspace import displace, epi_shift, low_pass, width_kept
from mbseg_bids.simulation.lesions import REGION_SHARES, draw_microbleeds
from mbseg_bids.simulation.mimics import MIMIC_NUMBERS, draw_mimics
from mbseg_bids.simulation.protocol import Protocol, draw_protocol
from mbseg_bids.simulation.relaxation import DURA
from mbseg_bids.simulation.scan import acquire, paint_contrasts, render_features, white_matter_mean
from mbseg_bids.simulation.susceptibility import Feature
from mbseg_bids.simulation.truth import Rendering, blur_truth, keep_labels, lesion_table

_VOTES_APART = (13, 52)
"""FreeSurfer numbers of the pallidum. Where structures share a voxel it votes apart from other deep grey matter, so
that a seed gives the scans it has always given."""


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
        Shape (I, J, K): uint8 classes of imaging.labels, bool; as a run has them, with errors of mask and map.
    spacing
        mm.
    affine
        Voxel indices to scanner RAS+ mm.
    protocol
        What the scan was made with.
    true_tissue
        Shape (I, J, K): as `tissue`, without the errors of a segmentation; None where it is not known.
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
    true_tissue: npt.NDArray[np.uint8] | None = None


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
    wide: bool = True,
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
    wide
        Whether vessels are everywhere, dura is there, and tissue contrasts, voxels, mask and tissue map vary as between
        hospitals, see `breadth`, `protocol.widen`, `mimics.draw_mimics`. Without, as `mbseg simulate` makes its scans.
    device
        Where torch computes the fields of microbleeds and vessels.
    """
    protocol = draw_protocol(rng, wide=wide, swi_share=0.2 if wide else 0.1) if protocol is None else protocol
    breadth = draw_breadth(rng) if wide else Breadth({})
    head = make_anatomy(labelmap, rng, grey_white=grey_white, dura=wide)
    anatomy = crop_to_brain(head)
    n_lesions = int(rng.integers(40, 81)) if n_lesions is None else n_lesions
    features = draw_microbleeds(anatomy, n_lesions, rng, shares=shares)
    features += draw_mimics(anatomy, rng, load=mimic_load, wide=wide)
    spread = draw_contrast_spread(rng) if vary_contrast else (0.0, 0.0, 0.0)
    contrasts = paint_contrasts(
        anatomy, protocol, features, rng,
        contrast_spread=(WILD_SPREAD,) * 3 if breadth.wild else spread,
        t2star_of_white=breadth.t2star_of_white, device=device,
    )  # fmt: skip
    affine, shape = acq.scan_grid(anatomy, (1.0, 1.0, protocol.spacing[2]), protocol.tilt)
    maps = _maps(anatomy, breadth, affine, shape, rng)
    field = acq.head_field(head, protocol)
    rendering = _rendered(anatomy, features, contrasts[0], affine, shape, protocol, device)
    t2star = _scan_t2star(contrasts[0], anatomy, rendering, field, affine, shape, protocol, rng)
    rendering = _truth_as_seen(rendering, field, affine, shape, protocol)
    rendering.lesions[~maps["brain"]] = 0
    rendering.mimics[~maps["brain"]] = 0
    kept = [label for label in range(1, len(rendering.numbers) + 1) if (rendering.lesions == label).any()]
    rendering = keep_labels(rendering, kept)
    others = _scan_others(contrasts[1:], anatomy, affine, shape, protocol, rng)
    stack = np.stack([standardise(channel, maps["brain"]) for channel in (t2star, *others)])
    table = lesion_table(rendering, features, maps["regions"], affine)
    spacing = (1.0, 1.0, protocol.spacing[2])
    return Case(
        stack, rendering.lesions, table, rendering.mimics, spacing=spacing, affine=affine, protocol=protocol, **maps
    )


def _maps(
    anatomy: Anatomy, breadth: Breadth, affine: npt.NDArray, shape: tuple[int, int, int], rng: np.random.Generator
) -> dict[str, npt.NDArray]:
    """Brain mask, tissue and regions as a run has them, and the tissue as it is."""
    source = anatomy.labels.affine
    tissue, regions, apart = anatomy.tissue, anatomy.regions, anatomy.select(*_VOTES_APART)
    votes = acq.map_votes((anatomy.brain, regions, tissue, apart), source, affine, shape)
    brain = true_brain = votes[0] > 0
    true_tissue = votes[2] * true_brain
    if any(breadth.tissue_shift):
        source = moved(source, breadth.tissue_shift)
        votes = acq.map_votes((anatomy.brain, regions, tissue, apart), source, affine, shape)
    seen = votes[2]
    if breadth.csf_level is not None:
        seen = seen_tissue(seen, tissue == CSF, source, affine, breadth.csf_level, rng)
    if breadth.mask_level is not None:
        brain = seen_brain(anatomy.brain, anatomy.labels.affine, affine, shape, breadth.mask_level, rng)
    # What a mask includes beyond the brain, bone and air, is dark on T1w: CSF to a segmentation.
    seen = np.where(brain & (seen == 0), np.uint8(CSF), seen) if breadth != Breadth({}) else seen
    return {
        "brain": brain,
        "tissue": seen * brain,
        "regions": votes[1] * brain,
        "true_tissue": true_tissue * brain,
    }


def _rendered(
    anatomy: Anatomy, features: list[Feature], t2star: Volume, affine: npt.NDArray, shape: tuple[int, int, int],
    protocol: Protocol, device: torch.device | str,
) -> Rendering:  # fmt: skip
    """Features on the detection grid, sheets of dura among the mimics."""
    factor = max(1, round(1 / protocol.spacing[0]))
    rendering = render_features(features, t2star, affine, shape, protocol, factor=factor, device=device)
    (dura,) = acq.map_votes((anatomy.select(DURA),), anatomy.labels.affine, affine, shape)
    rendering.mimics[(dura > 0) & (rendering.mimics == 0) & (rendering.lesions == 0)] = MIMIC_NUMBERS["dura"]
    return rendering


def _scan_t2star(
    image: Volume, anatomy: Anatomy, rendering: Rendering, field: Volume, affine: npt.NDArray,
    shape: tuple[int, int, int], protocol: Protocol, rng: np.random.Generator,
) -> npt.NDArray[np.float32]:  # fmt: skip
    """The T2*-weighted scan; of its receive field a part remains after bias correction."""
    factor = max(1, round(1 / protocol.spacing[0]))
    gradients = acq.air_dephasing(anatomy, protocol, field=field)
    dropout = acq.dropout_factor(gradients, affine, shape, protocol.echo_time)
    scan = acquire(
        image, affine, shape, rng,
        sigma=white_matter_mean(image, anatomy) / protocol.snr[0] / factor,
        bias=protocol.bias[0] * float(rng.uniform(0.1, 0.6)), ringing=protocol.ringing,
        kept=width_kept(protocol, affine), motion=protocol.motion[0], modulation=rendering.ratio * dropout,
        gap=protocol.gap, white_noise=protocol.white_noise, epi=protocol.epi,
        shift=_shift(field, affine, shape, protocol),
    )  # fmt: skip
    return cast("npt.NDArray[np.float32]", scan)  # complex only where a phase is asked for


def _shift(
    field: Volume, affine: npt.NDArray, shape: tuple[int, int, int], protocol: Protocol
) -> npt.NDArray[np.float32] | None:
    if not protocol.epi:
        return None
    return epi_shift(acq.resample(field.data, field.affine, affine, shape, mode="nearest"), affine, protocol)


def _truth_as_seen(
    rendering: Rendering, field: Volume, affine: npt.NDArray, shape: tuple[int, int, int], protocol: Protocol
) -> Rendering:
    """Truth of a scan of coarser voxels than the grid, or displaced: what can be seen there, where it is seen."""
    if protocol.spacing[0] > 1.05:
        rendering = blur_truth(rendering, low_pass(rendering.ratio, width_kept(protocol, affine), protocol.ringing))
    shift = _shift(field, affine, shape, protocol)
    if shift is None:
        return rendering
    lesions, mimics = (displace(labels, shift, order=0) for labels in (rendering.lesions, rendering.mimics))
    return replace(rendering, lesions=lesions, mimics=mimics)


def _scan_others(
    images: Sequence[Volume], anatomy: Anatomy, affine: npt.NDArray, shape: tuple[int, int, int], protocol: Protocol,
    rng: np.random.Generator,
) -> list[npt.NDArray]:  # fmt: skip
    """T2w and T1w on grids of their own, then on that of T2*, with what registration leaves."""
    centre = anatomy.labels.affine[:3, 3] + np.array(anatomy.labels.shape) / 2
    scans = []
    for number, (image, own) in enumerate(zip(images, (protocol.t2w_spacing, protocol.t1w_spacing), strict=True), 1):
        own_affine, own_shape = acq.scan_grid(anatomy, own, rng.normal(0, 0.06, 3).tolist())
        scan = acquire(
            image, own_affine, own_shape, rng,
            sigma=white_matter_mean(image, anatomy) / protocol.snr[number],
            bias=protocol.bias[number] * float(rng.uniform(0.1, 0.6)),
            ringing=protocol.ringing * float(rng.uniform(0, 1)),
            kept=protocol.kept, motion=protocol.motion[number], white_noise=protocol.white_noise,
        )  # fmt: skip
        error = small_move(rng, protocol.misregistration, 0.01 * protocol.misregistration, centre)
        scans.append(acq.resample(scan, own_affine, affine, shape, move=error))
    return scans


def draw_contrast_spread(rng: np.random.Generator) -> tuple[float, float, float]:
    """Log standard deviations of the signal of a tissue on T2*, T2w, T1w; now and then far from any real sequence."""
    wild = rng.random(3) < 0.2
    return tuple(np.where(wild, (0.12, 0.35, 0.3), (0.04, 0.12, 0.1)).tolist())
