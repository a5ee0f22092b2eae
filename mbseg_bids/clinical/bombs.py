"""The sheet of the Brain Observer MicroBleed Scale (BOMBS; Cordonnier et al. 2009, doi:10.1161/STROKEAHA.108.526996).

Certain and uncertain microbleeds, smaller than 5 mm and from 5 to 10 mm, on either side: lobar in cortex with the
grey-white junction or in subcortical white matter; deep in basal ganglia, in the internal and external capsule, or in
the thalamus; in the posterior fossa in brainstem or cerebellum. The scale has no row of its own for the corpus callosum
and the deep white matter: they are counted as white matter here, so that its *lobar* is wider than that of MARS.
"""

from collections.abc import Sequence
from typing import Any

from mbseg_bids.clinical.mars import DEFINITE, NOTHING, POSSIBLE, PlacedLesion
from mbseg_bids.imaging.labels import UNASSIGNED
from mbseg_bids.imaging.place_labels import MIDLINE, SIDES, split_label

CORTEX, WHITE_MATTER = "cortex_grey_white_junction", "subcortical_white_matter"
LOCATION_OF_ROW: dict[str, str] = {
    CORTEX: "lobar",
    WHITE_MATTER: "lobar",
    "basal_ganglia": "deep",
    "internal_external_capsule": "deep",
    "thalamus": "deep",
    "brainstem": "posterior_fossa",
    "cerebellum": "posterior_fossa",
}
"""Rows of the sheet, and their group."""
_ROW_OF_PLACE = {
    **dict.fromkeys(("internal_capsule", "external_capsule"), "internal_external_capsule"),
    **dict.fromkeys(("corpus_callosum", "deep_periventricular_wm"), WHITE_MATTER),
    **{place: place for place in ("basal_ganglia", "thalamus", "brainstem", "cerebellum")},
}
SIZE_LIMIT = 5.0
"""mm, longest diameter: smaller, or from there on."""
_CERTAINTY = {"certain": DEFINITE, "uncertain": POSSIBLE}
_BELOW, _ABOVE = "below_5mm", "5_to_10mm"


def row_of(lesion: PlacedLesion) -> tuple[str, str]:
    """Return row and side of a lesion; ``unassigned`` and ``n/a`` where it lies in no place."""
    if not lesion.place:
        return UNASSIGNED, NOTHING
    place, side = split_label(lesion.place)
    return _ROW_OF_PLACE.get(place, CORTEX if lesion.in_cortex else WHITE_MATTER), side


def bombs_sheet(lesions: Sequence[PlacedLesion]) -> list[dict[str, Any]]:
    """Return the sheet: one row for each place and side, numbered from 1, and one (0) for lesions in no place."""
    judged = all(lesion.certainty in _CERTAINTY.values() for lesion in lesions)
    # White matter has a midline only through the corpus callosum, the brainstem has one of its own.
    midline = (WHITE_MATTER, "brainstem")
    named = [(row, side) for side in SIDES for row in LOCATION_OF_ROW if side != MIDLINE or row in midline]
    rows = []
    for index, (name, side) in [*enumerate(named, start=1), (0, (UNASSIGNED, NOTHING))]:
        here = [lesion for lesion in lesions if row_of(lesion) == (name, side)]
        counts: dict[str, int | str] = {}
        for word, certainty in _CERTAINTY.items():
            for size in (_BELOW, _ABOVE):
                chosen = [x for x in here if x.certainty == certainty and (x.diameter < SIZE_LIMIT) == (size == _BELOW)]
                counts[f"{word}_{size}"] = len(chosen) if judged else NOTHING
        full_name = f"{side}_{name}" if index else UNASSIGNED
        rows.append(
            {"index": index, "name": full_name, "place": name, "side": side}
            | {"location": LOCATION_OF_ROW.get(name, NOTHING), **counts, "total": len(here)}
            | {"lesions": ",".join(lesion.name for lesion in here) or NOTHING}
        )
    return rows
