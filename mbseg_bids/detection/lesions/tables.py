"""The lesion table and the table of candidates, on whichever grid the masks are."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from mbseg_bids.clinical.size import MINIMUM_DIAMETER, equal_sphere_diameter, size_class
from mbseg_bids.data.columns import describe_columns
from mbseg_bids.detection.candidates.classifier import MIMIC
from mbseg_bids.detection.geometry.caliper import longest_distance
from mbseg_bids.detection.geometry.components import centroids, position_order, renumber
from mbseg_bids.detection.rules.criteria import (
    BRIGHT_CORE,
    CONTINUES_AS_VESSEL,
    DIAMAGNETIC,
    NOT_IN_PARENCHYMA,
    Criteria,
)
from mbseg_bids.settings import DetectionSettings

NOTHING = "n/a"
"""Missing value of a BIDS table."""
DECIMALS = {
    "volume_mm3": 3,
    "diameter_mm": 2,
    "longest_diameter_mm": 2,
    "x_mm": 2,
    "y_mm": 2,
    "z_mm": 2,
    "probability_mean": 4,
    "probability_max": 4,
    "contrast_ratio": 3,
    "parenchyma_share": 3,
    "core_brightness": 3,
    "vessel_in_plane": 3,
    "vessel_across_slices": 3,
    "susceptibility_moment": 2,
    "moment_error": 2,
    "lesion_probability": 4,
}
TOO_LARGE, TOO_SMALL, CANDIDATE_CLASSIFIER, RATIO = (
    "above_maximum_size",
    "below_minimum_size",
    "second_look",
    "intensity_ratio",
)
REASONS = (
    TOO_LARGE,
    NOT_IN_PARENCHYMA,
    BRIGHT_CORE,
    CONTINUES_AS_VESSEL,
    DIAMAGNETIC,
    CANDIDATE_CLASSIFIER,
    TOO_SMALL,
    RATIO,
)
"""Steps that reject a candidate. Where its parts were rejected by several, the first of these is its reason."""


@dataclass(frozen=True)
class Evidence:
    """What was found out about one candidate or survivor on the detection grid; it holds on any grid.

    ``candidate`` is the label of the candidate that a survivor came of; a candidate's own label otherwise. ``criteria``
    is empty where the reader's criteria were left out. The last three fields are of the candidate classifier
    (:class:`mbseg_bids.detection.candidates.classifier.Verdict`), empty where none was taken.
    """

    candidate: int
    region: str
    probability_mean: float
    probability_max: float
    contrast_ratio: float
    ratio_threshold: float
    flags: tuple[str, ...] = ()
    criteria: Criteria = field(default_factory=Criteria)
    lesion_probability: float = math.nan
    certainty: str = ""
    against: str = ""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Evidence":
        """Return what ``dataclasses.asdict`` took apart, and JSON may have turned tuples into lists of."""
        nested = {"flags": tuple(values["flags"]), "criteria": Criteria(**values["criteria"])}
        return cls(**{**values, **nested})


@dataclass(frozen=True, eq=False)
class Tabulated:
    """Lesions and tables on one grid. ``lesions``: int32, numbered as in the table from 1 without gaps."""

    lesions: npt.NDArray[np.int32]
    lesion_table: pd.DataFrame
    candidate_table: pd.DataFrame


def tabulate(
    candidates: npt.NDArray[np.int32],
    survivors: npt.NDArray[np.int32],
    evidence_of_candidates: dict[int, Evidence],
    evidence_of_survivors: dict[int, Evidence],
    affine: npt.NDArray[np.float64],
    slice_axis: int,
    settings: DetectionSettings,
    *,
    with_phase: bool = False,
) -> Tabulated:
    """Apply criteria, candidate classifier and size rules to what the ratio rule left; measure on the given grid.

    The size rules come last and on the grid of the result, so that no table contradicts itself: a lesion listed with
    a diameter is on the right side of the limits by that diameter.

    Parameters
    ----------
    candidates, survivors
        Labels of shape (i, j, k): components before and after the intensity ratio rule.
    evidence_of_candidates, evidence_of_survivors
        By label.
    affine
        Voxel indices of this grid to RAS+ mm.
    slice_axis
        Array axis across the slices of the acquisition.
    settings
        For ``minimum_diameter``, ``maximum_diameter`` and ``reader_criteria``.
    with_phase
        Whether the session has a phase: its columns are there then, and only then.
    """
    measured = measure(survivors, affine, slice_axis)
    verdicts = {label: _verdict(row, evidence_of_survivors[label], settings) for label, row in measured.items()}
    order = [label for label in _order(survivors, affine) if verdicts[label] is None]
    new_index = {label: index for index, label in enumerate(order, start=1)}

    lesion_rows = []
    for label in order:
        evidence = evidence_of_survivors[label]
        flags = _flags(evidence.flags, float(measured[label]["diameter_mm"]), settings)
        row = _row(f"CMB-{new_index[label]:03d}", new_index[label], measured[label], evidence, flags)
        lesion_rows.append(row | _judged(evidence) | {"candidate_index": evidence.candidate})

    became: dict[int, list[int]] = {label: [] for label in evidence_of_candidates}
    for label, evidence in evidence_of_survivors.items():
        became[evidence.candidate].append(label)
    candidate_rows = []
    for label, row in measure(candidates, affine, slice_axis).items():
        kept = sorted(new_index[s] for s in became[label] if s in new_index)
        reasons = {verdict for s in became[label] if (verdict := verdicts[s]) is not None}
        evidence = evidence_of_candidates[label]
        flags = [
            *evidence.flags,
            *(["split"] if len(became[label]) > 1 else []),
            *sorted(reasons & {TOO_LARGE, TOO_SMALL}),
        ]
        reason = min(reasons, default=RATIO, key=REASONS.index)
        fate = {
            "status": "kept" if kept else "rejected",
            "reason": NOTHING if kept else reason,
            "lesion_index": ",".join(map(str, kept)) or NOTHING,
        }
        # Of several parts the one that says why: the likeliest of those with the candidate's own fate.
        parts = [s for s in became[label] if verdicts[s] == (None if kept else reason)]
        best = max((evidence_of_survivors[s] for s in parts), key=_by_probability, default=evidence)
        judged = _judged(best) | {"evidence_against": best.against or NOTHING}
        candidate_rows.append(fate | _row(f"CAND-{label:03d}", label, row, evidence, flags) | judged)
    more = ("phase",) if with_phase else ()
    return Tabulated(
        renumber(survivors, order),
        as_table(lesion_rows, "lesions", *more),
        as_table(candidate_rows, "candidates", *more),
    )


def measure(
    labels: npt.NDArray[np.integer], affine: npt.NDArray[np.float64], slice_axis: int
) -> dict[int, dict[str, int | float | str]]:
    """Return size and place of every label present, by the names of the columns.

    Volume is voxels times the volume of a voxel; (i, j, k) the voxel that holds the centroid, (x, y, z) the centroid.
    """
    voxel_volume = float(abs(np.linalg.det(affine[:3, :3])))
    centres = centroids(labels, int(labels.max(initial=0)))
    rows = {}
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        own = labels[box] == label
        n_voxels = int(np.count_nonzero(own))
        other_axes = tuple(axis for axis in range(3) if axis != slice_axis)
        centre = centres[label - 1]
        i, j, k = (int(v) for v in np.rint(centre))
        x, y, z = affine[:3, :3] @ centre + affine[:3, 3]
        volume = n_voxels * voxel_volume
        diameter = equal_sphere_diameter(volume)
        rows[label] = {
            "volume_mm3": volume,
            "n_voxels": n_voxels,
            "diameter_mm": diameter,
            "longest_diameter_mm": max(diameter, longest_distance(own, affine[:3, :3], slice_axis)),
            "size_class": size_class(volume),
            **{"i": i, "j": j, "k": k, "x_mm": x, "y_mm": y, "z_mm": z},
            "n_slices": int(np.count_nonzero(own.any(axis=other_axes))),
        }
    return rows


def as_table(rows: list[dict], *tables: str) -> pd.DataFrame:
    """Return rows as a table with exactly the documented columns of one or several, in their order, numbers rounded."""
    frame = pd.DataFrame(rows, columns=[column for table in tables for column in describe_columns(table)])
    # + 0.0 turns the negative zero that rounding makes into zero.
    return frame.assign(**{c: frame[c].astype(float).round(n) + 0.0 for c, n in DECIMALS.items() if c in frame})


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a BIDS table: tab-separated, ``n/a`` for what is missing, the same bytes for the same values."""
    table.to_csv(path, sep="\t", index=False, na_rep=NOTHING, lineterminator="\n")


