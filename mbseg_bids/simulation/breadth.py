"""How far one training scan is from the next: contrasts of the tissues, and errors of brain mask and tissue map.

What a run of detection is given is never the truth: masks include some of the skull or lack some of the cortex, tissue
maps blur and miss narrow sulci. `seen_brain` and `seen_tissue` make what is given out of what is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.imaging.labels import CSF, GM
from mbseg_bids.simulation.acquisition import resample
from mbseg_bids.simulation.geometry import smooth_field

CSF_OF_WHITE, CORTEX_OF_WHITE = (1.1, 2.3), (0.95, 1.3)
"""T2* signal relative to that of white matter, from scan to scan."""
WILD_SPREAD = 0.3
"""Log standard deviation of tissue signals in the scans that look like no sequence's."""


@dataclass(frozen=True)
class Breadth:
    """What one scan gets.

    Attributes
    ----------
    t2star_of_white
        Signal of "csf" and "cortex" on T2* relative to white matter; empty: as the sequence gives it.
    wild
        Whether all tissues get contrasts of their own, on all three.
    mask_level
        Of the share of brain within about 2 mm: the brain mask is where it is higher. 0.5 leaves the mask as it is,
        lower values include what lies about the brain, higher ones cut cortex off. None: the true mask.
    csf_level
        The same for CSF in the tissue map: above 0.5 narrow sulci are missed. None: the true map.
    tissue_shift
        Of tissue map and regions, mm along each axis.
    """

    t2star_of_white: dict[str, float]
    wild: bool = False
    mask_level: float | None = None
    csf_level: float | None = None
    tissue_shift: tuple[float, float, float] = (0.0, 0.0, 0.0)


def draw_breadth(rng: np.random.Generator) -> Breadth:
    """Each departure in a share of scans: contrasts in 0.6 and 0.15, mask in 0.65, tissue map in 0.5, shift in 0.5."""
    ratios = {"csf": float(rng.uniform(*CSF_OF_WHITE)), "cortex": float(rng.uniform(*CORTEX_OF_WHITE))}
    generous, tight = float(rng.uniform(0.06, 0.35)), float(rng.uniform(0.55, 0.75))
    level, csf_level = rng.random(), float(rng.uniform(0.32, 0.68))
    shift = rng.normal(0, 0.7, 3)
    return Breadth(
        t2star_of_white=ratios if rng.random() < 0.6 else {},
        wild=bool(rng.random() < 0.15),
        mask_level=None if level < 0.35 else generous if level < 0.7 else tight,
        csf_level=csf_level if rng.random() < 0.5 else None,
        tissue_shift=tuple(shift.tolist()) if rng.random() < 0.5 else (0.0, 0.0, 0.0),
    )


def _softened(
    mask: npt.NDArray[np.bool_],
    source: npt.NDArray[np.float64],
    affine: npt.NDArray[np.float64],
    shape: Sequence[int],
    *,
    width: float,
) -> npt.NDArray[np.float32]:
    """Share of a mask (1 mm grid) within `width` mm (standard deviation) of the voxels of another grid."""
    a, b, c = (n // 2 for n in mask.shape)
    # Blocks of 2 mm: an eighth of the voxels to filter.
    half = mask[: 2 * a, : 2 * b, : 2 * c].reshape(a, 2, b, 2, c, 2).mean(axis=(1, 3, 5), dtype=np.float32)
    ndimage.gaussian_filter(half, width / 2, output=half, truncate=2.5)
    blocks = np.diag([2.0, 2.0, 2.0, 1.0])
    blocks[:3, 3] = 0.5
    return resample(half, source @ blocks, affine, shape, mode="nearest").astype(np.float32)


def seen_brain(
    brain: npt.NDArray[np.bool_],
    source: npt.NDArray[np.float64],
    affine: npt.NDArray[np.float64],
    shape: Sequence[int],
    level: float,
    rng: np.random.Generator,
) -> npt.NDArray[np.bool_]:
    """Brain mask as another extraction would leave it, more in one place and less in another.

    Parameters
    ----------
    brain, source
        True mask on a 1 mm grid, and its affine.
    affine, shape
        Grid of the result.
    level
        See `Breadth.mask_level`.
    rng
        Draws where the mask is wider and where tighter.
    """
    share = _softened(brain, source, affine, shape, width=2.0)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return share > np.clip(level + smooth_field(shape, 25 / spacing, rng, sigma=0.1), 0.03, 0.95)


def seen_tissue(
    tissue: npt.NDArray[np.uint8],
    csf: npt.NDArray[np.bool_],
    source: npt.NDArray[np.float64],
    affine: npt.NDArray[np.float64],
    level: float,
    rng: np.random.Generator,
) -> npt.NDArray[np.uint8]:
    """Tissue map whose CSF is blurred: narrow sulci are missed, or wide ones spread into the cortex.

    Parameters
    ----------
    tissue
        Shape (I, J, K), on the grid of `affine`; 0 outside the brain stays 0.
    csf, source
        Where CSF is, on a 1 mm grid, and its affine.
    level
        See `Breadth.csf_level`.
    """
    share = _softened(csf, source, affine, tissue.shape, width=1.2)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    fluid = share > level + smooth_field(tissue.shape, 25 / spacing, rng, sigma=0.05)
    seen = np.where(tissue == CSF, np.uint8(GM), tissue)
    seen[fluid & (tissue > 0)] = CSF
    return seen


def moved(affine: npt.NDArray[np.float64], shift: Sequence[float]) -> npt.NDArray[np.float64]:
    """An affine whose grid lies `shift` mm farther on."""
    result = affine.copy()
    result[:3, 3] += shift
    return result
