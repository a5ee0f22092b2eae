"""Cards of lesions and of rejected candidates."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from mbseg_bids.clinical.counts import split_flags
from mbseg_bids.contrasts import TITLES
from mbseg_bids.reports.figures import (
    PLANE_NAMES,
    plane_image,
    to_plane,
)
from mbseg_bids.reports.images import SessionImages, voxels_of
from mbseg_bids.reports.lesion_views import phase_pictures, view_about
from mbseg_bids.reports.locator import locator, slice_of
from mbseg_bids.reports.session_files import number
from mbseg_bids.reports.views import canonical_voxel

PROJECTION_MM = 10.0
"""Thickness of the slab of the minimum intensity projection; at least the two neighbouring slices."""
MINIMUM_RING_MM = 2.5
ALL_PICTURES = 11
"""Of a lesion: three planes of three contrasts, the projection, and the whole slice; three of the phase if it was
used."""
RATIO_RULE = "intensity_ratio"
"""Reason of the candidates that the ratio rule rejected; all others passed it."""

FLAG_SENTENCES = {
    "below_minimum_size": "smaller than the least size of a microbleed (2 mm)",
    "above_maximum_size": "larger than 10 mm: a macrohaemorrhage, not counted as a microbleed",
    "no_ring": "no surroundings to compare with: the intensity ratio could not be judged",
    "no_signal": "T2* is zero in all its voxels",
    "touches_brain_edge": "touches the edge of the brain mask",
    "nearest_region": "touches no region: the nearest one was taken",
    "split": "one candidate that fell apart into several lesions",
}
REASON_SENTENCES = {
    RATIO_RULE: "rejected by the ratio rule: not dark enough against its surroundings",
    "below_minimum_size": "passed the ratio rule, rejected by its size: smaller than the minimum",
    "above_maximum_size": "rejected by its size: larger than the maximum, a possible macrohaemorrhage, not counted",
    "not_in_parenchyma": "passed the ratio rule, rejected by its place: less than half surrounded by brain tissue, in "
    "a sulcus, a cistern or a ventricle",
    "bright_core": "passed the ratio rule, rejected by its core, bright on T2w or T1w: a cavernoma, fresh blood or a "
    "vessel",
    "continues_as_vessel": "passed the ratio rule, rejected as a vessel: a dark line goes on at both sides of it",
    "diamagnetic": "passed the ratio rule, rejected by its phase: diamagnetic, as calcium is and blood is not",
    "second_look": "passed the ratio rule, rejected by the candidate classifier: more like something else",
    "reader": "rejected by a reader",
}
ORIGIN_SENTENCES = {
    "candidate": "rejected by the program, accepted by the reader",
    "added_grown": "added by the reader, outlined by the ratio rule",
    "added_ball": "added by the reader; the ratio rule could not outline it, so a small ball stands for it",
}
"""Of lesions of a reviewed result that are not the program's."""
_CRITERION_FACTS = {
    "not_in_parenchyma": ("Brain tissue around it", ("parenchyma_share",)),
    "bright_core": ("Core / surroundings", ("core_brightness",)),
    "continues_as_vessel": ("Line, in plane and across", ("vessel_in_plane", "vessel_across_slices")),
    "diamagnetic": ("Moment and its error, ppm mm³", ("susceptibility_moment", "moment_error")),
    "above_maximum_size": ("Longest diameter, mm", ("longest_diameter_mm",)),
}
AGAINST_SENTENCES = {
    "vessel_like": "the dark structure goes on in plane or from slice to slice, or is elongated: a vein",
    "faint": "little darker than its surroundings",
    "unlike_on_t2w_t1w": "T2w or T1w are not those of a microbleed",
    "in_csf": "surrounded by cerebrospinal fluid, or at the surface of the brain",
    "network_in_doubt": "low probability of the network",
    "uneven_surroundings": "tissue around it is of uneven brightness",
    "unusual_size": "very small or very large",
    "unusual_place": "in a region where mimics are frequent",
    "unlike_in_3d": "unlike a microbleed to the network that sees the slices around it",
}
"""For what the candidate classifier says against a candidate."""


