"""What a reader asks of a microbleed, in so many words: one measure, one limit and one name for each question.

After Greenberg et al. 2009 (Lancet Neurol 8:165), MARS (Gregoire et al. 2009) and STRIVE-2 (Duering et al. 2023): at
least half surrounded by parenchyma; not bright on T1w or T2w (cavernoma, subacute blood, vessel with inflow); not
linear; and, where a phase is at hand, not diamagnetic (calcium, see :mod:`mbseg_bids.detection.phase.evidence`). The
limit of size is in :mod:`mbseg_bids.detection.lesions.tables`. The criteria come after the intensity ratio rule and
before the candidate classifier; they are not part of the method of Dadar et al. 2022. What cannot be measured never
rejects.

The limits were chosen on simulated scans of the anatomies that the networks were trained on, see docs/method.md.
"""

import math
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.detection.rules.continuation import THIN_SLICE_MM, line_across_slices, line_in_plane, smooth_signal
from mbseg_bids.detection.rules.lesion_view import Scan, View
from mbseg_bids.detection.rules.parenchyma import HALF, Levels, Surroundings, fluid_levels, shell, surroundings

NOT_IN_PARENCHYMA, BRIGHT_CORE, CONTINUES_AS_VESSEL = "not_in_parenchyma", "bright_core", "continues_as_vessel"
DIAMAGNETIC = "diamagnetic"

BRIGHTEST_CORE = 1.2
"""T2w or T1w of the core / that of nearly all about it."""
CORE_RING_MM = (0.9, 3.2)
"""What the core is compared with."""
DARKEST_LINE = math.log(1.1)
"""A line that is fainter is not told from noise and texture."""
LINE_TO_DOT = 0.6
"""Darkness of the line / that of the candidate: a vessel goes on as dark as it is, a microbleed on a vein is darker."""


@dataclass(frozen=True)
class CriteriaFacts:
    """What the criteria can tell on a scan.

    Attributes
    ----------
    fluid_to_tissue
        T2* of fluid / T2* of tissue; NaN where not known.
    t2star_tells_fluid
        Whether that is enough for T2* to have a say in what surrounds a candidate.
    slices_tell_vessels
        Whether slices are thin enough to follow a vessel from one to the next.
    """

    fluid_to_tissue: float
    t2star_tells_fluid: bool
    slices_tell_vessels: bool

    def as_dict(self) -> dict[str, float | bool | None]:
        """Return plain values that JSON can hold."""
        quotient = None if math.isnan(self.fluid_to_tissue) else round(self.fluid_to_tissue, 3)
        return asdict(self) | {"fluid_to_tissue": quotient}


@dataclass(frozen=True)
class Criteria:
    """What was measured of one candidate; NaN where it could not be.

    Attributes
    ----------
    parenchyma_share
        Part of its shell that is brain parenchyma, 0-1.
    parenchyma_needed
        Smallest such part of a microbleed: less where T2* cannot tell.
    core_brightness
        T2w or T1w of its core / the 90th percentile about it, the larger of the two.
    vessel_in_plane, vessel_across_slices
        Darkness of a line through it / its own darkness; 0 without a line.
    susceptibility_moment, moment_error
        Susceptibility against tissue times volume, and its standard error, ppm (SI) mm^3; positive: paramagnetic, as
        blood is.
    sign_sure
        Whether the sign of the moment is sure.
    """

    parenchyma_share: float = math.nan
    parenchyma_needed: float = HALF
    core_brightness: float = math.nan
    vessel_in_plane: float = math.nan
    vessel_across_slices: float = math.nan
    susceptibility_moment: float = math.nan
    moment_error: float = math.nan
    sign_sure: bool = False

    @property
    def rejected_by(self) -> str:
        """Name of the first criterion that it fails, or empty."""
        if self.parenchyma_share < self.parenchyma_needed:
            return NOT_IN_PARENCHYMA
        if self.core_brightness > BRIGHTEST_CORE:
            return BRIGHT_CORE
        lines = (self.vessel_in_plane, self.vessel_across_slices)
        if any(line >= LINE_TO_DOT for line in lines):
            return CONTINUES_AS_VESSEL
        return DIAMAGNETIC if self.sign_sure and self.susceptibility_moment < 0 else ""


def measure_criteria(scan: Scan, labels: npt.NDArray[np.integer]) -> tuple[CriteriaFacts, dict[int, Criteria]]:
    """Measure every label; return what can be told on this scan, and the measures by label.

    Parameters
    ----------
    scan
        Images on the detection grid; a tissue map that is all zero is none.
    labels
        Shape (I, J, K): what the intensity ratio rule left, 1..n.
    """
    levels = fluid_levels(scan.stack[0], scan.brain, scan.tissue)
    known = levels if scan.tissue.any() else None
    measured = {}
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            measured[label] = _measure(View.of(scan, labels, label, box), known)
    return CriteriaFacts(levels.quotient, levels.telling, scan.spacing[2] <= THIN_SLICE_MM), measured


def _measure(view: View, levels: Levels | None) -> Criteria:
    """``levels``: None without a tissue map."""
    level = view.ring_level
    darkness = math.log(level / max(float(view.stack[0][view.own].mean()), 0.02 * level)) if level > 0 else math.nan
    smooth = smooth_signal(view)
    around = Surroundings(math.nan, math.nan) if levels is None else surroundings(view, levels)
    return Criteria(
        around.parenchyma,
        around.needed,
        core_brightness(view),
        _line_to_dot(line_in_plane(view, smooth), darkness),
        _line_to_dot(line_across_slices(view, smooth), darkness),
    )


def core_brightness(view: View) -> float:
    """Return how much brighter the core of a candidate is than what is about it, on T2w or T1w: the larger quotient.

    The core is the candidate without its rim in plane, since the haemosiderin rim of a cavernoma is dark. It is held
    against the 90th percentile about it, so that a microbleed beside fluid is not bright where T2w is a little off.
    NaN for a candidate too small to have a core, and without T2w and T1w.
    """
    cross = ndimage.generate_binary_structure(2, 1)[:, :, None]
    core = ndimage.binary_erosion(view.own, cross)
    ring = shell(view, CORE_RING_MM) & view.brain
    if not core.any() or not ring.any():
        return math.nan
    quotients = []
    for channel in view.stack[1:]:
        around = float(np.percentile(channel[ring], 90))
        if around > 0:
            quotients.append(float(channel[core].mean()) / around)
    return max(quotients, default=math.nan)


def _line_to_dot(line: float, dot: float) -> float:
    if math.isnan(line) or not dot > 0:
        return math.nan
    return line / dot if line >= DARKEST_LINE else 0.0
