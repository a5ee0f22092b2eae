"""Augmentation of training patches: the slice turned about the voxel, and small changes of intensity."""

from dataclasses import dataclass

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
    """

    rotations: int = 19
    mirror: bool = False
    exact: float = 0.0
    gain: float = 0.0
    noise: float = 0.0


NONE = Augmentation(rotations=0)


def augment(
    wide: npt.NDArray[np.uint8], size: int, augmentation: Augmentation, rng: np.random.Generator
) -> torch.Tensor:
    """Cut network patches (N, 3, size, size), float32 0-1, out of wide ones (N, 3, W, W), varied at random."""
    n = len(wide)
    turned = rng.random(n) < augmentation.rotations / (augmentation.rotations + 1)
    angles = rng.uniform(0, 2 * np.pi, n)
    exact = rng.random(n) < augmentation.exact
    angles = np.where(exact, rng.integers(0, 4, n) * np.pi / 2, angles) * turned
    mirrored = (rng.random(n) < 0.5) & augmentation.mirror
    patches = rotate_patches(wide, angles, mirrored, size)
    if augmentation.gain:
        gain = rng.uniform(1 - augmentation.gain, 1 + augmentation.gain, (n, 3, 1, 1))
        patches *= torch.from_numpy(gain.astype(np.float32))
    if augmentation.noise:
        spread = rng.uniform(0, augmentation.noise, (n, 1, 1, 1)).astype(np.float32)
        patches += torch.from_numpy(rng.standard_normal(patches.shape, dtype=np.float32) * spread)
    return patches.clamp_(0, 1) if augmentation.gain or augmentation.noise else patches


def rotate_patches(
    wide: npt.NDArray[np.uint8], angles: npt.NDArray[np.floating], mirrored: npt.NDArray[np.bool_], size: int
) -> torch.Tensor:
    """Turn wide patches about their centre voxel and cut the middle out.

    Same sense and same values as :func:`mbseg_bids.detection.patches.extract_rotated_patches`; a mirrored patch has its
    second axis reversed about the voxel before it is turned.

    Parameters
    ----------
    wide
        Shape (N, 3, W, W), 0-255; the voxel is at ``W // 2``.
    angles
        Shape (N,), radians.
    mirrored
        Shape (N,).
    size
        Side of the result; the voxel is at ``size // 2``.
    """
    width = wide.shape[-1]
    offsets = torch.arange(size, dtype=torch.float32) - size // 2
    a, b = torch.meshgrid(offsets, offsets, indexing="ij")
    angle = torch.from_numpy(np.asarray(angles, np.float32))[:, None, None]
    sign = torch.from_numpy(np.where(mirrored, -1, 1).astype(np.float32))[:, None, None]
    rows = a * torch.cos(angle) + b * torch.sin(angle)
    columns = sign * (b * torch.cos(angle) - a * torch.sin(angle))
    at = (torch.stack([columns, rows], dim=-1) + width // 2) * (2 / (width - 1)) - 1  # grid_sample takes (x, y)
    source = torch.from_numpy(np.ascontiguousarray(wide)).float() / 255
    return functional.grid_sample(source, at, mode="bilinear", padding_mode="zeros", align_corners=True)


def upright(wide: npt.NDArray[np.uint8], size: int) -> torch.Tensor:
    """Cut network patches (N, 3, size, size), float32 0-1, out of wide ones as they are."""
    start = wide.shape[-1] // 2 - size // 2
    middle = wide[:, :, start : start + size, start : start + size]
    return torch.from_numpy(np.ascontiguousarray(middle)).float() / 255