def _row(name: str, index: int, measures: dict, evidence: Evidence, flags: list[str]) -> dict:
    return {
        "index": index,
        "name": name,
        "region": evidence.region,
        **measures,
        "probability_mean": evidence.probability_mean,
        "probability_max": evidence.probability_max,
        "contrast_ratio": evidence.contrast_ratio,
        "ratio_threshold": evidence.ratio_threshold,
        "flags": ",".join(dict.fromkeys(flags)) or NOTHING,
    }


def _flags(flags: tuple[str, ...], diameter: float, settings: DetectionSettings) -> list[str]:
    return [*flags, *(["below_minimum_size"] if diameter < max(MINIMUM_DIAMETER, settings.minimum_diameter) else [])]


def _judged(evidence: Evidence) -> dict:
    """Return the cells of criteria and candidate classifier."""
    return {
        **asdict(evidence.criteria),
        "lesion_probability": evidence.lesion_probability,
        "certainty": evidence.certainty or NOTHING,
    }


def _by_probability(evidence: Evidence) -> float:
    return -1.0 if math.isnan(evidence.lesion_probability) else evidence.lesion_probability


def _verdict(row: Mapping[str, Any], evidence: Evidence, settings: DetectionSettings) -> str | None:
    """Return the step that rejects a survivor, or None.

    A bleed too large for a microbleed is to be read as a macrohaemorrhage, whatever its core, and is no mimic's matter.
    But what lies in fluid, goes on as a vessel or is calcium is no bleed of the brain; and what is only long is one if
    it is no mimic.
    """
    failed = evidence.criteria.rejected_by if settings.reader_criteria else ""
    diameter, longest = float(row["diameter_mm"]), float(row["longest_diameter_mm"])
    steps = (
        (failed, failed in (NOT_IN_PARENCHYMA, CONTINUES_AS_VESSEL, DIAMAGNETIC)),
        (TOO_LARGE, diameter > settings.maximum_diameter),
        (failed, failed == BRIGHT_CORE),
        (CANDIDATE_CLASSIFIER, evidence.certainty == MIMIC),
        (TOO_LARGE, settings.reader_criteria and longest > settings.maximum_diameter),
        (TOO_SMALL, diameter < settings.minimum_diameter),
    )
    return next((step for step, rejects in steps if rejects), None)


def _order(labels: npt.NDArray[np.int32], affine: npt.NDArray[np.float64]) -> list[int]:
    return position_order(labels, affine, int(labels.max(initial=0)))
