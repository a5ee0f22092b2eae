"""Where a point of a scan lies on the template, and on which side of the brain."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mbseg_bids.imaging.transforms import Transform, move_points

MIDLINE_MM = 2.0
"""Half the width of the midline on the template: about what a deformable registration leaves open."""
LEFT, RIGHT, MIDLINE = "left", "right", "midline"
COLUMNS = ("side", "x_template_mm", "y_template_mm", "z_template_mm")
_POSITION = ("x_mm", "y_mm", "z_mm")


def side_of(x_template: float) -> str:
    """Return the side of the brain of a point of a symmetric template, x in mm, positive to the right.

    The plane x = 0 of the template parts the hemispheres. Registration carries it to the plane that parts those of the
    person, so a head that lay turned or off the centre of the scanner changes nothing.
    """
    if abs(x_template) <= MIDLINE_MM:
        return MIDLINE
    return RIGHT if x_template > 0 else LEFT


def add_places(table: str, way: Sequence[Transform]) -> str:
    """Return a TSV text with the columns :data:`COLUMNS` added on the right.

    Parameters
    ----------
    table
        With the columns ``x_mm``, ``y_mm``, ``z_mm``, RAS+ in mm; ``n/a`` in one of them gives ``n/a`` in all added.
    way
        Transforms that take these points, one after the other, to the template.
    """
    header, *rows = [line.split("\t") for line in table.splitlines()]
    added = [["n/a"] * len(COLUMNS) for _ in rows]
    where = [header.index(name) for name in _POSITION]
    known = [n for n, row in enumerate(rows) if "n/a" not in (row[column] for column in where)]
    if known:
        points = np.array([[float(rows[n][column]) for n in known] for column in where])
        for n, place in zip(known, _rounded(move_points(points, way)), strict=True):
            added[n] = [side_of(place[0]), *(f"{mm:.1f}" for mm in place)]
    lines = [[*header, *COLUMNS], *([*row, *cells] for row, cells in zip(rows, added, strict=True))]
    return "".join("\t".join(line) + "\n" for line in lines)


def _rounded(points: npt.NDArray[np.float64]) -> list[list[float]]:
    """Return points of shape (3, n) as n lists, rounded to the digits that are written; no negative zero."""
    return (points.T.round(1) + 0.0).tolist()
