"""Tables of what was planted and found, with intervals; each column is described in ``data/planting_columns.json``."""

import json
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from mbseg_bids.clinical.size import SIZE_CLASSES
from mbseg_bids.evaluation.intervals import PARTICIPANT, Bootstrap, Metric, pool
from mbseg_bids.evaluation.tables import NOTHING
from mbseg_bids.imaging.labels import REGIONS
from mbseg_bids.planting.detect import AS_RUN, WITHOUT_SECOND_LOOK
from mbseg_bids.planting.session import SessionResult

ALL = "all"
EDGES = (0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 100.0)
"""mm: diameters of the points of the curve; the last is open."""
SENSITIVITY = Metric("sensitivity", {"n_found": 1}, {"n_planted": 1})
NOT_PLANTED = Metric("not_planted_per_scan", {"n_not_planted": 1}, {"n_scans": 1}, "rate")
DECIMALS = {
    "x_mm": 2, "y_mm": 2, "z_mm": 2, "volume_mm3": 3, "diameter_mm": 2, "contrast_ratio": 3, "vessel_distance_mm": 2,
    "probability_max": 4,
}  # fmt: skip
STEPS = {
    AS_RUN: "all steps",
    WITHOUT_SECOND_LOOK: "without candidate classifier",
}
"""In the words of a reader."""


def planted_table(results: Sequence[SessionResult]) -> pd.DataFrame:
    """Return one row a planted lesion of every session."""
    rows = [_names(result.name) | row for result in results for row in result.planted]
    frame = pd.DataFrame(rows, columns=list(columns("planted")))
    rounded = {c: frame[c].astype(float).replace([np.inf, -np.inf], np.nan).round(n) + 0.0 for c, n in DECIMALS.items()}
    words = {c: frame[c].map({True: "yes", False: "no"}) for c in ("near_vessel", "found", "found_without_second_look")}
    return frame.assign(**rounded, **words, lost_at=frame["lost_at"].replace("", NOTHING))


def summary_table(results: Sequence[SessionResult], bootstrap: Bootstrap | None = None) -> pd.DataFrame:
    """Return counts and rates of each session and of all: every lesion, then by what the groups have in common."""
    counts = pd.DataFrame([row for result in results for row in _counts(result)])
    counts = pd.concat([counts.assign(scan=ALL), counts], ignore_index=True)
    pooled = pool(counts, ("scan", "steps", "group", "value"), (SENSITIVITY, NOT_PLANTED), bootstrap)
    beside = pooled["group"] == "near_vessel"  # nobody measured how near a vessel the others are
    pooled["n_not_planted"] = pooled["n_not_planted"].astype(float)
    pooled.loc[beside, ["n_not_planted", *NOT_PLANTED.columns()[:3]]] = np.nan
    pooled.loc[beside, NOT_PLANTED.columns()[3]] = NOTHING
    names = pd.DataFrame([_names(name) for name in pooled["scan"]])
    return pd.concat([names, pooled], axis=1)[list(columns("planted_summary"))]


def curve_table(results: Sequence[SessionResult], bootstrap: Bootstrap | None = None) -> pd.DataFrame:
    """Return sensitivity by observed diameter, over all regions and in each: all sessions, all steps of the run."""
    rows = []
    for result in results:
        for start, end in pairwise(EDGES):
            here = [row for row in result.planted if start <= row["diameter_mm"] < end]
            for region in (ALL, *REGIONS.values()):
                own = [row for row in here if region in (ALL, row["region"])]
                rows.append(
                    {PARTICIPANT: _participant(result.name), "region": region, "diameter_from": str(start)}
                    | {"n_planted": len(own), "n_found": sum(row["found"] for row in own)}
                    | {"sum_of_diameters": sum(row["diameter_mm"] for row in own)}
                )
    pooled = pool(pd.DataFrame(rows), ("region", "diameter_from"), (SENSITIVITY,), bootstrap)
    pooled = pooled[pooled["n_planted"] > 0].reset_index(drop=True)
    starts = pooled["diameter_from"].astype(float)
    ends = starts.map(dict(pairwise(EDGES)))
    mean = (pooled["sum_of_diameters"] / pooled["n_planted"]).round(3)
    return pooled.assign(diameter_from=starts, diameter_to=ends, diameter_mean=mean)[list(columns("planted_curve"))]


def scan_rows(summary: pd.DataFrame) -> list[dict[str, Any]]:
    """Return one row a scan and variant, as a person reads it: scan, steps, planted, found, not planted a scan."""
    rows = summary[(summary["group"] == ALL) & (summary["participant_id"] != ALL)]
    return [
        {
            "scan": row.participant_id + ("" if row.session_id == NOTHING else f"_{row.session_id}"),
            "steps": STEPS[row.steps],
            "planted": f"{row.n_planted:.0f}",
            "found": f"{row.n_found:.0f} ({row.sensitivity:.0%})" if row.n_planted else "0",
            "not planted per scan": f"{row.not_planted_per_scan:.1f}",
        }
        for row in rows.itertuples()
    ]


def columns(table: str) -> dict[str, dict[str, Any]]:
    """Return the columns of a table in order, each with its BIDS description."""
    return _columns()[table]


@cache
def _columns() -> dict[str, dict[str, dict[str, Any]]]:
    text = resources.files("mbseg_bids.data").joinpath("planting_columns.json").read_text(encoding="utf-8")
    content = json.loads(text)
    return {table: {name: content["columns"][name] for name in names} for table, names in content["tables"].items()}


def _counts(result: SessionResult) -> Iterator[dict[str, Any]]:
    """Yield a row of counts for each variant and group; of what does not occur, a row of zeros."""
    groups = [(ALL, ALL)]
    groups += [("size_class", name) for name in SIZE_CLASSES]
    groups += [("region", name) for name in REGIONS.values()]
    groups += [("slice_thickness", f"{result.slice_thickness:g}"), ("near_vessel", "yes"), ("near_vessel", "no")]
    for steps in result.steps:
        found_column = "found" if steps == AS_RUN else "found_without_second_look"
        others = [row for row in result.others if row["steps"] == steps]
        for group, value in groups:
            planted = [row for row in result.planted if _belongs(row, group, value)]
            yield {PARTICIPANT: _participant(result.name), "scan": result.name, "steps": steps} | {
                "group": group,
                "value": value,
                "n_scans": result.repetitions,
                "n_planted": len(planted),
                "n_found": sum(row[found_column] for row in planted),
                "n_not_planted": sum(_belongs(row, group, value) for row in others),
            }


def _belongs(row: dict[str, Any], group: str, value: str) -> bool:
    if group in (ALL, "slice_thickness"):
        return True
    own = row.get(group, "")
    return (("yes" if own else "no") if group == "near_vessel" else own) == value


def _participant(name: str) -> str:
    return name.partition("_ses-")[0]


def _names(name: str) -> dict[str, str]:
    participant, _, session = name.partition("_ses-")
    if name == ALL:
        return {"participant_id": ALL, "session_id": ALL}
    return {"participant_id": participant, "session_id": f"ses-{session}" if session else NOTHING}
