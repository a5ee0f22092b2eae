"""The rating sheets of a session for its report: places, pattern, and what rests on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mbseg_bids.clinical.bombs import LOCATION_OF_ROW
from mbseg_bids.clinical.mars import (
    IN_DOUBT,
    LOCATION_OF_PLACE,
    changes_of_pattern,
    count_by_place,
    haemorrhagic_part,
    pattern_of_places,
)
from mbseg_bids.imaging.labels import UNASSIGNED
from mbseg_bids.imaging.place_labels import SIDES
from mbseg_bids.reports.session_files import SessionFiles, one_line

_NEEDED = ("name", "place", "side", "total", "lesions")
MARS_COLUMNS = (*_NEEDED, "definite", "possible", "in_doubt")
BOMBS_COUNTS = ("certain_below_5mm", "certain_5_to_10mm", "uncertain_below_5mm", "uncertain_5_to_10mm")
PLACES_CAVEAT = (
    "Pattern by the places of the Microbleed Anatomical Rating Scale: capsules, corpus callosum, and white matter "
    "within 10 mm of a lateral ventricle are deep. Places come from software, not from a reader."
)
"""To be printed beside a pattern that comes from the sheet."""
BOSTON_CAVEAT = (
    "Haemorrhagic part of the Boston criteria 2.0 only, and of that the microbleeds: age, presentation, siderosis, "
    "larger haemorrhages and white-matter features are not judged. Cerebellar microbleeds count neither as lobar nor "
    "as deep."
)


@dataclass(frozen=True)
class SheetRow:
    """One place of a sheet: cells by side, already text."""

    location: str
    place: str
    cells: tuple[str, ...]
    filled: bool
    """Whether a microbleed lies here."""


@dataclass(frozen=True)
class Rating:
    """What the report says on the places of the microbleeds."""

    pattern: str
    caveat: str
    doubts: tuple[str, ...]
    """One sentence for each pattern that a rejected candidate would make of this one."""
    boston: str
    mars: tuple[SheetRow, ...]
    bombs: tuple[SheetRow, ...]


def read_rating(files: SessionFiles) -> Rating | None:
    """Return what the sheets of a session say; None where it has none, or they cannot be used, which is noted."""
    if files.find("space-T2starw_seg-MARS_dseg.tsv") is None:
        return None
    mars = files.table("space-T2starw_seg-MARS_dseg.tsv", MARS_COLUMNS, "sheet of MARS")
    bombs = files.table("space-T2starw_seg-BOMBS_dseg.tsv", (*_NEEDED, *BOMBS_COUNTS), "sheet of BOMBS")
    if mars is None:
        return None
    try:
        counts = count_by_place(mars)
        changes = changes_of_pattern(mars)
    except (ValueError, KeyError) as error:
        files.note(f"The sheet of MARS cannot be used: {one_line(error)}.")
        return None
    return Rating(
        pattern=pattern_of_places(counts),
        caveat=PLACES_CAVEAT,
        doubts=tuple(doubt_sentence(pattern, names) for pattern, names in changes.items()),
        boston=f"{haemorrhagic_part(counts).sentence} {BOSTON_CAVEAT}",
        mars=_rows(mars, LOCATION_OF_PLACE, ("definite", "possible")),
        bombs=_rows(bombs or [], LOCATION_OF_ROW, BOMBS_COUNTS),
    )


def doubt_sentence(pattern: str, names: Sequence[str]) -> str:
    """Say that a rejected candidate would change the pattern."""
    which = f"any of the rejected candidates {', '.join(names)}" if len(names) > 1 else f"the rejected {names[0]}"
    return (
        f"The pattern would be {pattern.replace('_', ' ')} if {which} were a microbleed "
        f"(probability at least {IN_DOUBT:g}): look at {'them' if len(names) > 1 else 'it'}."
    )


def _rows(
    sheet: Sequence[Mapping[str, str]], locations: Mapping[str, str], counts: tuple[str, ...]
) -> tuple[SheetRow, ...]:
    """Return the rows of a printed sheet: for each place the counts on the left, on the right and on the midline."""
    by_name = {row["name"]: row for row in sheet}
    rows = []
    for place in (*locations, UNASSIGNED) if sheet else ():
        here = [by_name.get(f"{side}_{place}", {}) for side in SIDES]
        if place == UNASSIGNED:
            here = [by_name.get(UNASSIGNED, {}), {}, {}]
            if here[0].get("total", "0") == "0":
                continue
        filled = any(row.get("total", "0") != "0" for row in here)
        cells = tuple(_cell(row, counts) for row in here)
        rows.append(SheetRow(locations.get(place, ""), place, cells, filled))
    return tuple(rows)


def _cell(row: Mapping[str, str], counts: tuple[str, ...]) -> str:
    """Return the counts of one place and side; the total alone without candidate classifier; empty without a row."""
    if not row:
        return ""
    values = [row[name] for name in counts]
    return row["total"] if "n/a" in values else " / ".join(values)
