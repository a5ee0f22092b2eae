"""Whether a candidate lies in the brain's tissue or in fluid: judged by the tissue map and by T2* itself.

A microbleed is at least half surrounded by brain parenchyma (Greenberg et al. 2009; Duering et al. 2023, STRIVE-2). A
dark dot in a sulcus, a cistern or a ventricle is a vessel or a calcification. The candidate itself says nothing: on T1w
a microbleed may be as dark as fluid. So its shell is judged, in the slices that it appears in.

Two witnesses are heard, since each is wrong where the other is right. The tissue map comes from T1w: resampled to thick
slices it is a little off, and it may call a wide sulcus cortex. T2* shows the candidate and what is about it in one
image, and fluid is bright on it; but a vessel's own blooming hides fluid, and on some susceptibility-weighted images
fluid is no brighter than tissue. T2* decides, and the map is heard for the candidate; where T2* cannot tell, the map is
alone and must be surer.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.detection.rules.lesion_view import View
from mbseg_bids.imaging.labels import CSF, GM, WM

SHELL_MM = (0.9, 2.2)
"""The shell's voxel centres are this far from the nearest voxel centre of the candidate: neighbours, and the next."""
TELLING = 1.15
"""Smallest quotient of fluid and tissue with which T2* tells them apart. It is 1.1 to 2.3 on gradient echoes."""
FEWEST = 50
"""Voxels of fluid and of tissue, each, below which a scan's levels are not known."""
BLOOMING = 0.85
"""Darker than this part of the tissue's level, a voxel is blooming or a vessel, and tells nothing about fluid."""
SMALLEST_PART = 0.25
"""Part of the shell that must be left without these for T2* to have a say."""
MOST_BY_MAP = 0.25
"""What the map can add to what T2* says."""
HALF = 0.5
"""Smallest part of parenchyma: a microbleed is at least half surrounded by it."""
BY_MAP_ALONE = 0.3
"""The same where the map is alone: of microbleeds in simulated cortex it may see a third in parenchyma."""


@dataclass(frozen=True)
class Levels:
    """T2* of a scan's tissue and fluid; NaN where too little of it is labelled."""

    tissue: float = math.nan
    fluid: float = math.nan

    @property
    def quotient(self) -> float:
        """Fluid / tissue; NaN where not known."""
        return self.fluid / self.tissue if self.tissue > 0 else math.nan

    @property
    def telling(self) -> bool:
        """Whether T2* tells fluid from tissue: fluid is clearly brighter."""
        return self.quotient >= TELLING  # NaN is not

    def fluid_part(self, t2star: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """Return the part of fluid in each voxel, 0-1, by linear mixture of the two levels."""
        return np.clip((t2star - self.tissue) / (self.fluid - self.tissue), 0, 1)


def fluid_levels(
    t2star: npt.NDArray[np.floating], brain: npt.NDArray[np.bool_], tissue: npt.NDArray[np.integer]
) -> Levels:
    """Return the levels of tissue and fluid on T2*.

    Parameters
    ----------
    t2star, brain, tissue
        Shape (I, J, K), axis 2 across slices; tissue by the numbers of :data:`mbseg_bids.imaging.labels.TISSUES`.

    Returns
    -------
    Tissue: the brighter of the medians of grey and white matter. Fluid: the median where the map shows fluid with fluid
    all about it in plane, since its rim is mixed with tissue.
    """
    values = [t2star[brain & (tissue == label)] for label in (GM, WM)]
    medians = [float(np.median(v)) for v in values if v.size >= FEWEST]
    cross = ndimage.generate_binary_structure(2, 1)[:, :, None]
    core = t2star[ndimage.binary_erosion(brain & (tissue == CSF), cross)]
    return Levels(max(medians, default=math.nan), float(np.median(core)) if core.size >= FEWEST else math.nan)


@dataclass(frozen=True)
class Surroundings:
    """Parts of a candidate's shell that are parenchyma, 0-1; NaN where not known."""

    by_map: float
    by_t2star: float

    @property
    def parenchyma(self) -> float:
        """Part by T2*; where the map sees more, half of the difference is added, at most a quarter. Else by the map."""
        if math.isnan(self.by_t2star):
            return self.by_map
        return self.by_t2star + min(max((self.by_map - self.by_t2star) / 2, 0), MOST_BY_MAP)

    @property
    def needed(self) -> float:
        """Smallest part of parenchyma that a microbleed has."""
        return BY_MAP_ALONE if math.isnan(self.by_t2star) else HALF


def surroundings(view: View, levels: Levels) -> Surroundings:
    """Judge the shell about a candidate.

    Slices are looked at on their own where they are farther apart than the shell reaches.
    """
    around = shell(view)
    if not around.any():
        return Surroundings(math.nan, math.nan)
    by_map = 1 - float((view.csf | ~view.brain)[around].mean())
    if not levels.telling:
        return Surroundings(by_map, math.nan)
    t2star = view.stack[0]
    dark = t2star < BLOOMING * levels.tissue
    seen = around & ~(dark & view.brain)
    if seen.sum() < SMALLEST_PART * around.sum():
        return Surroundings(by_map, math.nan)
    # What is dark outside the brain is bone or air: no parenchyma, either.
    fluid = np.where(dark, 1.0, levels.fluid_part(t2star))[seen]
    return Surroundings(by_map, 1 - math.fsum(fluid.tolist()) / fluid.size)


def shell(view: View, reach: tuple[float, float] = SHELL_MM) -> npt.NDArray[np.bool_]:
    """Return the voxels about a candidate whose distance from it (mm) is in a range; without other candidates."""
    apart = view.spacing[2] if view.spacing[2] <= reach[1] else 1e3  # then no other slice is near
    box = ndimage.find_objects(view.own.astype(np.uint8))[0]
    margins = [math.ceil(reach[1] / s) for s in view.spacing]
    near = tuple(slice(max(0, b.start - m), b.stop + m) for b, m in zip(box, margins, strict=True))
    distance = ndimage.distance_transform_edt(~view.own[near], sampling=(*view.spacing[:2], apart))
    found = np.zeros(view.own.shape, bool)
    found[near] = (distance > reach[0]) & (distance <= reach[1])
    return found & ~view.others
