"""One scan of a head with its features: signal, truth, noise. Shared by training cases and whole datasets."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from mbseg_bids.imaging.labels import WM
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation import acquisition as acq
from mbseg_bids.simulation.anatomy import TISSUE_TABLE, Anatomy
from mbseg_bids.simulation.geometry import smooth_field
from mbseg_bids.simulation.kspace import displace, measure
from mbseg_bids.simulation.lesions import block_ratio, block_truth
from mbseg_bids.simulation.mimics import MIMIC_NUMBERS
from mbseg_bids.simulation.protocol import Protocol, label_signals
from mbseg_bids.simulation.relaxation import Relaxation, tissue_of, tissue_relaxation
from mbseg_bids.simulation.rendering import occupancy, render
from mbseg_bids.simulation.susceptibility import Feature
from mbseg_bids.simulation.swi import SWI_REACH, phase_mask
from mbseg_bids.simulation.truth import MIMIC_RATIO, Rendering

T1W_ECHO = 3.0
"""ms: microbleeds darken T1w too, by what they dephase until then."""

IRON_TISSUES = ("caudate", "putamen", "pallidum", "thalamus", "dentate", "midbrain_nucleus")
"""Whose T2* varies with their iron from place to place."""

_GROUPS = {"csf": ("csf", "lacune", "eye"), "cortex": ("cortex", "hippocampus", "cerebellar_cortex")}


def paint_contrasts(
    anatomy: Anatomy,
    protocol: Protocol,
    features: Sequence[Feature],
    rng: np.random.Generator,
    *,
    contrast_spread: Sequence[float] = (0.0, 0.0, 0.0),
    t2star_of_white: Mapping[str, float] | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Volume, Volume, Volume]:
    """Noise-free signal of T2*, T2w, T1w on the anatomy's grid.

    Features are in the last two already, by the share of each voxel that they fill; on T2* they act through `render`.
    `contrast_spread` is the log standard deviation of a random factor for each tissue, contrast by contrast: beyond
    what any sequence gives, so that a network does not come to rely on one (Billot et al. 2023, SynthSeg).
    `t2star_of_white` is the T2* signal of "csf" and "cortex" relative to white matter, where that is given.
    """
    tissues = tissue_relaxation(protocol.field_strength, anatomy.age, rng)
    signals = [
        {name: signal * float(np.exp(spread * rng.normal())) if spread else signal for name, signal in table.items()}
        for table, spread in zip(label_signals(protocol, tissues), contrast_spread, strict=True)
    ]
    for name, of_white in (t2star_of_white or {}).items():
        scale = of_white * signals[0]["white_matter"] / signals[0][name]
        for tissue in _GROUPS[name]:
            signals[0][tissue] *= scale
    shape = anatomy.labels.shape
    fine = smooth_field(shape, 2.5, rng)
    coarse = smooth_field(shape, 9.0, rng)
    images = []
    for table in signals:
        amount = rng.uniform(0.01, 0.04, 2) * rng.choice([-1, 1], 2)
        images.append(acq.paint(anatomy, table, np.exp(amount[0] * fine + amount[1] * coarse)))
    add_iron_texture(images[0], anatomy, tissues, protocol.echo_time, rng)
    for feature in features:
        found = occupancy(feature.sources, anatomy.labels.affine, shape, device=device)
        if found is None:
            continue
        box, share = found
        images[1].data[box] *= 1 - share * (1 - feature.t2w)
        images[2].data[box] *= 1 - share * (1 - feature.t1w)
        if feature.kind == "microbleed":
            patch = render(
                feature.sources, anatomy.labels.affine, shape,
                echo_time=T1W_ECHO, field_strength=protocol.field_strength, pitch=0.34, device=device,
            )  # fmt: skip
            if patch is not None:
                images[2].data[patch.box] *= np.abs(patch.ratio)
    t2star, t2w, t1w = images
    return t2star, t2w, t1w


def add_iron_texture(
    t2star: Volume, anatomy: Anatomy, tissues: Mapping[str, Relaxation], echo_time: float, rng: np.random.Generator
) -> None:
    """Let R2* of the deep nuclei vary by 15 to 25 % over 1 to 2 mm, as iron does; the image is changed in place."""
    rates = np.array([1 / tissues[name].t2star if (name := tissue_of(n)) in IRON_TISSUES else 0 for n in range(1000)])
    labels = anatomy.labels.data
    nuclei = np.isin(labels, np.flatnonzero(rates))
    if not nuclei.any():
        return
    box = ndimage.find_objects(nuclei.astype(np.uint8))[0]
    noise = smooth_field(nuclei[box].shape, float(rng.uniform(1.0, 2.0)), rng, sigma=1.5)
    rate = rates[labels[box] * nuclei[box]].astype(np.float32)
    t2star.data[box] *= np.exp(-np.float32(echo_time * rng.uniform(0.15, 0.25)) * rate * noise)


def render_features(
    features: Sequence[Feature],
    background: Volume,
    affine: npt.NDArray[np.float64],
    shape: Sequence[int],
    protocol: Protocol,
    *,
    factor: int = 1,
    device: torch.device | str = "cpu",
) -> Rendering:
    """T2* signal ratio and truth of features on a grid.

    Parameters
    ----------
    background
        Noise-free T2* signal of the tissue.
    affine, shape
        Of the grid of the result.
    factor
        The scanner's in-plane voxels are this many times smaller than those of the grid.
    device
        Where torch computes the fields.
    """
    native = affine.copy()
    native[:3, :2] /= factor
    native[:3, 3] += (native[:3, :2] - affine[:3, :2]).sum(axis=1) / 2
    native_shape = (shape[0] * factor, shape[1] * factor, shape[2])
    ratio = np.ones(tuple(shape), dtype=np.float32)
    lesions = np.zeros(tuple(shape), dtype=np.int32)
    mimics = np.zeros(tuple(shape), dtype=np.uint8)
    numbers, darkest = [], []
    background = Volume(torch.as_tensor(background.data, device=device), background.affine)
    for number, feature in enumerate(features):
        patch = render(
            feature.sources,
            native,
            native_shape,
            background=background,
            echo_time=protocol.echo_time,
            field_strength=protocol.field_strength,
            tissue_t2star=feature.tissue_t2star,
            reach=SWI_REACH if protocol.swi else 1.0,
            pitch=0.25 if feature.kind == "microbleed" else 0.4,
            multiple=(factor, factor, 1),
            device=device,
            gap=protocol.gap,
        )
        if patch is None:
            continue
        box = tuple(
            slice(side.start // f, side.stop // f) for side, f in zip(patch.box, (factor, factor, 1), strict=True)
        )
        if protocol.swi:
            mask = phase_mask(patch.ratio, np.linalg.norm(native[:3, :3], axis=0))
            patch = replace(patch, ratio=patch.ratio * mask)
        local = block_ratio(patch, factor)
        ratio[box] *= local
        if feature.kind != "microbleed":
            part = mimics[box]
            part[local < MIMIC_RATIO] = MIMIC_NUMBERS[feature.kind]
            continue
        truth = block_truth(patch, factor) & (lesions[box] == 0)
        if truth.any():
            numbers.append(number)
            darkest.append(float(local.min()))
            lesions[box][truth] = len(numbers)
    mimics[lesions > 0] = 0
    return Rendering(ratio, lesions, mimics, numbers, darkest)


def acquire(
    image: Volume,
    affine: npt.NDArray[np.float64],
    shape: Sequence[int],
    rng: np.random.Generator,
    *,
    sigma: float,
    bias: float,
    ringing: float,
    kept: float = 0.8,
    motion: float = 0.0,
    modulation: npt.NDArray[np.float32] | None = None,
    move: npt.NDArray[np.float64] | None = None,
    gap: float = 0.0,
    white_noise: bool = True,
    epi: int = 0,
    shift: npt.NDArray[np.float32] | None = None,
    turn: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32] | npt.NDArray[np.complex64]:
    """Scan an image on a grid: partial volume, then modulation and receive field, ringing, ghosts, Rician noise.

    With `white_noise` off, noise is added in k-space, before the cut.

    Parameters
    ----------
    sigma
        Of the noise, in the units of the image.
    bias, ringing, kept, motion, gap, white_noise, epi
        See `protocol.Protocol`; here `kept` is relative to the grid.
    modulation
        On the grid; multiplies the signal (`Rendering.ratio`, dropout).
    move
        World of this scan to world of the image, 4 x 4.
    shift
        Displacement of the signal along axis 1, voxels, on the grid.
    turn
        Phase of the signal, radians, on the grid; with `white_noise` only. Ringing acts on it as on the magnitude,
        ghosts do not.

    Returns
    -------
    The magnitude; with `turn` the complex signal, whose magnitude has the same noise as without.
    """
    scan = acq.box_average(image, affine, shape, move=move, gap=gap)
    if modulation is not None:
        scan *= modulation
    if shift is not None:
        scan = displace(scan, shift)
    scan *= acq.bias_field(shape, affine, rng, bias)
    if white_noise:
        scan = np.abs(acq.add_ringing(scan, ringing, kept=kept))
    if motion > 0:
        axis = int(rng.random() < 0.7)  # phase runs from front to back more often than from side to side
        amplitude = motion / float(np.linalg.norm(affine[:3, axis]))
        scan = acq.add_ghosts(
            scan, amplitude, period=float(rng.uniform(2.5, 25)), start=float(rng.uniform(0, 2 * np.pi)), axis=axis
        )
    if turn is not None:
        if not white_noise:
            raise ValueError("a phase needs white noise")
        along, across = acq.noisy_parts(scan, sigma, rng)
        seen = [acq.add_ringing(scan * part(turn), ringing, kept=kept) for part in (np.cos, np.sin)]
        return ((along + 1j * across) * np.exp(1j * np.arctan2(seen[1], seen[0]))).astype(np.complex64)
    if white_noise:
        return acq.add_rician_noise(scan, sigma, rng)
    return measure(scan, rng, sigma=sigma, kept=kept, ringing=ringing, epi=epi)


def white_matter_mean(image: Volume, anatomy: Anatomy) -> float:
    """Mean signal of an image, on the grid of the anatomy, in white matter."""
    return float(image.data[TISSUE_TABLE[anatomy.labels.data] == WM].mean())
