"""The lesions of all sessions in one long table."""

from collections.abc import Mapping, Sequence
from typing import Any

from mbseg_bids.data.columns import describe_columns
from mbseg_bids.group.rows import SessionResult, cell

_OWN = ("participant_id", "session_id", "status", "registration_passed")
TEMPLATE_COLUMNS = ("x_template_mm", "y_template_mm", "z_template_mm")

Column = Mapping[str, Any]


def lesion_columns(group: Mapping[str, Column]) -> dict[str, Column]:
    """Return the columns of the table with their descriptions; ``group`` describes those of the group table."""
    described: dict[str, Column] = {name: group[name] for name in _OWN}
    described |= describe_columns("lesions") | describe_columns("places")
    described["contrasts"] = group["contrasts"]
    return described


def lesion_lines(
    results: Sequence[SessionResult],
    columns: Mapping[str, Column],
    places: Mapping[tuple[str, str | None, int], Sequence[float]],
) -> list[str]:
    """Return the rows as TSV lines, in the order of the sessions and of their tables.

    Parameters
    ----------
    results
        Sessions.
    columns
        Columns of the table.
    places
        (participant_id, session_id, index of the lesion) to template mm, for tables of earlier versions, which do not
        say where their lesions lie.
    """
    lines = []
    for result in results:
        own = {name: result.row.get(name) for name in _OWN}
        for lesion in result.lesions:
            index = lesion["index"]
            key = (result.row["participant_id"], own["session_id"], int(float(index)) if _is_number(index) else 0)
            place = dict(zip(TEMPLATE_COLUMNS, (round(mm, 1) for mm in places.get(key, ())), strict=False))
            row = place | lesion | own
            lines.append("\t".join(cell(row.get(name)) for name in columns))
    return lines


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
