"""The report of one participant: a single HTML file made from the files of the output directory alone."""

import base64
import hashlib
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
from mbseg_bids.bids.boilerplate import boilerplate, finished_sessions
from mbseg_bids.bids.files import write_bytes, write_text
from mbseg_bids.bids.outputs import thumbnail_path
from mbseg_bids.clinical.counts import LesionCounts, count_lesions
from mbseg_bids.clinical.pattern import PATTERN_CAVEAT
from mbseg_bids.contrasts import CHANNELS, TITLES
from mbseg_bids.reports import gallery, glass, mosaics, steps
from mbseg_bids.reports.facts import (
    RegistrationCheck,
    Verdict,
    anatomy_source,
    contrast,
    contrasts_used,
    criteria_notes,
    judge,
    judge_failure,
    mapping,
    missing_contrasts,
    registration_checks,
    short_path,
    texts,
)
from mbseg_bids.reports.figures import CONVENTION
from mbseg_bids.reports.images import SessionImages, load_images
from mbseg_bids.reports.locator import thumbnail
from mbseg_bids.reports.overview import overview
from mbseg_bids.reports.planted import planted_page
from mbseg_bids.reports.quality import QualityPanel, quality_panel, unreliable, why_none
from mbseg_bids.reports.rating import Rating, read_rating
from mbseg_bids.reports.review import (
    ReviewedBy,
    ReviewPanel,
    review_panel,
    reviewed_by,
    reviewed_page,
    with_review,
)
from mbseg_bids.reports.session_files import (
    CANDIDATE_COLUMNS,
    LESION_COLUMNS,
    SessionFiles,
    SessionKey,
    find_sessions,
    number,
    one_line,
)
from mbseg_bids.reports.viewers import images_of, viewer_commands
from mbseg_bids.wording import counted

DISCLAIMER = "Research software. Not a medical device; not for diagnosis or treatment decisions."
SIZE_LIMIT = 15_000_000
"""Largest report, bytes; a larger one is written again with fewer pictures."""


@dataclass(frozen=True)
class Detail:
    """How many pictures a report has."""

    lesion_pictures: int
    rejected_pictures: int
    """Rejected candidates that have any."""
    each_rejected: int = 1
    """Pictures of each of these."""
    said: str = ""


DETAILS = (
    Detail(gallery.ALL_PICTURES, 150, gallery.ALL_PICTURES),
    Detail(gallery.ALL_PICTURES, 150, 1, "To keep this file small, rejected candidates have one picture each."),
    Detail(3, 80, 1, "To keep this file small, each lesion has three pictures: T2*, its projection, the whole slice."),
    Detail(1, 40, 1, "To keep this file small, each lesion has one picture only."),
    Detail(1, 0, 1, "To keep this file small, each lesion has one picture and rejected candidates have none."),
)
"""From the richest report to the smallest."""


@dataclass(frozen=True)
class Section:
    """Everything the template shows of one session; already words, numbers and pictures."""

    key: SessionKey
    title: str
    """What the session is called: its label, or the name of a plain file."""
    anchor: str
    verdict: Verdict
    checks: tuple[RegistrationCheck, ...]
    counts: LesionCounts | None
    cards: list[gallery.Card]
    rejected: list[gallery.Card]
    rejected_known: bool
    criteria: tuple[str, ...]
    """What the reader's criteria could not tell on this scan."""
    lesion_map: glass.LesionMap | None
    alignment: list[mosaics.Sheet]
    flickers: list[mosaics.Sheet]
    no_flickers: str
    """Why there are none, or not of every contrast."""
    glance: list[mosaics.Sheet]
    masks: list[mosaics.Sheet]
    contrasts: str
    """Which contrasts there were and which not, for the first screen."""
    overview: list[tuple[str, str]]
    """Scan, date, preset and weights, for the first screen."""
    inputs: list[tuple[str, str, str, str]]
    anatomy_source: str
    region_ml: Mapping[str, float]
    settings: list[tuple[str, str]]
    weights: list[tuple[str, str]]
    search: list[tuple[str, str]]
    software: list[tuple[str, str]]
    steps: list[steps.Step]
    traceback: list[str]
    quality: QualityPanel | None
    """Measures of the T2* scan; None where the run measured none."""
    unreliable: str
    """That counts are unreliable, and why; empty where nothing says so."""
    why_none: str
    """Why there is no microbleed."""
    thumbnail: bytes = b""
    """A small JPEG for lists of sessions; empty without a T2* image."""
    rating: Rating | None = None
    """Places of the microbleeds; None where the session has no rating sheets."""
    panel: ReviewPanel | None = None
    """What a reader judges; None where there is nothing to be judged."""
    reviewed: ReviewedBy | None = None
    """What became of an applied review."""


