"""The sheet of the Microbleed Anatomical Rating Scale (MARS), and what follows from it.

Rows, places and the word *deep* are those of Gregoire et al. 2009 (doi:10.1212/WNL.0b013e3181c34a7d): deep are basal
ganglia, thalamus, internal and external capsule, corpus callosum, and the deep and periventricular white matter within
10 mm of the lateral ventricle. The scale's *definite* and *possible* are a reader's judgement of shape and darkness;
here they are those of the calibrated probability of the candidate classifier.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mbseg_bids.clinical.pattern import DEEP, INFRATENTORIAL, LOBAR, distribution_pattern
from mbseg_bids.imaging.labels import UNASSIGNED
from mbseg_bids.imaging.place_labels import PLACE_LABELS, split_label
from mbseg_bids.wording import counted

LOCATION_OF_PLACE: dict[str, str] = {
    **dict.fromkeys(("frontal", "parietal", "temporal", "occipital", "insula"), LOBAR),
    **dict.fromkeys(("basal_ganglia", "thalamus", "internal_capsule", "external_capsule"), DEEP),
    **dict.fromkeys(("corpus_callosum", "deep_periventricular_wm"), DEEP),
    **dict.fromkeys(("brainstem", "cerebellum"), INFRATENTORIAL),
}
"""Lobar, deep or infratentorial, as the scale groups its rows."""
IN_DOUBT = 0.2
"""Rejected candidates of at least this probability are named where one would change the pattern."""
DEFINITE, POSSIBLE = "definite", "possible"
NOTHING = "n/a"


@dataclass(frozen=True)
class PlacedLesion:
    """A microbleed, or a rejected candidate, and where it lies.

    Attributes
    ----------
    name
        As in its table (``CMB-001``).
    place
        Label of its place (:data:`mbseg_bids.imaging.place_labels.PLACE_LABELS`); 0 where it lies in none.
    certainty
        ``definite`` or ``possible``; anything else where no candidate classifier was taken.
    diameter
        Longest diameter, mm.
    in_cortex
        Whether a voxel of it is cortical grey matter.
    """

    name: str
    place: int
    certainty: str = ""
    diameter: float = 0.0
    in_cortex: bool = False


def mars_sheet(lesions: Sequence[PlacedLesion], in_doubt: Sequence[PlacedLesion] = ()) -> list[dict[str, Any]]:
    """Return the sheet: one row for each place and side, and one (label 0) for lesions in no place.

    Parameters
    ----------
    lesions
        Microbleeds of the session.
    in_doubt
        Rejected candidates that may be microbleeds; they are named and not counted.
    """
    judged = all(lesion.certainty in (DEFINITE, POSSIBLE) for lesion in lesions)
    rows = []
    for label, name in {**PLACE_LABELS, 0: UNASSIGNED}.items():
        place, side = split_label(label) if label else (UNASSIGNED, NOTHING)
        here = [lesion for lesion in lesions if lesion.place == label]
        rows.append(
            {"index": label, "name": name, "place": place, "side": side}
            | {"location": LOCATION_OF_PLACE.get(place, NOTHING)}
            | {c: sum(x.certainty == c for x in here) if judged else NOTHING for c in (DEFINITE, POSSIBLE)}
            | {"total": len(here), "lesions": _names(here)}
            | {"in_doubt": _names([candidate for candidate in in_doubt if candidate.place == label])}
        )
    return rows


def count_by_place(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return the number of microbleeds in each place, both sides together, from the rows of a sheet.

    Raises
    ------
    ValueError
        If a total is no number.
    """
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["place"]] = counts.get(row["place"], 0) + int(row["total"])
    return counts


def pattern_of_places(counts: Mapping[str, int]) -> str:
    """Return the distribution pattern (:func:`mbseg_bids.clinical.pattern.distribution_pattern`) by place."""
    return distribution_pattern(_as_regions(counts))


@dataclass(frozen=True)
class HaemorrhagicPart:
    """What the microbleeds say on the Boston criteria 2.0 for cerebral amyloid angiopathy, and no more than that.

    The criteria (Charidimou et al. 2022, doi:10.1016/S1474-4422(22)00208-3) also ask for age, presentation, siderosis,
    larger haemorrhages and features of the white matter, which are not known here. Cerebellar lesions count neither as
    lobar nor as deep there. Lesions of the brainstem are not lobar and count with the deep ones.
    """

    lobar: int
    deep: int
    cerebellar: int
    unplaced: int = 0

    @property
    def sentence(self) -> str:
        """One sentence for a report."""
        if self.unplaced:
            return (
                f"{counted(self.unplaced, 'microbleed')} in no known place: whether lobar ones are alone is not known."
            )
        if self.deep:
            deep = counted(self.deep, "deep or brainstem microbleed")
            return f"{deep}: the criteria's strictly lobar pattern is not there."
        if self.lobar >= 2:
            return (
                f"{counted(self.lobar, 'strictly lobar microbleed')}, none deep: as many (two) as the criteria ask for."
            )
        if self.lobar:
            return "1 strictly lobar microbleed, none deep: alone fewer than the two that the criteria ask for."
        return "No lobar microbleed."


def haemorrhagic_part(counts: Mapping[str, int]) -> HaemorrhagicPart:
    """Return the haemorrhagic part of the Boston criteria 2.0, as far as microbleeds go, from the counts by place."""
    regions = _as_regions(counts)
    return HaemorrhagicPart(
        lobar=regions["cortical_gm"],
        deep=regions["deep_gm"] + regions["brainstem"],
        cerebellar=regions["cerebellar_gm"],
        unplaced=regions[UNASSIGNED],
    )


def changes_of_pattern(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return what the pattern would be if a rejected candidate in doubt were a microbleed: pattern -> candidates.

    Each candidate is taken alone; those that change nothing are left out.
    """
    counts = count_by_place(rows)
    now = pattern_of_places(counts)
    changes: dict[str, list[str]] = {}
    for row in rows:
        if row["in_doubt"] == NOTHING:
            continue
        then = pattern_of_places({**counts, row["place"]: counts[row["place"]] + 1})
        if then != now:
            changes.setdefault(then, []).extend(str(row["in_doubt"]).split(","))
    return changes


def _as_regions(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts under names of regions that lie where the places do."""
    stand_ins = {"brainstem": "brainstem", "cerebellum": "cerebellar_gm"}
    of_location = {LOBAR: "cortical_gm", DEEP: "deep_gm"}
    regions = dict.fromkeys(("cortical_gm", "deep_gm", "brainstem", "cerebellar_gm", UNASSIGNED), 0)
    for place, number in counts.items():
        region = stand_ins.get(place) or of_location.get(LOCATION_OF_PLACE.get(place, ""), UNASSIGNED)
        regions[region] += number
    return regions


def _names(lesions: Sequence[PlacedLesion]) -> str:
    return ",".join(lesion.name for lesion in lesions) or NOTHING
