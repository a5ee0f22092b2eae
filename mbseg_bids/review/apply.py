"""A reader's decisions written: masks, tables and sheets under ``desc-reviewed``, beside the automatic result."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mbseg_bids import __version__
from mbseg_bids.bids.colours import COLOUR, PLACES_KIND, coloured, write_label_files
from mbseg_bids.bids.files import write_json, write_text
from mbseg_bids.bids.outputs import reviewed_name
from mbseg_bids.bids.reviewed import describe_review
from mbseg_bids.detection.lesions.sheets import rate
from mbseg_bids.detection.lesions.tables import NOTHING, write_table
from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.reports.session_files import SessionKey
from mbseg_bids.review.decide import Decided, Result, decide
from mbseg_bids.review.session import SessionResult, read_session_result
from mbseg_bids.review.spaces import write_other_spaces
from mbseg_bids.review.table import DECISIONS, REJECT, Judgement, Review, read_review
from mbseg_bids.review.write import write_labels, write_sidecar

_WHAT = "found by the program and corrected by a reader; the automatic result stands beside it, without desc-reviewed."
_SIDECARS = (
    ("label-CMB_mask.json", "", "Cerebral microbleeds"),
    ("seg-CMB_dseg.json", "lesions", "Cerebral microbleeds, one integer for each"),
    ("seg-CMBcandidates_dseg.json", "candidates", "What became of every candidate of the image of that name"),
    ("seg-MARS_dseg.json", "mars", "Sheet of the Microbleed Anatomical Rating Scale of the microbleeds"),
    ("seg-BOMBS_dseg.json", "bombs", "Sheet of the Brain Observer MicroBleed Scale of the microbleeds"),
)
"""End of the automatic file, its table, and what the reviewed one is."""
_SHEET_COLUMNS = ("longest_diameter_mm", "certainty", "lesion_probability")
"""What the rating sheets are made from; results of earlier versions lack it."""


@dataclass(frozen=True)
class Applied:
    """What a review made of one session."""

    key: SessionKey
    n_automatic: int
    n_reviewed: int
    notes: tuple[str, ...]


def apply_review(output_dir: Path, path: Path, *, reader: str = "", now: datetime | None = None) -> list[Applied]:
    """Apply a review to every session in it. Nothing is written unless all of it can be applied.

    Parameters
    ----------
    output_dir
        Output folder of mbseg-bids.
    path
        Review as the report exports it.
    reader
        Name to use instead of the one in the file.
    now
        Time of the application.

    Raises
    ------
    UnreadableDataError
        If the review cannot be read, or is of another result than the one in the folder.
    MbsegError
        If a session is missing or not finished.
    """
    review = read_review(path, reader)
    planned = [_plan(read_session_result(output_dir, key), review) for key in review.sessions()]
    time = (now or datetime.now(UTC)).isoformat(timespec="seconds").replace("+00:00", "Z")
    source = {"reader": review.reader, "applied": time, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    describe_review(output_dir)
    return [_write(session, decided, review, source) for session, decided in planned]


def _plan(session: SessionResult, review: Review) -> tuple[SessionResult, Decided]:
    """Decide; say what does not fit."""
    key, judgements = session.files.key, review.of(session.files.key)
    if judgements[0].result != session.hash:
        raise UnreadableDataError(
            f"the review of {key.prefix} is of result {judgements[0].result}, the folder holds {session.hash}",
            "the session was computed again since: review its new report",
        )
    try:
        return session, decide(session.automatic, judgements, review.reader, session.scan, session.thresholds)
    except ValueError as error:
        raise UnreadableDataError(f"review of {key.prefix}: {error}", "export the review again") from error


def _write(session: SessionResult, decided: Decided, review: Review, source: Mapping[str, str]) -> Applied:
    """Write the files of one session; its record comes last."""
    result, judgements = decided.result, review.of(session.files.key)
    log = session.files.output_dir / "logs" / session.files.key.prefix
    record = _record(session, decided, judgements, source)
    write_text(log.with_name(f"{log.name}_review.tsv"), _as_tsv(judgements, review.reader))
    write_labels(session.path("seg-CMB_dseg.nii.gz"), result.lesions)
    write_labels(session.path("seg-CMB_dseg.nii.gz"), (result.lesions > 0) * 1, session.path("label-CMB_mask.nii.gz"))
    _write_table(session.path("seg-CMB_dseg.tsv"), result.lesion_rows, result.lesion_columns)
    _write_table(session.path("seg-CMBcandidates_dseg.tsv"), result.candidate_rows, result.candidate_columns)
    _write_sheets(session, result)
    elsewhere = write_other_spaces(session, result, record)
    for ending, table, text in _SIDECARS:
        write_sidecar(session.files.output_dir, session.path(ending), f"{text}, {_WHAT}", record, table)
    write_json(log.with_name(f"{log.name}_review.json"), record | {"spaces": elsewhere})
    counts = record["n_lesions"]
    return Applied(session.files.key, counts["automatic"], counts["reviewed"], decided.notes)


def _record(
    session: SessionResult, decided: Decided, judgements: Sequence[Judgement], source: Mapping[str, str]
) -> dict[str, Any]:
    """Return the provenance of a reviewed result."""
    said = [judgement.decision for judgement in judgements]
    times = sorted(judgement.time for judgement in judgements if judgement.time and judgement.decision)
    return {
        "reader": source["reader"],
        "applied": source["applied"],
        "decided": {"first": times[0], "last": times[-1]} if times else {},
        "result": session.hash,
        "review_sha256": source["sha256"],
        "software": {"mbseg-bids": __version__},
        "n_lesions": {"automatic": len(session.automatic.lesion_rows), "reviewed": len(decided.result.lesion_rows)},
        "n_decisions": {decision: said.count(decision) for decision in DECISIONS},
        "n_not_decided": len(session.automatic.lesion_rows) - _n_decided(judgements),
        "removed": list(decided.removed),
        "accepted": list(decided.accepted),
        "added": list(decided.added),
        "notes": list(decided.notes),
    }


def _n_decided(judgements: Sequence[Judgement]) -> int:
    return sum(bool(judgement.decision) for judgement in judgements if judgement.kind == "lesion")


def _write_table(path: Path, rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> None:
    lines = ["\t".join(columns), *("\t".join(row[column] for column in columns) for row in rows)]
    text = "".join(f"{line}\n" for line in lines)
    target = write_text(path.with_name(reviewed_name(path.name)), text)
    if COLOUR in columns:
        write_label_files(target, text)


def _write_sheets(session: SessionResult, result: Result) -> None:
    """Fill in the rating sheets anew, where the session has them."""
    places = session.scan.places
    if places is None or set(_SHEET_COLUMNS) - set(result.lesion_columns):
        return
    candidates = [row for row in result.candidate_rows if row["review"] != REJECT]  # no longer in doubt
    sheets = rate(
        result.lesions, _frame(result.lesion_rows, result.lesion_columns), result.candidates,
        _frame(candidates, result.candidate_columns), places, session.scan.regions, session.scan.spacing,
    )  # fmt: skip
    for name, sheet in (("MARS", sheets.mars), ("BOMBS", sheets.bombs)):
        path = session.path(f"seg-{name}_dseg.tsv")
        target = path.with_name(reviewed_name(path.name))
        write_table(sheet, target)
        if name == "MARS" and COLOUR in path.read_text(encoding="utf-8").partition("\n")[0].split("\t"):
            write_text(target, coloured(target.read_text(encoding="utf-8"), PLACES_KIND))


def _frame(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(columns)).replace(NOTHING, np.nan)
    return frame.assign(index=frame["index"].astype(int))


def _as_tsv(judgements: Sequence[Judgement], reader: str) -> str:
    """Return the decisions as they were applied, to be kept with the result."""
    lines = ["participant_id\tsession_id\tresult\titem\tkind\tdecision\tnote\ti\tj\tk\treader\ttime"]
    for judgement in judgements:
        session = f"ses-{judgement.key.session}" if judgement.key.session else ""
        voxel = [str(index) for index in judgement.voxel] if judgement.voxel else ["", "", ""]
        cells = [f"sub-{judgement.key.participant}", session, judgement.result, judgement.item, judgement.kind]
        cells += [judgement.decision, judgement.note, *voxel, reader, judgement.time]
        lines.append("\t".join(cell or NOTHING for cell in cells))
    return "".join(f"{line}\n" for line in lines)