def build_individual_report(output_dir: Path, participant: str) -> Path:
    """Write ``sub-X.html`` and return its path; ``sub-X_reviewed.html`` too, where a reader's review was applied.

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
    page, sections = _page(output_dir, label, keys)
    for section in sections:
        if section.thumbnail:
            write_bytes(thumbnail_path(output_dir, section.key.prefix), section.thumbnail)
    if any(SessionFiles(output_dir, key).has_review for key in keys):
        write_text(reviewed_page(output_dir, label), _page(output_dir, label, keys, reviewed=True)[0])
    else:
        reviewed_page(output_dir, label).unlink(missing_ok=True)
    return write_text(output_dir / f"sub-{label}.html", page)


def _page(output_dir: Path, label: str, keys: list[SessionKey], *, reviewed: bool = False) -> tuple[str, list[Section]]:
    """Return the richest page of a participant that is small enough, and its sections."""
    page, sections = "", []
    for detail in DETAILS:
        sections = [_section(SessionFiles(output_dir, key, reviewed=reviewed), detail) for key in keys]
        page = render_individual(output_dir, label, sections, detail, reviewed=reviewed)
        if len(page.encode()) <= SIZE_LIMIT:
            break
    return page, sections


def render_individual(
    output_dir: Path, label: str, sections: list[Section], detail: Detail, *, reviewed: bool = False
) -> str:
    """Return the page of one participant, of the automatic or of the reviewed result."""
    return (
        environment()
        .get_template("individual.html.j2")
        .render(
            participant=label,
            heading=sections[0].title if len(sections) == 1 and not sections[0].key.session else f"sub-{label}",
            sections=sections,
            detail=detail,
            methods=_methods(finished_sessions(output_dir, label)),
            legend=mosaics.region_legend(),
            words=gallery.words,
            convention=CONVENTION,
            pattern_caveat=PATTERN_CAVEAT,
            disclaimer=DISCLAIMER,
            version=__version__,
            script=script("report.js", "sortable.js", "review.js"),
            planted=planted_page(output_dir, label),
            report_page="",
            reviewed=reviewed,
            has_review=any(section.reviewed for section in sections),
        )
    )


@dataclass(frozen=True)
class Script:
    """A script inside a page, and what lets the page run this one and no other."""

    text: Markup
    policy: str
    """Source for the page's ``script-src``: the hash of the text."""


@cache
def script(*names: str) -> Script:
    """Return one script made of several of the templates folder, one after the other."""
    folder = Path(__file__).parent / "templates"
    text = "\n".join((folder / name).read_text(encoding="utf-8") for name in names)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return Script(Markup(text), f"'sha256-{digest}'")


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


def section_anchor(label: str) -> str:
    """Return the name of a session's section within the page: ``sub-X`` or ``sub-X_ses-Y``, letters and digits only."""
    return re.sub(r"[^A-Za-z0-9_-]", "", label)


def _section(files: SessionFiles, detail: Detail) -> Section:
    failure = files.failure()
    summary = with_review(files.summary(), files)
    anchor = section_anchor(files.key.prefix)
    if failure and files.find("space-T2starw_seg-CMB_dseg.tsv") is None:
        section = _facts(files, summary, table_found=False)
        return replace(
            section, anchor=anchor, verdict=judge_failure(failure), traceback=list(texts(failure.get("traceback")))
        )
    if not files.finished:
        running = (
            "it is being computed, or its run was stopped" if files.at_work else "it is still running, or it failed"
        )
        files.note(f"This session is not marked as finished: {running}. Results may be partial.")
    lesions = files.table("space-T2starw_seg-CMB_dseg.tsv", LESION_COLUMNS, "lesion table")
    candidates = files.table("space-T2starw_seg-CMBcandidates_dseg.tsv", CANDIDATE_COLUMNS, "table of candidates")
    transforms = {c.moving: c.transform for c in registration_checks(summary) if c.transform is not None}
    images = load_images(files, missing_contrasts(summary), transforms)
    rows = lesions or []
    counts = _counts(rows, candidates or [], files) if lesions is not None else None
    _compare(rows if counts is not None else None, images, summary, files)
    rating = read_rating(files) if counts is not None else None
    cards = gallery.lesion_cards(rows, images, prefix=anchor, n_pictures=detail.lesion_pictures)
    on_map = glass.lesion_map(cards, files, images)
    rejected = gallery.rejected_cards(
        candidates or [], images, prefix=anchor, with_pictures=detail.rejected_pictures, n_pictures=detail.each_rejected
    )
    alignment, glance = mosaics.alignment_sheets(images) if images else ([], [])
    cards = _with_commands(cards, rows, files, "CMB")
    rejected = _with_commands(rejected, candidates or [], files, "CMBcandidates")
    return replace(
        _facts(files, summary, table_found=counts is not None),
        anchor=anchor,
        counts=counts,
        cards=cards,
        rejected=rejected,
        panel=review_panel(files, rows, candidates or [], cards, rejected) if counts is not None else None,
        reviewed=reviewed_by(files),
        rejected_known=candidates is not None,
        rating=rating,
        lesion_map=on_map,
        alignment=alignment,
        flickers=mosaics.flicker_sheets(images) if images else [],
        no_flickers=_without_before(images),
        thumbnail=thumbnail(images) if images else b"",
        glance=glance,
        masks=[s for s in (mosaics.brain_sheet(images), mosaics.region_sheet(images)) if s] if images else [],
    )