@dataclass(frozen=True)
class Card:
    """What the gallery shows of one lesion or candidate."""

    anchor: str
    name: str
    region: str
    facts: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]
    pictures: tuple[tuple[str, Markup], ...]
    """(caption, picture); the first two are the ones to look at first."""
    note: str = ""
    voxel: npt.NDArray | None = None
    """Where it is, in canonical indices."""
    label: int = 0
    """Its value in the label image."""
    certainty: str = ""
    """What the candidate classifier says: definite, possible, or nothing."""
    radius: float = MINIMUM_RING_MM
    """Of its ring on the map, mm."""
    side: str = ""
    """Left, right, midline, or nothing where it is not known."""
    diameter: str = "n/a"
    """With its unit."""
    slice: str = ""
    """Its slice on T2*, counted from 1."""
    commands: tuple[tuple[str, str], ...] = ()
    """(viewer, command that opens it there)."""


def words(name: str) -> str:
    """Return a region's or reason's name for reading: ``cortical_gm`` is cortical GM."""
    return " ".join({"gm": "GM", "wm": "WM", "csf": "CSF"}.get(w, w) for w in name.split("_"))


def lesion_cards(
    rows: Iterable[Mapping[str, str]], images: SessionImages | None, *, prefix: str, n_pictures: int = ALL_PICTURES
) -> list[Card]:
    """Return one card a row of the lesion table, in its order, whatever of its images is missing."""
    return [_card(row, images, prefix, n_pictures=n_pictures) for row in rows]


def rejected_cards(
    rows: Iterable[Mapping[str, str]],
    images: SessionImages | None,
    *,
    prefix: str,
    with_pictures: int,
    n_pictures: int = ALL_PICTURES,
) -> list[Card]:
    """Return one card a rejected candidate, likeliest lesion first; only the first ``with_pictures`` have pictures."""
    rejected = [row for row in rows if row.get("status") == "rejected"]
    rejected.sort(key=lambda row: -(number(row.get("lesion_probability")) or 0.0))
    return [
        _card(
            row,
            images if n < with_pictures else None,
            f"{prefix}-rejected",
            n_pictures=n_pictures,
            candidate=True,
        )
        for n, row in enumerate(rejected)
    ]


def _card(
    row: Mapping[str, str],
    images: SessionImages | None,
    prefix: str,
    *,
    n_pictures: int = 1,
    candidate: bool = False,
) -> Card:
    label = int(number(row.get("index")) or 0)
    voxel, note = _anchor_voxel(row, images, label, candidate=candidate)
    pictures: tuple[tuple[str, Markup], ...] = ()
    name = row.get("name") or f"lesion {label}"
    if voxel is not None and images is not None:
        labels = images.candidates if candidate else images.lesions
        shown = labels if labels is not None else np.zeros(images.canonical.shape, np.int8)
        alt = f"{name}, {words(row.get('region', ''))}"
        pictures = tuple(islice(_pictures(images, shown, label, voxel, alt, _radius(row)), n_pictures))
        if n_pictures >= ALL_PICTURES:
            pictures += tuple(phase_pictures(images, shown, label, voxel, alt))
    remarks = [FLAG_SENTENCES.get(f, words(f)) for f in split_flags(row.get("flags", ""))]
    if row.get("origin") in ORIGIN_SENTENCES:
        remarks.insert(0, ORIGIN_SENTENCES[row["origin"]])
    if candidate:
        reason = row.get("reason") or "no reason given"
        remarks.insert(0, REASON_SENTENCES.get(reason, f"rejected: {words(reason)}"))
        against = row.get("evidence_against") or "n/a"
        if reason == "second_look" and against != "n/a":
            remarks.insert(1, f"most against it: {AGAINST_SENTENCES.get(against, words(against))}")
    return Card(
        anchor=f"{prefix}-{label}",
        name=name,
        region=words(row.get("region", "n/a")),
        facts=tuple(_candidate_facts(row) if candidate else _facts(row)),
        remarks=tuple(remarks),
        pictures=pictures,
        note=note,
        voxel=voxel,
        label=label,
        certainty=row.get("certainty") or "",
        radius=_radius(row),
        side=_known(row, "side"),
        diameter=_show(row, "diameter_mm", 1, " mm"),
        slice="" if voxel is None or images is None else str(slice_of(images, voxel)[0] + 1),
    )


