"""What a run measured that tells how far a session can be trusted, as columns of the group table."""

from collections.abc import Mapping
from typing import Any

from mbseg_bids.reports.facts import mapping, registration_checks
from mbseg_bids.reports.session_files import number


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
    dark, brain = number(search.get("n_mask_voxels")), number(search.get("n_brain_voxels"))
    if dark is not None and brain:
        cells["dark_share"] = dark / brain
    return cells
