"""The report of one participant: a single HTML file made from the files of the output directory alone."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy.typing as npt
from markupsafe import Markup

from mbseg_bids import __version__
from mbseg_bids.clinical.counts import LesionCounts, count_lesions
from mbseg_bids.clinical.pattern import PATTERN_CAVEAT
from mbseg_bids.reports import gallery, mosaics
from mbseg_bids.reports.facts import (
    RegistrationCheck,
    Verdict,
    anatomy_source,
    contrast,
    contrasts_used,
    judge,
    mapping,
    missing_contrasts,
    registration_checks,
    short_path,
    texts,
)
from mbseg_bids.reports.figures import CONVENTION
from mbseg_bids.reports.images import SessionImages, load_images
from mbseg_bids.reports.session_files import (
    CANDIDATE_COLUMNS,
    CONTRASTS,
    LESION_COLUMNS,
    SessionFiles,
    SessionKey,
    find_sessions,
    number,
    one_line,
)

DISCLAIMER = "Research software. Not a medical device; not for diagnosis or treatment decisions."
SIZE_LIMIT = 15_000_000
"""Largest report, bytes; a larger one is written again with fewer pictures."""


@dataclass(frozen=True)
class Detail:
    """How many pictures a report has."""

    all_planes: bool
    rejected_pictures: int
    said: str = ""


DETAILS = (
    Detail(True, 150),
    Detail(False, 40, "To keep this file small, each lesion has one picture only."),
    Detail(False, 0, "To keep this file small, each lesion has one picture and rejected candidates have none."),
)
"""From the richest report to the smallest."""


@dataclass(frozen=True)
class Section:
    """Everything the template shows of one session; already words, numbers and pictures."""

    key: SessionKey
    anchor: str
    verdict: Verdict
    checks: tuple[RegistrationCheck, ...]
    counts: LesionCounts | None
    cards: list[gallery.Card]
    rejected: list[gallery.Card]
    rejected_known: bool
    lesion_map: list[Markup]
    alignment: list[mosaics.Sheet]
    glance: list[mosaics.Sheet]
    masks: list[mosaics.Sheet]
    contrasts: str
    """Which contrasts there were and which not, for the first screen."""
    inputs: list[tuple[str, str, str, str]]
    anatomy_source: str
    region_ml: Mapping[str, float]
    settings: list[tuple[str, str]]
    weights: list[tuple[str, str]]
    search: list[tuple[str, str]]
    software: list[tuple[str, str]]
    durations: list[tuple[str, str]]


def build_individual_report(output_dir: Path, participant: str) -> Path:
    """Write ``sub-X.html`` and return its path.

    Whatever is missing or unreadable becomes a sentence in the report. All pictures are inside the file, and it loads
    nothing from anywhere.

    Parameters
    ----------
    output_dir
        Derivatives directory of the run.
    participant
        Label, with or without ``sub-``.
    """
    output_dir = Path(output_dir)
    label = participant.removeprefix("sub-")
    keys = find_sessions(output_dir, label)
    page = ""
    for detail in DETAILS:
        sections = [_section(SessionFiles(output_dir, key), detail) for key in keys]
        page = render_individual(output_dir, label, sections, detail)
        if len(page.encode()) <= SIZE_LIMIT:
            break
    return write_atomically(output_dir / f"sub-{label}.html", page)


def render_individual(output_dir: Path, label: str, sections: list[Section], detail: Detail) -> str:
    """Return the page of one participant."""
    return (
        environment()
        .get_template("individual.html.j2")
        .render(
            participant=label,
            sections=sections,
            detail=detail,
            methods=_methods(output_dir / "logs" / "CITATION.md"),
            legend=mosaics.region_legend(),
            words=gallery.words,
            convention=CONVENTION,
            pattern_caveat=PATTERN_CAVEAT,
            disclaimer=DISCLAIMER,
            version=__version__,
        )
    )


@cache
def environment() -> jinja2.Environment:
    """Return the template environment: everything is escaped, and an unknown name is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("mbseg_bids.reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def write_atomically(path: Path, text: str) -> Path:
    """Write a text file so that a reader sees the old or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(path)
    return path


def _section(files: SessionFiles, detail: Detail) -> Section:
    summary = files.summary()
    if not files.finished:
        files.note("This session is not marked as finished: it is still running, or it failed. Results may be partial.")
    lesions = files.table("space-T2starw_seg-CMB_dseg.tsv", LESION_COLUMNS, "lesion table")
    candidates = files.table("space-T2starw_seg-CMBcandidates_dseg.tsv", CANDIDATE_COLUMNS, "table of candidates")
    images = load_images(files, missing_contrasts(summary))
    rows = lesions or []
    counts = _counts(rows, candidates or [], files) if lesions is not None else None
    _compare(rows if counts is not None else None, images, summary, files)
    anchor = re.sub(r"[^A-Za-z0-9_-]", "", files.key.prefix)
    cards = gallery.lesion_cards(rows, images, prefix=anchor, all_planes=detail.all_planes)
    alignment, glance = mosaics.alignment_sheets(images) if images else ([], [])
    return replace(
        _facts(files, summary, table_found=counts is not None),
        anchor=anchor,
        counts=counts,
        cards=cards,
        rejected=gallery.rejected_cards(
            candidates or [], images, prefix=anchor, with_pictures=detail.rejected_pictures
        ),
        rejected_known=candidates is not None,
        lesion_map=gallery.lesion_map(cards, images) if images else [],
        alignment=alignment,
        glance=glance,
        masks=[s for s in (mosaics.brain_sheet(images), mosaics.region_sheet(images)) if s] if images else [],
    )


def _counts(rows: list[dict[str, str]], candidates: list[dict[str, str]], files: SessionFiles) -> LesionCounts | None:
    try:
        return count_lesions(rows, candidates)
    except ValueError as error:
        files.note(f"The lesion table cannot be used: {one_line(error)}.")
        return None


def _compare(
    rows: list[dict[str, str]] | None, images: SessionImages | None, summary: Mapping[str, Any], files: SessionFiles
) -> None:
    """Note where the table, the label image and the summary contradict each other."""
    if rows is None:
        return
    listed = {int(number(row["index"]) or 0) for row in rows}
    if images is not None and images.lesions is not None:
        drawn = _labels(images.lesions)
        if drawn != listed:
            files.note(
                f"The lesion table lists {len(listed)} lesions, its label image holds {len(drawn)}; "
                f"{len(drawn ^ listed)} do not match."
            )
    counted = number(mapping(summary.get("detection")).get("n_lesions"))
    if counted is not None and counted != len(rows):
        files.note(f"The summary counts {counted:.0f} lesions, the lesion table lists {len(rows)}.")


def _labels(labels: npt.NDArray) -> set[int]:
    return set(labels[labels > 0].tolist())


def _facts(files: SessionFiles, summary: Mapping[str, Any], *, table_found: bool) -> Section:
    """Return the part of a section that comes from the summary."""
    detection = mapping(summary.get("detection"))
    settings = mapping(summary.get("settings"))
    weights = mapping(detection.get("weights"))
    return Section(
        key=files.key,
        anchor="",
        verdict=judge(summary, files.problems, table_found=table_found),
        checks=registration_checks(summary),
        counts=None,
        cards=[],
        rejected=[],
        rejected_known=False,
        lesion_map=[],
        alignment=[],
        glance=[],
        masks=[],
        contrasts=contrasts_sentence(summary),
        inputs=[_input(summary, name) for name in CONTRASTS],
        anatomy_source=anatomy_source(summary),
        region_ml={
            name: ml
            for name, value in mapping(mapping(summary.get("anatomy")).get("region_ml")).items()
            if (ml := number(value)) is not None
        },
        settings=_flat(settings),
        weights=_flat(weights) if weights else [("name", str(detection["weights"]))] if "weights" in detection else [],
        search=_flat(mapping(detection.get("search"))),
        software=_flat(mapping(summary.get("software"))),
        durations=_durations(summary),
    )


def contrasts_sentence(summary: Mapping[str, Any]) -> str:
    """Return one sentence on the contrasts that there were, and on those that there were not."""
    used, missing = contrasts_used(summary), missing_contrasts(summary)
    if not used:
        return "The contrasts used were not recorded."
    titles = [gallery.CONTRAST_TITLES[name] for name in used]
    lacking = f"; no {' and no '.join(missing)} in this session" if missing else ""
    return f"Contrasts used: {', '.join(titles)}{lacking}."


def _input(summary: Mapping[str, Any], name: str) -> tuple[str, str, str, str]:
    """Return name, file, geometry and reason of one input."""
    found = contrast(summary, name)
    if name in missing_contrasts(summary):
        return gallery.CONTRAST_TITLES[name], "none in this session", "n/a", "done without"
    path = short_path(found.get("path") or "not recorded")
    geometry = [" × ".join(str(n) for n in found[key]) for key in ("shape",) if isinstance(found.get(key), list)]
    spacing = [number(mm) for mm in found["spacing"]] if isinstance(found.get("spacing"), list) else []
    if spacing and None not in spacing:
        geometry.append(" × ".join(f"{mm:.3g}" for mm in spacing) + " mm")
    return gallery.CONTRAST_TITLES[name], path, ", ".join(geometry) or "n/a", "; ".join(texts(found.get("reason")))


def _flat(table: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a nested mapping as (dotted name, value) texts."""
    return [(name, f"{v:.6g}" if isinstance(v, float) else short_path(v)) for name, v in _leaves(table)]


def _leaves(table: Mapping[str, Any], start: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{start}{key}.")
        else:
            yield f"{start}{key}", value


def _durations(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (step, time) of every step whose time was recorded."""
    parts = {"": mapping(summary.get("durations"))}
    for part in ("anatomy", "detection"):
        found = mapping(summary.get(part))
        times = next((found[key] for key in ("seconds", "durations", "duration_s", "times") if key in found), None)
        if part not in parts[""] and times is not None:
            parts[f"{part}."] = times if isinstance(times, Mapping) else {"all": times}
    return [(name, _seconds(value)) for start, times in parts.items() for name, value in _leaves(times, start)]


def _seconds(value: Any) -> str:
    seconds = number(value)
    if seconds is None:
        return str(value)
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _methods(path: Path) -> list[tuple[str, str]]:
    """Return the boilerplate as (``heading`` or ``paragraph``, text)."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    blocks = [" ".join(block.split()) for block in re.split(r"\n\s*\n|\n(?=[#*-] )", text)]
    return [
        ("heading", block.lstrip("# ")) if block.startswith("#") else ("paragraph", block.removeprefix("- "))
        for block in blocks
        if block
    ]
