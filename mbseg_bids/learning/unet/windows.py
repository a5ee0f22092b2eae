"""Windows of slices to train a U-Net on: half of them about a target voxel, as in Dadar et al. 2022."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from mbseg_bids.errors import UsageError
from mbseg_bids.learning.examples.augmentation import rotate_patches
from mbseg_bids.learning.examples.labelled_scan import LabelledScan
from mbseg_bids.learning.examples.patch_set import wide_size

IGNORED = -100
"""Class of voxels outside the brain: no loss there, since the truth of both tasks is known in the brain alone."""

FULL_SLICE = 256
"""Windows of at least this side, mm, lie on the middle of the slice, not on a voxel."""


@dataclass(frozen=True)
class Windows:
    """Images (N, 3, S, S) float32 0-1, and classes (N, S, S) int64: 1 target, 0 rest of the brain, -100 outside."""

    images: torch.Tensor
    classes: torch.Tensor


class WindowSampler:
    """Draws windows: a function of seed and step alone, so that a resumed run repeats it.

    Parameters
    ----------
    scans
        Of the participants of one set.
    task
        ``csf`` or ``microbleed``.
    patch_size
        Side, voxels of 1 mm; from :data:`FULL_SLICE` on, whole slices.
    seed
        Decides everything drawn.

    Raises
    ------
    UsageError
        If one of the two classes has no voxel.
    """

    def __init__(self, scans: Sequence[LabelledScan], task: str, patch_size: int, *, seed: int = 0) -> None:
        self._scans, self._size, self._seed = list(scans), patch_size, seed
        self._masks = [scan.target(task) for scan in self._scans]
        found = [np.argwhere(mask).astype(np.int32) for mask in self._masks]
        self.targets = np.concatenate(
            [np.insert(v, 0, n, axis=1) for n, v in enumerate(found)] or [np.empty((0, 4), np.int32)]
        )
        if not len(self.targets):
            raise UsageError(f"no {task} voxel in {len(self._scans)} scans", "give scans that have some")
        sizes = np.array([int(scan.brain.sum()) for scan in self._scans], float)
        sizes *= [bool((scan.brain & ~mask).any()) for scan, mask in zip(self._scans, self._masks, strict=True)]
        if not sizes.any():
            raise UsageError(f"every brain voxel is {task}", "give scans with voxels of both classes")
        self._shares = sizes / sizes.sum()

    def draw(self, step: int, n: int, *, rotations: int = 0) -> Windows:
        """Return ``n`` windows, the first half about target voxels, the rest about other brain voxels.

        Each is turned by a random angle about its middle with probability rotations / (rotations + 1), as the patches
        of the network are; the slice is turned, not the window.
        """
        rng = np.random.default_rng([self._seed, step])
        n_target = (n + 1) // 2
        places = self.targets[rng.integers(0, len(self.targets), n_target)].tolist()
        places += [self._background(rng) for _ in range(n - n_target)]
        turned = rng.random(n) < rotations / (rotations + 1)
        return self._cut(places, rng.uniform(0, 2 * np.pi, n) * turned)

    def _background(self, rng: np.random.Generator) -> list[int]:
        """Return (scan, i, j, k) of a brain voxel that is no target, each as likely as any other."""
        while True:
            number = int(rng.choice(len(self._scans), p=self._shares))
            brain, target = self._scans[number].brain, self._masks[number]
            # Rejection instead of a list of all brain voxels: that would take as much memory as the scans.
            for i, j, k in rng.integers(0, brain.shape, (64, 3)).tolist():
                if brain[i, j, k] and not target[i, j, k]:
                    return [number, i, j, k]

    def _cut(self, places: Sequence[Sequence[int]], angles: npt.NDArray[np.floating]) -> Windows:
        width = wide_size(self._size) if angles.any() else self._size
        wide = np.stack([self._layers(n, (i, j, k), width) for n, i, j, k in places])
        if angles.any():
            layers = rotate_patches(wide, angles, np.zeros(len(wide), bool), self._size)
        else:
            layers = torch.from_numpy(wide).float() / 255
        return Windows(layers[:, :3].contiguous(), _classes(layers[:, 3], layers[:, 4]))

    def _layers(self, number: int, voxel: Sequence[int], width: int) -> npt.NDArray[np.uint8]:
        """Return (5, width, width) uint8: the contrasts, then the target and the rest of the brain as 0 or 255."""
        scan, (i, j, k) = self._scans[number], voxel
        if self._size >= FULL_SLICE:
            i, j = scan.brain.shape[0] // 2, scan.brain.shape[1] // 2
        target = self._masks[number][:, :, k]
        classes = np.stack([target, scan.brain[:, :, k] & ~target]).astype(np.uint8) * np.uint8(255)
        return window(np.concatenate([scan.levels[..., k], classes]), (i, j), width)


def window(layers: npt.NDArray, centre: tuple[int, int], size: int) -> npt.NDArray:
    """Cut a square (C, size, size) out of (C, I, J) with ``centre`` at index ``size // 2``; zero outside the slice."""
    out = np.zeros((len(layers), size, size), layers.dtype)
    start = [c - size // 2 for c in centre]
    inside = [slice(max(0, s), max(0, min(n, s + size))) for s, n in zip(start, layers.shape[1:], strict=True)]
    to = [slice(i.start - s, max(i.start, i.stop) - s) for i, s in zip(inside, start, strict=True)]
    out[:, to[0], to[1]] = layers[:, inside[0], inside[1]]
    return out


def _classes(target: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
    """Return the class that most of a turned voxel is."""
    classes = torch.full(target.shape, IGNORED, dtype=torch.int64)
    classes[rest >= 0.5] = 0
    classes[(target >= 0.5) | ((target > rest) & (target + rest >= 0.5))] = 1
    return classes
