"""Augmentation of training patches: the slice turned about the voxel, and small changes of intensity."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """What is varied each time a training patch is shown; validation and test patches never are.

    Attributes
    ----------
    rotations
        Random rotations for each upright showing (19 in the paper): a patch is turned with probability
        rotations / (rotations + 1), by a new angle each time. Negatives are turned as often as lesions: else the
        network could tell a lesion by the smoothness that interpolation leaves.
    mirror
        Whether half of all patches are mirrored.
    exact
        Fraction of the turned patches that are turned by a multiple of 90 degrees, which needs no interpolation.
    gain
        Each contrast is multiplied by a factor in 1 -/+ gain.
    noise
        Largest standard deviation of added noise, in units of the scaled patch (0-1).
    gamma
        Each contrast is raised to a power in exp(-/+ gamma).
    shift
        Largest shift of T2w and T1w against T2*, voxels along each axis: what registration may leave.
    blur
        Largest share of a 3 x 3 binomial filter mixed into each contrast.
    drop
        Probability that T2w and that T1w is missing: a channel of zeros, as in a scan that lacks the contrast.
    decentre
        Largest shift of half of all patches as a whole, voxels along each axis: a candidate's centre is not known to
        the voxel.
    """

    rotations: int = 19
    mirror: bool = False
    exact: float = 0.0
    gain: float = 0.0
    noise: float = 0.0
    gamma: float = 0.0
    shift: float = 0.0
    blur: float = 0.0
    drop: tuple[float, float] = (0.0, 0.0)
    decentre: float = 0.0


_sample = partial(functional.grid_sample, mode="bilinear", padding_mode="zeros", align_corners=True)

NONE = Augmentation(rotations=0)


@dataclass(frozen=True, eq=False)
class Variation:
    """What is drawn for the patches of one batch; small, so that it is drawn on the host wherever patches lie.

    Attributes
    ----------
    angles, mirrored
        Shape (N,): radians; bool.
    shifts
        Shape (N, 3, 2), voxels, for each contrast; None: none.
    blur, power, gain
        Shape (N, 3, 1, 1): share of the filtered patch, exponent, factor, for each contrast; None: none.
    noise
        Shape (N, 1, 1, 1): standard deviation; None: none.
    kept
        Shape (N, 3): 0 where a contrast is missing; None: none is.
    changed
        Whether intensities are changed at all, so that they must be brought back to 0-1.
    """

    angles: npt.NDArray[np.float64]
    mirrored: npt.NDArray[np.bool_]
    shifts: npt.NDArray[np.float32] | None
    blur: npt.NDArray[np.float32] | None
    power: npt.NDArray[np.float32] | None
    gain: npt.NDArray[np.float32] | None
    noise: npt.NDArray[np.float32] | None
    kept: npt.NDArray[np.float32] | None
    changed: bool


Field = Callable[[tuple[int, ...]], torch.Tensor]
"""From a shape to standard normal noise of that shape, on the device of the patches."""


def augment(
    wide: npt.NDArray[np.uint8],
    size: int,
    augmentation: Augmentation,
    rng: np.random.Generator,
    contrasts: Sequence[int] = (0, 1, 2),
) -> torch.Tensor:
    """Cut network patches (N, C, size, size), float32 0-1, out of wide ones (N, C, W, W), varied at random.

    ``contrasts`` says for each channel which contrast it shows, 0 T2*, 1 T2w, 2 T1w: what is drawn for a contrast
    holds for all of its channels.
    """
    variation = draw_variation(len(wide), augmentation, rng)

    def field(shape: tuple[int, ...]) -> torch.Tensor:
        return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))

    return vary_patches(torch.from_numpy(np.ascontiguousarray(wide)), size, variation, field, contrasts)


def draw_variation(n: int, augmentation: Augmentation, rng: np.random.Generator) -> Variation:
    """Draw how ``n`` patches are varied."""
    turned = rng.random(n) < augmentation.rotations / (augmentation.rotations + 1)
    angles = rng.uniform(0, 2 * np.pi, n)
    exact = rng.random(n) < augmentation.exact
    angles = np.where(exact, rng.integers(0, 4, n) * np.pi / 2, angles) * turned
    mirrored = (rng.random(n) < 0.5) & augmentation.mirror
    shifts = np.zeros((n, 3, 2), np.float32)
    if augmentation.shift:
        shifts[:, 1:] = rng.uniform(-augmentation.shift, augmentation.shift, (n, 2, 2))
    if augmentation.decentre:
        moved = rng.random((n, 1, 1)) < 0.5
        shifts += moved * rng.uniform(-augmentation.decentre, augmentation.decentre, (n, 1, 2))

    def of_contrasts(low: float, high: float, wanted: float) -> npt.NDArray[np.float32] | None:
        return rng.uniform(low, high, (n, 3, 1, 1)).astype(np.float32) if wanted else None

    blur = of_contrasts(0, augmentation.blur, augmentation.blur)
    power = of_contrasts(-augmentation.gamma, augmentation.gamma, augmentation.gamma)
    gain = of_contrasts(1 - augmentation.gain, 1 + augmentation.gain, augmentation.gain)
    noise = rng.uniform(0, augmentation.noise, (n, 1, 1, 1)).astype(np.float32) if augmentation.noise else None
    kept = None
    if any(augmentation.drop):
        missing = rng.random((n, 2)) < augmentation.drop
        kept = np.concatenate([np.ones((n, 1)), ~missing], axis=1).astype(np.float32)
    return Variation(
        angles,
        mirrored,
        shifts if augmentation.shift or augmentation.decentre else None,
        blur,
        None if power is None else np.exp(power),
        gain,
        noise,
        kept,
        changed=any(value is not None for value in (blur, power, gain, noise)),
    )


def vary_patches(
    wide: torch.Tensor, size: int, variation: Variation, field: Field, contrasts: Sequence[int] = (0, 1, 2)
) -> torch.Tensor:
    """Apply a variation to wide patches (N, C, W, W), uint8, on the device where they lie.

    Returns
    -------
    Shape (N, C, size, size), float32, 0-1.
    """
    of_channel = list(contrasts)
    shifts = None if variation.shifts is None else variation.shifts[:, of_channel]
    patches = rotate_patches(wide, variation.angles, variation.mirrored, size, shifts)

    def on_device(drawn: npt.NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(drawn).to(wide.device, non_blocking=True)

    if variation.blur is not None:
        patches += on_device(variation.blur[:, of_channel]) * (_binomial(patches) - patches)
    if variation.power is not None:
        patches = patches.clamp_(0, 1) ** on_device(variation.power[:, of_channel])
    if variation.gain is not None:
        patches *= on_device(variation.gain[:, of_channel])
    if variation.noise is not None:
        patches += field(tuple(patches.shape)) * on_device(variation.noise)
    if variation.changed:
        patches = patches.clamp_(0, 1)
    if variation.kept is not None:
        patches *= on_device(variation.kept[:, of_channel])[:, :, None, None]
    return patches


def _binomial(patches: torch.Tensor) -> torch.Tensor:
    """Filter with (1, 2, 1) x (1, 2, 1) / 16, the edge continued."""
    weight = torch.tensor([1.0, 2.0, 1.0]).to(patches.device, non_blocking=True)  # no wait for the device
    kernel = torch.outer(weight, weight)[None, None].repeat(patches.shape[1], 1, 1, 1) / 16
    padded = functional.pad(patches, (1, 1, 1, 1), mode="replicate")
    return functional.conv2d(padded, kernel, groups=patches.shape[1])


def rotate_patches(
    wide: npt.NDArray[np.uint8] | torch.Tensor,
    angles: npt.NDArray[np.floating],
    mirrored: npt.NDArray[np.bool_],
    size: int,
    shifts: npt.NDArray[np.float32] | None = None,
) -> torch.Tensor:
    """Turn wide patches about their centre voxel and cut the middle out.

    Same sense and same values as :func:`mbseg_bids.detection.network.patches.extract_rotated_patches`; a mirrored
    patch has its second axis reversed about the voxel before it is turned.

    Parameters
    ----------
    wide
        Shape (N, C, W, W), 0-255, array or tensor on any device; the voxel is at ``W // 2``.
    angles
        Shape (N,), radians.
    mirrored
        Shape (N,).
    size
        Side of the result; the voxel is at ``size // 2``.
    shifts
        Shape (N, C, 2): how far (voxels, in the wide patch) each channel is looked up beside its place; None: not.
    """
    source = wide if isinstance(wide, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(wide))
    device, width = source.device, source.shape[-1]
    offsets = torch.arange(size, dtype=torch.float32, device=device) - size // 2
    a, b = torch.meshgrid(offsets, offsets, indexing="ij")
    angle = torch.from_numpy(np.asarray(angles, np.float32)).to(device, non_blocking=True)[:, None, None]
    sign = torch.from_numpy(np.where(mirrored, -1, 1).astype(np.float32)).to(device, non_blocking=True)[:, None, None]
    rows = a * torch.cos(angle) + b * torch.sin(angle)
    columns = sign * (b * torch.cos(angle) - a * torch.sin(angle))
    at = torch.stack([columns, rows], dim=-1) + width // 2  # grid_sample takes (x, y)
    source = source.float() / 255
    if shifts is None:
        return _sample(source, at * (2 / (width - 1)) - 1)
    n, channels = source.shape[:2]
    at = (at[:, None] + torch.from_numpy(shifts).to(device, non_blocking=True)[:, :, None, None].flip(-1)).flatten(0, 1)
    moved = _sample(source.reshape(n * channels, 1, width, width), at * (2 / (width - 1)) - 1)
    return moved.reshape(n, channels, size, size)


def upright(wide: npt.NDArray[np.uint8], size: int) -> torch.Tensor:
    """Cut network patches (N, C, size, size), float32 0-1, out of wide ones as they are."""
    start = wide.shape[-1] // 2 - size // 2
    middle = wide[:, :, start : start + size, start : start + size]
    return torch.from_numpy(np.ascontiguousarray(middle)).float() / 255
