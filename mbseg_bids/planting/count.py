"""What became of planted lesions, and what was found that was not planted."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mbseg_bids.planting.detect import Found

NOT_SEARCHED, NETWORK, ELSEWHERE = "not_searched", "network", "elsewhere"
"""Steps that lose a lesion before there is a candidate; a candidate is reported, but no voxel of the lesion with it."""


@dataclass(frozen=True)
class Fate:
    """What became of one planted lesion.

    Attributes
    ----------
    found
        It has a voxel in common with a lesion of the result, on the native grid.
    probability
        Largest that the network gave to one of its voxels; 0 where it was not asked.
    lost_at
        The step that lost it: one of those above, or the reason in the table of candidates; empty if found.
    """

    found: bool
    probability: float
    lost_at: str = ""


def fates(truth_native: npt.NDArray[np.integer], truth: npt.NDArray[np.integer], found: Found) -> dict[int, Fate]:
    """Return the fate of each planted lesion by its label.

    Parameters
    ----------
    truth_native, truth
        Labels of the planted lesions on the native grid and on the detection grid.
    found
        What was found in the planted scan.
    """
    detected = set(np.unique(truth_native[(truth_native > 0) & (found.native.lesions > 0)]).tolist())
    result = {}
    for label in np.unique(truth_native[truth_native > 0]).tolist():
        own = truth == label
        probability = float(found.probability[own].max(initial=0.0))
        lost_at = "" if label in detected else _lost_at(own, found)
        result[label] = Fate(label in detected, probability, lost_at)
    return result


def not_planted(
    truth_native: npt.NDArray[np.integer], before: npt.NDArray[np.bool_], found: Found
) -> list[dict[str, Any]]:
    """Return the rows of the lesion table that are neither planted nor were found before planting.

    ``before``: voxels of lesions found in the scan as it is; shape of ``truth_native``, the native grid.
    """
    known = set(np.unique(found.native.lesions[(truth_native > 0) | before]).tolist())
    table = found.native.lesion_table
    return [row for row in table.to_dict("records") if row["index"] not in known]


def _lost_at(own: npt.NDArray[np.bool_], found: Found) -> str:
    if not found.asked[own].any():
        return NOT_SEARCHED
    candidates = found.result.candidates[own]
    candidates = candidates[candidates > 0]
    if not candidates.size:
        return NETWORK
    table = found.native.candidate_table.set_index("index")
    reasons = [table.loc[label, "reason"] for label in candidates.tolist() if table.loc[label, "status"] == "rejected"]
    if not reasons:
        return ELSEWHERE
    return min(set(reasons), key=lambda reason: (-reasons.count(reason), reason))