def _radius(row: Mapping[str, str]) -> float:
    """Return the radius of a lesion's ring, mm."""
    return min(10.0, max(MINIMUM_RING_MM, (number(row.get("diameter_mm")) or 0.0) / 2))


def _known(row: Mapping[str, str], column: str) -> str:
    """Return a cell; nothing for ``n/a`` and for a table that does not have the column."""
    return "" if row.get(column, "n/a") == "n/a" else row[column]


def _show(row: Mapping[str, str], column: str, digits: int, unit: str = "") -> str:
    value = number(row.get(column))
    return "n/a" if value is None else f"{value:.{digits}f}{unit}"


def _candidate_facts(row: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Yield (term, value with unit) of the few measures that say why a candidate was rejected."""
    if (row.get("lesion_probability") or "n/a") != "n/a":
        yield "Lesion probability", _show(row, "lesion_probability", 2)
    if column := _CRITERION_FACTS.get(row.get("reason") or ""):
        yield column[0], ", ".join(_show(row, name, 2) for name in column[1])
    yield "Contrast ratio", _ratio(row)
    yield from _where(row)
    yield "Network", f"{_show(row, 'probability_max', 2)} at most"
    yield "Diameter", _show(row, "diameter_mm", 1, " mm")
    yield "Voxel, from 0", ", ".join(_show(row, c, 0) for c in ("i", "j", "k"))
    yield from _decided(row)


def _ratio(row: Mapping[str, str]) -> str:
    """Return a candidate's contrast ratio, and whether the rule that goes by it let it pass."""
    ratio, least = _show(row, "contrast_ratio", 2), _show(row, "ratio_threshold", 2)
    if row.get("reason") == RATIO_RULE:
        return f"{ratio}: failed the ratio rule ({least} or more at every border voxel)"
    return f"{ratio}: passed the ratio rule ({least} or more)"


def _decided(row: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Yield what a reader decided and noted, in a reviewed result."""
    if decision := _known(row, "review"):
        yield "Reader", f"{decision}, {_known(row, 'reader')}"
    if note := _known(row, "reader_note"):
        yield "Note", note


def _where(row: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Yield side and template position, where the table has them."""
    if side := _known(row, "side"):
        place = ", ".join(_show(row, f"{axis}_template_mm", 0) for axis in "xyz")
        yield "Side", f"{side} (template {place} mm)"


def _facts(row: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Yield (term, value with unit) of the measures a table row has."""

    def show(column: str, digits: int, unit: str = "") -> str:
        return _show(row, column, digits, unit)

    size = f"{show('volume_mm3', 1, ' mm³')}, {show('diameter_mm', 1, ' mm across')}"
    yield "Size", size + (f" ({row['size_class']})" if row.get("size_class", "n/a") != "n/a" else "")
    slices = show("n_slices", 0)
    voxel = ", ".join(show(c, 0) for c in ("i", "j", "k"))
    yield (
        "Voxels",
        f"{show('n_voxels', 0)} in {slices} slice{'' if slices == '1' else 's'}, around {voxel} (indices from 0)",
    )
    yield from _where(row)
    certainty = row.get("certainty") or "n/a"
    if certainty != "n/a":
        yield "Candidate classifier", f"{certainty}, probability {show('lesion_probability', 2)}"
    yield "Network probability", f"{show('probability_mean', 2)} mean, {show('probability_max', 2)} largest"
    yield "Contrast ratio", f"{show('contrast_ratio', 2)} (threshold {show('ratio_threshold', 2)})"
    if number(row.get("susceptibility_moment")) is not None:
        moment = f"{show('susceptibility_moment', 1)} ± {show('moment_error', 1)} ppm mm³"
        yield "Phase", f"{moment} (blood is above 0, calcium below)"
    yield "Position", ", ".join(show(c, 1) for c in ("x_mm", "y_mm", "z_mm")) + " mm (RAS+)"
    yield from _decided(row)


def _anchor_voxel(
    row: Mapping[str, str], images: SessionImages | None, label: int, *, candidate: bool
) -> tuple[npt.NDArray | None, str]:
    """Return the lesion's voxel nearest to its centroid, else the table's, in canonical indices; and a note."""
    if images is None:
        return None, "" if candidate else "No picture."
    labels = images.candidates if candidate else images.lesions
    voxels = voxels_of(label, labels, images.candidate_boxes if candidate else images.lesion_boxes)
    if len(voxels):
        distance = np.linalg.norm((voxels - voxels.mean(axis=0)) * images.spacing, axis=1)
        return voxels[np.argmin(distance)], ""
    listed = [value for axis in "ijk" if (value := number(row.get(axis))) is not None]
    if len(listed) < 3:
        return None, "No picture: the label image lacks this lesion and the table gives no voxel."
    voxel = np.rint(canonical_voxel(listed, images.native, images.canonical)).astype(int)
    if (voxel < 0).any() or (voxel >= images.canonical.shape).any():
        return None, "No picture: the voxel in the table lies outside the T2* image."
    return voxel, "No contour: the label image lacks this lesion. Centred on the voxel in the table."


def _pictures(
    images: SessionImages, labels: npt.NDArray, label: int, voxel: npt.NDArray, alt: str, radius: float
) -> Iterable[tuple[str, Markup]]:
    """Yield (caption, picture): T2* in the slice plane, its projection, the whole slice, then every other plane."""
    planes = [images.axis, *(a for a in (2, 1, 0) if a != images.axis)]

    def view(name: str, axis: int) -> tuple[str, Markup]:
        caption = f"{TITLES[name]}, {PLANE_NAMES[axis]}"
        return _one(images, name, labels, label, voxel, axis, caption, alt)

    yield view("T2starw", planes[0])
    yield _projection(images, labels, label, voxel, alt)
    yield locator(images, voxel, radius, alt)
    # by rows of four: one more plane of T2*, and the three planes of T2w; then the same with T1w
    for other, name in zip(planes[1:], ("T2w", "T1w"), strict=True):
        yield view("T2starw", other)
        if name in images.contrasts:
            for axis in planes:
                yield view(name, axis)


def _projection(
    images: SessionImages, labels: npt.NDArray, label: int, voxel: npt.NDArray, alt: str
) -> tuple[str, Markup]:
    axis = images.axis
    slab = max(1, int(PROJECTION_MM / 2 / images.spacing[axis]))
    around = [slice(None)] * 3
    around[axis] = slice(max(0, voxel[axis] - slab), voxel[axis] + slab + 1)
    slices = images.contrasts["T2starw"][tuple(around)]
    caption = f"T2*, minimum of {slices.shape[axis]} slices"
    return _one(images, "T2starw", labels, label, voxel, axis, caption, alt, section=slices.min(axis=axis))


def _one(
    images: SessionImages,
    name: str,
    labels: npt.NDArray,
    label: int,
    voxel: npt.NDArray,
    axis: int,
    caption: str,
    alt: str,
    section: npt.NDArray | None = None,
) -> tuple[str, Markup]:
    volume = images.contrasts[name]
    plane = to_plane(section) if section is not None else plane_image(volume, axis, voxel[axis])
    return view_about(images, plane, images.windows[name], labels, label, voxel, axis, caption, alt)
