"""What the networks of the candidate classifier learn from: neighbourhoods of microbleeds and of what looks alike."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.detection.candidates.neighbourhoods import extract_neighbourhoods
from mbseg_bids.detection.candidates.network import SIDE
from mbseg_bids.detection.geometry.components import middle_voxels
from mbseg_bids.detection.search.mask import search_region
from mbseg_bids.detection.search.region_growing import Classify
from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.learning.examples.patch_set import wide_size
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


@dataclass(frozen=True, eq=False)
class NeighbourhoodSet:
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
        Shape (N,), float32, mm.
    """

    squares: npt.NDArray[np.uint8]
    is_microbleed: npt.NDArray[np.bool_]
    first_probability: npt.NDArray[np.float32]
    slice_spacing: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.squares)

    def save(self, path: Path) -> None:
        """Write an ``.npz`` file."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)})


def load_neighbourhoods(paths: Sequence[Path]) -> NeighbourhoodSet:
    """Read files of :meth:`NeighbourhoodSet.save` as one set.

    Raises
    ------
    UnreadableDataError
        If one is missing, truncated or something else.
    """
    parts = []
    for path in paths:
        try:
            with np.load(path, allow_pickle=False) as file:
                parts.append([file[field.name] for field in fields(NeighbourhoodSet)])
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise UnreadableDataError(f"cannot read neighbourhoods {path}: {error}", "make them again") from error
    return NeighbourhoodSet(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def cut_neighbourhoods(
    case: Case, ask: Classify, rng: np.random.Generator, settings: DetectionSettings
) -> NeighbourhoodSet:
    """Cut examples out of a simulated scan: its microbleeds, and other dark places, most of them hard.

    Parameters
    ----------
    case
        The scan.
    ask
        From voxels (N, 3) to the probabilities (N,) of the first network.
    rng
        Draws which places are asked about and which easy ones are kept.
    settings
        Where a run would search.
    """
    microbleeds = _microbleeds(case)
    others = _dark_places(case, rng, settings)
    probability = ask(others)
    hard = np.flatnonzero(probability > HARD)
    hard = hard[np.argsort(-probability[hard])][:N_HARD]
    easy = rng.permutation(np.flatnonzero(probability <= HARD))[:N_EASY]
    kept = np.concatenate([hard, easy])
    voxels = np.concatenate([microbleeds, others[kept]])
    squares = extract_neighbourhoods(case.stack, voxels, case.spacing[2], WIDE)
    return NeighbourhoodSet(
        np.rint(squares * 255).astype(np.uint8),
        np.arange(len(voxels)) < len(microbleeds),
        np.concatenate([ask(microbleeds), probability[kept]]).astype(np.float32),
        np.full(len(voxels), case.spacing[2], np.float32),
    )


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
