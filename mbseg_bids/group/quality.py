"""What a run measured that tells how far a session can be trusted, as columns of the group table."""

from collections.abc import Mapping
from typing import Any

from mbseg_bids.imaging.quality_ranges import search_measures
from mbseg_bids.reports.facts import mapping, registration_checks, texts
from mbseg_bids.reports.session_files import number

OF_SCAN = ("t2star_snr", "t2star_ghosting", "t2star_cnr", "t2star_coverage")
"""Measures of the T2* scan that nothing else in the summary holds."""


def quality_cells(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the quality columns of a session; absent where the summary does not have them.

    The registrations are told apart by where they lead: T1w or T2w to T2*, and the anatomical image to the template.
    """
    cells: dict[str, Any] = {}
    retried = []
    for check in registration_checks(summary):
        name = "template" if check.title.endswith("template") else check.moving.lower()
        if name in ("t1w", "t2w", "template"):
            cells |= {f"similarity_{name}": check.similarity, f"overlap_{name}": check.overlap}
            retried.append(check.retried)
    if retried:
        cells["registration_retried"] = any(retried)
    search = mapping(mapping(summary.get("detection")).get("search"))
    cells |= {name: value for name, value in search_measures(search).items() if value is not None}
    return cells | _scan_cells(mapping(summary.get("quality")))


def _scan_cells(quality: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run measured of the T2* scan, and whether that makes the counts unreliable."""
    measures = mapping(quality.get("measures"))
    cells: dict[str, Any] = {
        name: value for name in OF_SCAN if (value := number(mapping(measures.get(name)).get("value"))) is not None
    }
    if isinstance(quality.get("unreliable"), bool):
        cells["counts_unreliable"] = quality["unreliable"]
    cells["unreliable_because"] = "; ".join(texts(quality.get("reasons"))) or None
    return cells
