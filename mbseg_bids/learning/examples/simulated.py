"""Training patches from simulated scans."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mbseg_bids.detection.search.mask import voxels_to_classify
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.learning.examples.patch_set import PatchSet
from mbseg_bids.learning.examples.sampling import MicrobleedCounts, microbleed_patches, tissue_patches
from mbseg_bids.settings import DetectionSettings
from mbseg_bids.simulation.case import Case, simulate_training_case


@dataclass(frozen=True)
class CasePatches:
    """Patches of one simulated scan for both stages."""

    tissue: PatchSet
    microbleed: PatchSet

    def save(self, folder: Path, stem: str) -> None:
        """Write ``<stem>_csf.npz`` and ``<stem>_microbleed.npz``."""
        self.tissue.save(folder / f"{stem}_csf.npz")
        self.microbleed.save(folder / f"{stem}_microbleed.npz")


def simulate(labelmap: Volume, participant: int, seed: int, **options: Any) -> tuple[Case, np.random.Generator]:
    """Simulate a scan of one anatomy; anatomy, and seed, decide it. Returns the generator for what is drawn next."""
    rng = np.random.default_rng([participant, seed])
    return simulate_training_case(labelmap, rng, **options), rng


def cut_case(
    case: Case,
    participant: int,
    rng: np.random.Generator,
    *,
    counts: MicrobleedCounts | None = None,
    n_tissue: int = 1000,
    size: int = 28,
    settings: DetectionSettings | None = None,
) -> CasePatches:
    """Draw the patches of both stages from a simulated scan.

    Parameters
    ----------
    case
        Of :func:`simulate`.
    participant
        Number of the anatomy.
    counts, n_tissue
        Patches of the two stages.
    size
        Side of the network's patch, voxels.
    settings
        Whose search mask the candidates come from.
    """
    asked = voxels_to_classify(case.stack[0], case.brain, case.tissue, case.spacing, settings or DetectionSettings())
    candidates = np.zeros(case.brain.shape, bool)
    candidates[tuple(asked.T)] = True
    true_tissue = case.tissue if case.true_tissue is None else case.true_tissue
    tissue = tissue_patches(case.stack, true_tissue, case.brain, participant, rng, n=n_tissue, size=size)
    microbleed = microbleed_patches(
        case.stack,
        case.lesions,
        case.brain,
        candidates,
        case.mimics,
        participant,
        rng,
        voxel_volume=float(np.prod(case.spacing)),
        counts=counts,
        size=size,
    )
    return CasePatches(tissue, microbleed)