def _with_commands(
    cards: list[gallery.Card], rows: Iterable[Mapping[str, str]], files: SessionFiles, seg: str
) -> list[gallery.Card]:
    """Return the cards with the commands that open them in viewers, where the session has what these need."""
    images = images_of(files, seg)
    if images is None:
        return cards
    by_name = {row.get("name"): row for row in rows}
    return [replace(card, commands=viewer_commands(by_name.get(card.name, {}), images)) for card in cards]


def _without_before(images: SessionImages | None) -> str:
    """Return a sentence on the contrasts whose place before the registration is not known."""
    lacking = [n for n in CHANNELS[1:] if images is not None and n in images.contrasts and n not in images.before]
    if not lacking:
        return ""
    return f"How {' and '.join(lacking)} lay before the registration was not recorded, so it is not shown."


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
                f"The lesion table lists {counted(len(listed), 'lesion')}, its label image holds {len(drawn)}; "
                f"{len(drawn ^ listed)} do not match."
            )
    said = number(mapping(summary.get("detection")).get("n_lesions"))
    if said is not None and said != len(rows):
        files.note(f"The summary counts {counted(int(said), 'lesion')}, the lesion table lists {len(rows)}.")


def _labels(labels: npt.NDArray) -> set[int]:
    return set(labels[labels > 0].tolist())


def _facts(files: SessionFiles, summary: Mapping[str, Any], *, table_found: bool) -> Section:
    """Return the part of a section that comes from the summary."""
    detection = mapping(summary.get("detection"))
    settings = mapping(summary.get("settings"))
    weights = mapping(detection.get("weights"))
    return Section(
        key=files.key,
        title=str(summary.get("title") or files.key.prefix),
        anchor="",
        verdict=judge(summary, files.problems, table_found=table_found),
        checks=registration_checks(summary),
        counts=None,
        cards=[],
        rejected=[],
        rejected_known=False,
        criteria=criteria_notes(summary),
        lesion_map=None,
        alignment=[],
        flickers=[],
        no_flickers="",
        glance=[],
        masks=[],
        contrasts=contrasts_sentence(summary),
        overview=overview(summary),
        inputs=[_input(summary, name) for name in CHANNELS],
        anatomy_source=anatomy_source(summary),
        region_ml={
            name: ml
            for name, value in mapping(mapping(summary.get("anatomy")).get("region_ml")).items()
            if (ml := number(value)) is not None
        },
        settings=steps.flat(settings),
        weights=steps.flat(weights)
        if weights
        else [("name", str(detection["weights"]))]
        if "weights" in detection
        else [],
        search=steps.flat(mapping(detection.get("search"))),
        software=steps.flat(mapping(summary.get("software"))),
        steps=steps.steps_taken(summary),
        traceback=[],
        quality=quality_panel(summary),
        unreliable=unreliable(summary),
        why_none=why_none(summary),
    )


def contrasts_sentence(summary: Mapping[str, Any]) -> str:
    """Return one sentence on the contrasts that there were, and on those that there were not."""
    used, missing = contrasts_used(summary), missing_contrasts(summary)
    if not used:
        return "The contrasts used were not recorded."
    titles = [TITLES[name] for name in used]
    lacking = f"; no {' and no '.join(missing)} in this session" if missing else ""
    return f"Contrasts used: {', '.join(titles)}{lacking}."


def _input(summary: Mapping[str, Any], name: str) -> tuple[str, str, str, str]:
    """Return name, file, geometry and reason of one input."""
    found = contrast(summary, name)
    if name in missing_contrasts(summary):
        return TITLES[name], "none in this session", "n/a", "done without"
    path = short_path(found.get("path") or "not recorded")
    geometry = [" × ".join(str(n) for n in found[key]) for key in ("shape",) if isinstance(found.get(key), list)]
    spacing = [number(mm) for mm in found["spacing"]] if isinstance(found.get("spacing"), list) else []
    if spacing and None not in spacing:
        geometry.append(" × ".join(f"{mm:.3g}" for mm in spacing) + " mm")
    return TITLES[name], path, ", ".join(geometry) or "n/a", "; ".join(texts(found.get("reason")))


def _methods(summaries: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """Return the methods text of sessions as (``heading``, ``paragraph`` or ``list``, texts), without its title."""
    text = boilerplate(summaries) if summaries else ""
    blocks: list[tuple[str, list[str]]] = []
    for block in (" ".join(part.split()) for part in re.split(r"\n\s*\n|\n(?=[#*-] |\d+\. )", text)):
        item = re.sub(r"^\d+\. ", "", block)
        if block.startswith("#"):
            blocks.append(("heading", [block.lstrip("# ")]))
        elif item == block and block:
            blocks.append(("paragraph", [block.removeprefix("- ")]))
        elif block and blocks and blocks[-1][0] == "list":
            blocks[-1][1].append(item)
        elif block:
            blocks.append(("list", [item]))
    return blocks[1:] if blocks and blocks[0] == ("heading", ["Methods"]) else blocks
