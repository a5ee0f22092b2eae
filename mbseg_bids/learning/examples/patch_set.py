"""Labelled patches in memory and on disk."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mbseg_bids.detection.network.patches import extract_patches
from mbseg_bids.errors import UnreadableDataError, UsageError
from mbseg_bids.learning.files import whole

KINDS: dict[str, int] = {
    "tissue": 0,
    "csf": 1,
    "lesion": 2,
    "background": 3,
    "candidate": 4,
    "mimic": 5,
    "surround": 6,
    "false_positive": 7,
}
"""What the centre of a patch is: GM or WM, CSF, microbleed; and of the not-microbleeds: any brain voxel, a dark voxel
of the search mask, a mimic, a voxel beside a lesion, a voxel that an earlier round took for a microbleed."""

_LEVELS = 255


@dataclass(frozen=True, eq=False)
class PatchSet:
    """Patches wide enough to turn a patch of the network about its centre.

    Attributes
    ----------
    patches
        Shape (N, 3, W, W), uint8: standardised 0-100 in 255 steps. The voxel is at index ``W // 2``.
    kinds
        Shape (N,), uint8, values of :data:`KINDS`.
    participants
        Shape (N,), int32: whose scan it is; sets are split by it.
    volumes
        Shape (N,), float32: mm3 of the lesion, 0 elsewhere.
    """

    patches: npt.NDArray[np.uint8]
    kinds: npt.NDArray[np.uint8]
    participants: npt.NDArray[np.int32]
    volumes: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        lengths = {len(self.patches), len(self.kinds), len(self.participants), len(self.volumes)}
        if len(lengths) != 1 or self.patches.ndim != 4:
            raise ValueError(f"arrays of a patch set disagree: {sorted(lengths)}, patches {self.patches.shape}")

    def __len__(self) -> int:
        return len(self.patches)

    def select(self, keep: npt.NDArray) -> "PatchSet":
        """Return the patches at these indices, or where this mask is true."""
        return PatchSet(self.patches[keep], self.kinds[keep], self.participants[keep], self.volumes[keep])

    def relabel(self, kinds: npt.NDArray) -> "PatchSet":
        """Return the same patches as other kinds."""
        return PatchSet(self.patches, np.asarray(kinds, np.uint8), self.participants, self.volumes)

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file."""
        write_arrays(path, vars(self))


def write_arrays(path: Path, arrays: Mapping[str, Any], *, compressed: bool = False) -> None:
    """Write plain arrays as an ``.npz`` file that is whole or not there, in a folder that is made."""
    with whole(path) as part, open(part, "wb") as file:
        (np.savez_compressed if compressed else np.savez)(file, **arrays)


def load_patch_set(path: Path) -> PatchSet:
    """Read an ``.npz`` file of :meth:`PatchSet.save`.

    Raises
    ------
    UnreadableDataError
        If it is missing, truncated or something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return PatchSet(*(file[name] for name in ("patches", "kinds", "participants", "volumes")))
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UnreadableDataError(
            f"cannot read patches {path}: {error}", "make them with mbseg train sample"
        ) from error


def concatenate(sets: Sequence[PatchSet]) -> PatchSet:
    """Return one set of all patches.

    Raises
    ------
    UsageError
        If they were cut for different patch sizes.
    """
    widths = sorted({s.patches.shape[-1] for s in sets})
    if len(widths) > 1:
        raise UsageError(
            f"patch sets of different sizes: stored patches are {', '.join(map(str, widths))} voxels wide",
            "sample all scans with the same --patch-size",
        )
    return PatchSet(
        *(np.concatenate([getattr(s, name) for s in sets]) for name in ("patches", "kinds", "participants", "volumes"))
    )


def wide_size(size: int) -> int:
    """Return the side of the square that holds a patch of this side at every angle."""
    return 2 * int(np.ceil(size / np.sqrt(2))) + 2


def narrow(patches: PatchSet, size: int, turned: bool = True) -> PatchSet:
    """Cut the middle out of stored patches, as much as network patches of side ``size`` need.

    Parameters
    ----------
    patches
        Stored patches, wide or not.
    size
        Side of the network's patch, voxels.
    turned
        Whether they will be turned, which takes the corners of a wider square.

    Raises
    ------
    UsageError
        If the stored patches are too small.
    """
    stored, needed = patches.patches.shape[-1], wide_size(size) if turned else size
    if needed > stored:
        largest = max((s for s in range(stored + 1) if wide_size(s) <= stored), default=0)
        raise UsageError(
            f"patches of {size} mm are wanted, but the patch sets were cut for up to {largest} mm",
            f"sample again with --patch-size {size}, or set --patch-size {largest}",
        )
    start = stored // 2 - needed // 2
    middle = patches.patches[:, :, start : start + needed, start : start + needed]
    return PatchSet(middle, patches.kinds, patches.participants, patches.volumes)


def cut_patch_set(
    stack: npt.NDArray[np.float32],
    voxels: npt.NDArray[np.integer],
    kind: str,
    participant: int,
    *,
    size: int = 28,
    volumes: npt.NDArray | None = None,
) -> PatchSet:
    """Cut wide patches of one kind around voxels (N, 3) of a stack (3, I, J, K) with values 0-100."""
    wide = extract_patches(stack, voxels, wide_size(size))
    n = len(wide)
    return PatchSet(
        np.clip(np.rint(wide * _LEVELS), 0, _LEVELS).astype(np.uint8),
        np.full(n, KINDS[kind], np.uint8),
        np.full(n, participant, np.int32),
        np.zeros(n, np.float32) if volumes is None else np.asarray(volumes, np.float32),
    )
