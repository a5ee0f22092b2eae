"""What the networks of the candidate classifier learn from: neighbourhoods of microbleeds and of what looks alike."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.detection.candidates.neighbourhoods import extract_neighbourhoods, slices_apart
from mbseg_bids.detection.candidates.network import SIDE
from mbseg_bids.detection.geometry.components import middle_voxels
from mbseg_bids.detection.network.patches import extract_patches
from mbseg_bids.detection.search.mask import search_region
from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.learning.examples.patch_set import wide_size, write_arrays
from mbseg_bids.settings import DetectionSettings
from mbseg_bids.simulation.case import Case
from mbseg_bids.simulation.mimics import ignored

WIDE = wide_size(SIDE) + 2
"""Side of the stored squares: room to turn and to shift the network's."""
APART_MM = 3.0
"""What is nearer to a microbleed, or to what training ignores, is no example of anything else."""
N_MIMICS, N_DARK = 350, 250
"""Dark places of a scan that the first network is asked about: in simulated mimics, and elsewhere."""
HARD = 0.05
"""Those to which it gives more than this are hard."""
N_HARD, N_EASY = 160, 40
"""Examples kept of a scan: the hardest, and any of the others."""
SMALLEST_MM3 = 2.0
"""Smaller microbleeds are left out."""


class _Arrays:
    """A dataclass of arrays with one row an example, and its file."""

    squares: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.squares)

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file."""
        write_arrays(path, vars(self))


@dataclass(frozen=True, eq=False)
class NeighbourhoodSet(_Arrays):
    """Examples of one scan or of many.

    Attributes
    ----------
    squares
        Shape (N, N_CHANNELS, WIDE, WIDE), uint8: 0-1 in 255 steps; the voxel is at index ``WIDE // 2``.
    is_microbleed
        Shape (N,), bool.
    first_probability
        Shape (N,), float32: of the first network.
    slice_spacing
        Shape (N,), float32: see :func:`mbseg_bids.detection.candidates.neighbourhoods.slices_apart`.
    """

    squares: npt.NDArray[np.uint8]
    is_microbleed: npt.NDArray[np.bool_]
    first_probability: npt.NDArray[np.float32]
    slice_spacing: npt.NDArray[np.float32]


def load_neighbourhoods(paths: Sequence[Path]) -> NeighbourhoodSet:
    """Read files of :meth:`NeighbourhoodSet.save` as one set.

    Raises
    ------
    UnreadableDataError
        If one is missing, truncated or something else.
    """
    parts = [_read(path, NeighbourhoodSet) for path in paths]
    return NeighbourhoodSet(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _read(path: Path, kind: type) -> list[npt.NDArray]:
    """Return the arrays of a file, in the order of a dataclass."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return [file[field.name] for field in fields(kind)]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UnreadableDataError(f"cannot read neighbourhoods {path}: {error}", "make them again") from error


@dataclass(frozen=True, eq=False)
class Proposals(_Arrays):
    """Microbleeds and dark places of one scan, before the first network has said which of these are hard.

    Attributes
    ----------
    squares, is_microbleed, slice_spacing
        As in :class:`NeighbourhoodSet`.
    patches
        Shape (N, 3, size, size), uint8: what the first network sees, 0-1 in 255 steps.
    """

    squares: npt.NDArray[np.uint8]
    is_microbleed: npt.NDArray[np.bool_]
    slice_spacing: npt.NDArray[np.float32]
    patches: npt.NDArray[np.uint8]


def load_proposals(path: Path) -> Proposals:
    """Read a file of :meth:`Proposals.save`; raises UnreadableDataError as :func:`load_neighbourhoods` does."""
    return Proposals(*_read(path, Proposals))


def propose(case: Case, rng: np.random.Generator, settings: DetectionSettings, *, patch_size: int = 28) -> Proposals:
    """Cut microbleeds and dark places out of a scan of known truth.

    Parameters
    ----------
    case
        The scan.
    rng
        Draws which dark places.
    settings
        Where a run would search.
    patch_size
        Side of the first network's patch, voxels.
    """
    microbleeds, others = example_voxels(case, rng, settings)
    voxels = np.concatenate([microbleeds, others])
    apart = slices_apart(case.spacing)
    squares = extract_neighbourhoods(case.stack, voxels, apart, WIDE)
    patches = extract_patches(case.stack, voxels, patch_size)
    return Proposals(
        np.rint(squares * 255).astype(np.uint8),
        np.arange(len(voxels)) < len(microbleeds),
        np.full(len(voxels), apart, np.float32),
        np.rint(patches * 255).astype(np.uint8),
    )


def choose(proposals: Proposals, probability: npt.NDArray[np.floating], rng: np.random.Generator) -> NeighbourhoodSet:
    """Return the examples of a scan: its microbleeds, the dark places that are hardest, and some of the others.

    Parameters
    ----------
    proposals
        Of :func:`propose`.
    probability
        Shape (N,): of the first network, for each.
    rng
        Draws which easy places are kept.
    """
    others = np.flatnonzero(~proposals.is_microbleed)
    hard = others[probability[others] > HARD]
    hard = hard[np.argsort(-probability[hard], kind="stable")][:N_HARD]
    easy = rng.permutation(others[probability[others] <= HARD])[:N_EASY]
    kept = np.concatenate([np.flatnonzero(proposals.is_microbleed), hard, easy])
    return NeighbourhoodSet(
        proposals.squares[kept],
        proposals.is_microbleed[kept],
        np.asarray(probability[kept], np.float32),
        proposals.slice_spacing[kept],
    )


def example_voxels(
    case: Case, rng: np.random.Generator, settings: DetectionSettings
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the middles of a scan's microbleeds (N, 3), and dark places apart from them (M, 3)."""
    return _microbleeds(case), _dark_places(case, rng, settings)


def _microbleeds(case: Case) -> npt.NDArray[np.int64]:
    volumes = np.bincount(case.lesions.ravel()) * np.prod(case.spacing)
    large = {label: voxel for label, voxel in middle_voxels(case.lesions).items() if volumes[label] >= SMALLEST_MM3}
    return np.array(list(large.values()), dtype=np.int64).reshape(-1, 3)


def _dark_places(case: Case, rng: np.random.Generator, settings: DetectionSettings) -> npt.NDArray[np.int64]:
    _, seeds = search_region(case.stack[0], case.brain, case.tissue, case.spacing, settings)
    near = (case.lesions > 0) | ignored(case.mimics)
    for axis, step in enumerate(case.spacing):
        if reach := int(APART_MM / step + 0.5):
            near = ndimage.maximum_filter1d(near.astype(np.uint8), 2 * reach + 1, axis=axis) > 0
    places = np.argwhere(seeds & ~near)
    in_mimic = case.mimics[tuple(places.T)] > 0
    mimics = rng.permutation(np.flatnonzero(in_mimic))[:N_MIMICS]
    return places[np.concatenate([mimics, rng.permutation(np.flatnonzero(~in_mimic))[:N_DARK]])]
