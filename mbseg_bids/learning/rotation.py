"""Augmentation of training patches: the slice turned about the voxel, and small changes of intensity."""

from collections.abc import Sequence
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
    n, contrasts = len(wide), list(contrasts)
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
    shifted = augmentation.shift or augmentation.decentre
    patches = rotate_patches(wide, angles, mirrored, size, shifts[:, contrasts] if shifted else None)
    return _drop(_vary_intensity(patches, augmentation, rng, contrasts), augmentation.drop, rng, contrasts)


def _vary_intensity(
    patches: torch.Tensor, augmentation: Augmentation, rng: np.random.Generator, contrasts: list[int]
) -> torch.Tensor:
    n = len(patches)
    changed = any((augmentation.gain, augmentation.noise, augmentation.gamma, augmentation.blur))

    def of_channels(drawn: npt.NDArray[np.floating]) -> torch.Tensor:
        return torch.from_numpy(drawn.astype(np.float32)[:, contrasts])

    if augmentation.blur:
        share = of_channels(rng.uniform(0, augmentation.blur, (n, 3, 1, 1)))
        patches += share * (_binomial(patches) - patches)
    if augmentation.gamma:
        power = np.exp(rng.uniform(-augmentation.gamma, augmentation.gamma, (n, 3, 1, 1)))
        patches = patches.clamp_(0, 1) ** of_channels(power)
    if augmentation.gain:
        patches *= of_channels(rng.uniform(1 - augmentation.gain, 1 + augmentation.gain, (n, 3, 1, 1)))
    if augmentation.noise:
        spread = rng.uniform(0, augmentation.noise, (n, 1, 1, 1)).astype(np.float32)
        patches += torch.from_numpy(rng.standard_normal(patches.shape, dtype=np.float32) * spread)
    return patches.clamp_(0, 1) if changed else patches


def _binomial(patches: torch.Tensor) -> torch.Tensor:
    """Filter with (1, 2, 1) x (1, 2, 1) / 16, the edge continued."""
    weight = torch.tensor([1.0, 2.0, 1.0])
    kernel = torch.outer(weight, weight)[None, None].repeat(patches.shape[1], 1, 1, 1) / 16
    padded = functional.pad(patches, (1, 1, 1, 1), mode="replicate")
    return functional.conv2d(padded, kernel, groups=patches.shape[1])


def _drop(
    patches: torch.Tensor, probabilities: tuple[float, float], rng: np.random.Generator, contrasts: list[int]
) -> torch.Tensor:
    """Set T2w and T1w of some patches to zero, each by its own draw."""
    if any(probabilities):
        missing = rng.random((len(patches), 2)) < probabilities
        kept = np.concatenate([np.ones((len(patches), 1)), ~missing], axis=1)[:, contrasts]
        patches *= torch.from_numpy(kept.astype(np.float32))[:, :, None, None]
    return patches


def rotate_patches(
    wide: npt.NDArray[np.uint8],
    angles: npt.NDArray[np.floating],
    mirrored: npt.NDArray[np.bool_],
    size: int,
    shifts: npt.NDArray[np.float32] | None = None,
) -> torch.Tensor:
    """Turn wide patches about their centre voxel and cut the middle out.

    Same sense and same values as :func:`mbseg_bids.detection.patches.extract_rotated_patches`; a mirrored patch has its
    second axis reversed about the voxel before it is turned.

    Parameters
    ----------
    wide
        Shape (N, C, W, W), 0-255; the voxel is at ``W // 2``.
    angles
        Shape (N,), radians.
    mirrored
        Shape (N,).
    size
        Side of the result; the voxel is at ``size // 2``.
    shifts
        Shape (N, C, 2): how far (voxels, in the wide patch) each channel is looked up beside its place; None: not.
    """
    width = wide.shape[-1]
    offsets = torch.arange(size, dtype=torch.float32) - size // 2
    a, b = torch.meshgrid(offsets, offsets, indexing="ij")
    angle = torch.from_numpy(np.asarray(angles, np.float32))[:, None, None]
    sign = torch.from_numpy(np.where(mirrored, -1, 1).astype(np.float32))[:, None, None]
    rows = a * torch.cos(angle) + b * torch.sin(angle)
    columns = sign * (b * torch.cos(angle) - a * torch.sin(angle))
    at = torch.stack([columns, rows], dim=-1) + width // 2  # grid_sample takes (x, y)
    source = torch.from_numpy(np.ascontiguousarray(wide)).float() / 255
    if shifts is None:
        return _sample(source, at * (2 / (width - 1)) - 1)
    n, channels = wide.shape[:2]
    at = (at[:, None] + torch.from_numpy(shifts)[:, :, None, None].flip(-1)).flatten(0, 1)
    moved = _sample(source.reshape(n * channels, 1, width, width), at * (2 / (width - 1)) - 1)
    return moved.reshape(n, channels, size, size)


def upright(wide: npt.NDArray[np.uint8], size: int) -> torch.Tensor:
    """Cut network patches (N, C, size, size), float32 0-1, out of wide ones as they are."""
    start = wide.shape[-1] // 2 - size // 2
    middle = wide[:, :, start : start + size, start : start + size]
    return torch.from_numpy(np.ascontiguousarray(middle)).float() / 255
