"""Where the lesions of a session lie, by the places of a reader, and the rating sheets that follow."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from mbseg_bids.clinical.bombs import bombs_sheet
from mbseg_bids.clinical.mars import IN_DOUBT, PlacedLesion, mars_sheet
from mbseg_bids.data.columns import describe_columns
from mbseg_bids.detection.geometry.location import locate
from mbseg_bids.detection.lesions.tables import TOO_LARGE
from mbseg_bids.imaging.labels import CORTICAL_GM
from mbseg_bids.imaging.place_labels import PLACE_LABELS

_LABEL_OF = {name: label for label, name in PLACE_LABELS.items()}


@dataclass(frozen=True)
class Sheets:
    """Rating sheets of one session; columns in ``data/columns.json``."""

    mars: pd.DataFrame
    bombs: pd.DataFrame


def rate(
    lesions: npt.NDArray[np.integer],
    lesion_table: pd.DataFrame,
    candidates: npt.NDArray[np.integer],
    candidate_table: pd.DataFrame,
    places: npt.NDArray[np.integer],
    regions: npt.NDArray[np.integer],
    spacing: tuple[float, float, float],
) -> Sheets:
    """Place the lesions, and the candidates in doubt, and fill in the sheets.

    A lesion lies where most of its voxels lie, see :func:`mbseg_bids.detection.geometry.location.locate`.

    Parameters
    ----------
    lesions, candidates
        Labels of shape (i, j, k), numbered as in their tables.
    lesion_table, candidate_table
        As :func:`mbseg_bids.detection.lesions.tables.tabulate` makes them; ``n/a`` may be missing values.
    places, regions
        Labels of places (:mod:`mbseg_bids.imaging.place_labels`) and regions on the same grid.
    spacing
        Voxel size, mm.
    """
    found = locate(lesions, places, spacing, PLACE_LABELS)
    cortical = set(np.unique(lesions[(lesions > 0) & (regions == CORTICAL_GM)]).tolist())
    placed = [
        PlacedLesion(
            name=str(row["name"]),
            place=_LABEL_OF.get(found[int(row["index"])].region, 0),
            certainty=str(row["certainty"]),
            diameter=float(row["longest_diameter_mm"]),
            in_cortex=int(row["index"]) in cortical,
        )
        for row in lesion_table.to_dict("records")
    ]
    doubtful = in_doubt(candidate_table)
    where = locate(np.where(np.isin(candidates, doubtful["index"]), candidates, 0), places, spacing, PLACE_LABELS)
    named = [
        PlacedLesion(str(row["name"]), _LABEL_OF.get(where[int(row["index"])].region, 0))
        for row in doubtful.to_dict("records")
    ]
    return Sheets(_as_table(mars_sheet(placed, named), "mars"), _as_table(bombs_sheet(placed), "bombs"))


def in_doubt(candidate_table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of rejected candidates that may be microbleeds after all, those too large for one left out."""
    probability = pd.to_numeric(candidate_table["lesion_probability"], errors="coerce")
    rejected = (candidate_table["status"] == "rejected") & (candidate_table["reason"] != TOO_LARGE)
    return candidate_table[rejected & (probability >= IN_DOUBT)]


def _as_table(rows: list[dict], table: str) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(describe_columns(table)))
