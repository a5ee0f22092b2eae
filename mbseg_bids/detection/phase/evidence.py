"""What the phase of a session says of its candidates: blood or calcium.

Calcium of pallidum, choroid plexus and cerebellum is dark on T2* as a microbleed is, but diamagnetic. The sign of its
dipole tells, once the scan's convention of sign is known. What is not sure decides nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mbseg_bids.detection.geometry.components import centroids
from mbseg_bids.detection.phase.dipole import DipoleFit, PhaseScan, fit_dipole
from mbseg_bids.detection.phase.handedness import Convention, convention, local_phase
from mbseg_bids.detection.rules.criteria import Criteria

UNSURE_CONVENTION = (
    "The phase is not used: veins and iron do not tell which way it turns (too few of them, a short echo, a brain mask "
    "too wide, or a filtered phase)."
)
MANY_CALCIUM = 3
"""Surely diamagnetic ones from which, if they outnumber the paramagnetic, a reader is told to look."""


@dataclass(frozen=True)
class PhaseEvidence:
    """What the phase says.

    Attributes
    ----------
    convention
        Of the scan.
    fits
        By label of the survivors; moments positive for what is paramagnetic. Empty where the convention is not sure.
    warning
        A sentence for the reader where the phase could not be used, or where what it says is unusual; else empty.
    local
        Shape (i, j, k), rad: see :func:`~mbseg_bids.detection.phase.handedness.local_phase`; None where the convention
        is not sure.
    """

    convention: Convention
    fits: Mapping[int, DipoleFit] = field(default_factory=dict)
    warning: str = ""
    local: npt.NDArray[np.float32] | None = None

    @property
    def counts(self) -> tuple[int, int]:
        """How many are surely paramagnetic, and surely diamagnetic."""
        moments = [fit.moment for fit in self.fits.values() if fit.sure]
        return sum(moment > 0 for moment in moments), sum(moment < 0 for moment in moments)

    def facts(self) -> dict[str, Any]:
        """Return plain values that JSON can hold, for the summary."""
        paramagnetic, diamagnetic = self.counts
        return {
            "used": self.convention.sign != 0,
            "sign": self.convention.sign,
            "sign_errors": _rounded(self.convention.errors),
            "sign_correlation": _rounded(self.convention.correlation),
            "n_fitted": len(self.fits),
            "n_sure_paramagnetic": paramagnetic,
            "n_sure_diamagnetic": diamagnetic,
        }


def judge_by_phase(
    scan: PhaseScan, survivors: npt.NDArray[np.integer], candidates: npt.NDArray[np.integer]
) -> PhaseEvidence:
    """Fit a dipole about each survivor of the intensity ratio rule.

    Parameters
    ----------
    scan
        On the native grid.
    survivors, candidates
        Labels of shape (i, j, k), same grid. No candidate has a say in what convention the phase follows.
    """
    found = convention(scan, candidates > 0)
    if found.sign == 0:
        return PhaseEvidence(found, warning=UNSURE_CONVENTION)
    centres = centroids(survivors, int(survivors.max(initial=0)))
    fits = {}
    for label in (int(n) for n in np.unique(survivors) if n > 0):
        place = scan.affine[:3, :3] @ centres[label - 1] + scan.affine[:3, 3]
        fits[label] = fit_dipole(scan, place).turned(found.sign)
    judged = PhaseEvidence(found, fits, local=local_phase(scan, found.sign))
    return replace(judged, warning=_unusual(*judged.counts))


def _unusual(paramagnetic: int, diamagnetic: int) -> str:
    """Return a warning where calcium outnumbers blood, as it would if the convention were the wrong way round."""
    if diamagnetic < MANY_CALCIUM or diamagnetic <= paramagnetic:
        return ""
    return (
        f"By the phase, {diamagnetic} of what passed the ratio rule are calcium and {paramagnetic} blood. Look whether "
        "they lie where calcium does (pallidum, dentate nucleus, choroid plexus, pineal gland, falx): if not, the sign "
        "of the phase may be wrong, and --ignore-phase leaves it out."
    )


def with_phase(criteria: Criteria, fit: DipoleFit | None) -> Criteria:
    """Return the criteria of a candidate with what the phase says of it; as they were where it says nothing."""
    if fit is None:
        return criteria
    return replace(criteria, susceptibility_moment=fit.moment, moment_error=fit.error, sign_sure=fit.sure)


def _rounded(value: float) -> float | None:
    return round(value, 3) if np.isfinite(value) else None
