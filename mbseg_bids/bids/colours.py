"""Colours of labels: a column of the table, and label files for ITK-SNAP, FSLeyes, freeview and 3D Slicer beside it."""

import colorsys
from collections.abc import Mapping
from pathlib import Path

from mbseg_bids.bids.files import write_text
from mbseg_bids.imaging.place_labels import PLACES, SIDES

COLOUR = "color"
"""Name of the column: that of the BIDS standard."""
COLUMN = {"Description": "Colour in viewers, as hexadecimal RGB; the label files beside the table have the same."}
RED, AMBER, BLUE = "#FF5A36", "#FFC83D", "#5EC8FF"
REGION_COLOURS: Mapping[int, str] = {
    1: "#4e9af1",
    2: "#f2d13d",
    3: "#63c785",
    4: "#c58bff",
    5: "#ff9e5e",
    6: "#ff7fa8",
}
"""By the numbers of :data:`mbseg_bids.imaging.labels.REGIONS`; told apart by lightness as well as by hue."""
LESIONS, CANDIDATES, REGIONS, PLACES_KIND = "lesions", "candidates", "regions", "mars"
ENDINGS = (".lut", ".ctbl", ".label")
"""Of the label files: FSLeyes; freeview and 3D Slicer; ITK-SNAP."""
_NO_COLOUR = "n/a"


def coloured(table: str, kind: str) -> str:
    """Return a TSV text with the column ``color`` added on the right.

    Parameters
    ----------
    table
        With the column ``index``; ``certainty`` of lesions and ``status`` of candidates are used where they are.
    kind
        ``lesions`` (red, amber where only possible), ``candidates`` (red where kept, blue where rejected),
        ``regions`` or ``mars``.
    """
    header, *rows = [line.split("\t") for line in table.splitlines()]
    lines = [[*header, COLOUR]]
    lines += [[*row, colour_of(dict(zip(header, row, strict=True)), kind)] for row in rows]
    return "".join("\t".join(line) + "\n" for line in lines)


def colour_of(row: Mapping[str, str], kind: str) -> str:
    """Return the colour of one row, ``n/a`` for the background."""
    if kind == LESIONS:
        return AMBER if row.get("certainty") == "possible" else RED
    if kind == CANDIDATES:
        return RED if row.get("status") == "kept" else BLUE
    index = int(row["index"])
    if index == 0:
        return _NO_COLOUR
    return REGION_COLOURS[index].upper() if kind == REGIONS else place_colour(index)


def place_colour(label: int) -> str:
    """Return the colour of a label of :mod:`mbseg_bids.imaging.place_labels`: a hue a place, darker on the right."""
    step = SIDES["right"]
    place, side = label % step, label // step
    hue = list(PLACES).index(place) / len(PLACES)
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.65, (1.0, 0.7, 0.85)[side])
    return f"#{round(red * 255):02X}{round(green * 255):02X}{round(blue * 255):02X}"


def label_files(table: str) -> dict[str, str]:
    """Return the label files of a table with the columns ``index``, ``name``, ``color``, by their ending.

    ``.lut`` for FSLeyes: label, red, green, blue from 0 to 1, name. ``.ctbl`` for freeview and 3D Slicer: label, name,
    red, green, blue, alpha from 0 to 255. ``.label`` for ITK-SNAP: label, colours to 255, alpha to 1, two flags, name.
    """
    header, *rows = [line.split("\t") for line in table.splitlines()]
    where = [header.index(name) for name in ("index", "name", COLOUR)]
    lut, ctbl = "", "# Color table file\n0 Background 0 0 0 0\n"
    label = '# ITK-SnAP Label Description File\n0 0 0 0 0 0 0 "Clear Label"\n'
    for index, name, colour in ([row[column] for column in where] for row in rows):
        if colour == _NO_COLOUR:
            continue
        parts = [int(colour[n : n + 2], 16) for n in (1, 3, 5)]
        plain = "_".join(name.replace('"', "").split()) or f"label_{index}"
        red, green, blue = parts
        lut += f"{index} {red / 255:.5f} {green / 255:.5f} {blue / 255:.5f} {plain}\n"
        ctbl += f"{index} {plain} {red} {green} {blue} 255\n"
        label += f'{index} {red} {green} {blue} 1 1 1 "{plain}"\n'
    return dict(zip(ENDINGS, (lut, ctbl, label), strict=True))


def write_label_files(path: Path, table: str) -> None:
    """Write the label files of a table beside it; ``path`` is that of the table."""
    for ending, text in label_files(table).items():
        write_text(path.with_suffix(ending), text)
