"""What is written: tables with their descriptions, the figure, the page."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mbseg_bids.bids.files import write_bytes, write_json, write_text
from mbseg_bids.errors import CannotWriteError, UsageError
from mbseg_bids.evaluation.figures import to_bytes
from mbseg_bids.evaluation.intervals import Bootstrap
from mbseg_bids.evaluation.tables import to_tsv
from mbseg_bids.planting.figure import NOTE, curve_figure
from mbseg_bids.planting.page import render_page
from mbseg_bids.planting.session import SessionResult
from mbseg_bids.planting.tables import columns, curve_table, planted_table, scan_rows, summary_table
from mbseg_bids.reports.individual import build_individual_report
from mbseg_bids.reports.planted import FOLDER, PAGE


def check_place(out: Path, output_dir: Path) -> None:
    """Refuse a place for the results before anything is computed.

    Raises
    ------
    UsageError
        If files there would make the output folder an invalid dataset.
    CannotWriteError
        If there is no right to write.
    """
    ours, theirs = out.resolve(), output_dir.resolve()
    if ours.is_relative_to(theirs) and ours != theirs / FOLDER:
        raise UsageError(
            f"--out {out} lies in the output folder", f"give {output_dir / FOLDER}, which .bidsignore names, or another"
        )
    there = next(folder for folder in (ours, *ours.parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise CannotWriteError(f"cannot write the results to {out}", "give another folder with --out")


def write_results(
    out: Path,
    output_dir: Path,
    results: Sequence[SessionResult],
    *,
    settings: Mapping[str, Any],
    problems: Sequence[str] = (),
    bootstrap: Bootstrap | None = None,
) -> str:
    """Write everything below ``out``; return the table of scans as Markdown, with what is said before it.

    Where ``out`` is the folder within ``output_dir``, that folder is entered in ``.bidsignore``, and reports that there
    are of the participants are made anew, with a link to the page.
    """
    tables = {
        "planted": planted_table(results),
        "planted_summary": summary_table(results, bootstrap),
        "planted_curve": curve_table(results, bootstrap),
    }
    for name, table in tables.items():
        write_text(out / f"{name}.tsv", to_tsv(table))
        write_json(out / f"{name}.json", columns(name) | {"PlantingSettings": dict(settings)})
    figure = curve_figure(tables["planted_curve"])
    pictures = {kind: to_bytes(figure, kind) for kind in ("png", "svg")}
    for kind, content in pictures.items():
        write_bytes(out / f"planted_curve.{kind}", content)
    inside = out.resolve() == output_dir.resolve() / FOLDER
    participants = sorted({result.name.partition("_ses-")[0] for result in results})
    reports = [name for name in participants if (output_dir / f"{name}.html").is_file()] if inside else []
    page = render_page(
        results, tables, pictures["png"], settings=settings, problems=problems, reports=reports, way_back="../"
    )
    write_text(out / PAGE, page)
    if inside:
        _ignore(output_dir)
        for name in reports:
            build_individual_report(output_dir, name)
    return f"{NOTE}\n\n{markdown(tables)}"


def markdown(tables: Mapping[str, Any]) -> str:
    """Return one line a scan and variant as a Markdown table."""
    rows = scan_rows(tables["planted_summary"])
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([row[name] for name in names] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _ignore(output_dir: Path) -> None:
    """Enter the folder in ``.bidsignore`` of an output folder that an earlier version wrote."""
    path = output_dir / ".bidsignore"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    if FOLDER not in lines:
        write_text(path, "".join(f"{line}\n" for line in [*lines, FOLDER]))
