"""A folder to review on, with a viewer: it opens from disk, in any order and without a server."""

import base64
import gzip
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt

from mbseg_bids import __version__
from mbseg_bids.bids.files import write_text
from mbseg_bids.bids.reviewed import describe_review
from mbseg_bids.errors import MbsegError, NothingSelectedError
from mbseg_bids.reports import gallery
from mbseg_bids.reports.figures import CONVENTION
from mbseg_bids.reports.individual import DISCLAIMER, environment, script, section_anchor
from mbseg_bids.reports.review import ReviewPanel, review_panel
from mbseg_bids.reports.session_files import SessionKey, find_sessions
from mbseg_bids.review.session import SessionResult, read_session_result

FOLDER = "review"
"""In the output folder."""
NIIVUE = Path(gallery.__file__).parent / "niivue"
_BRIGHTEST = 99.7
"""Percentile of T2* in the brain that is drawn white."""


@dataclass(frozen=True)
class PageSection:
    """One session on the page."""

    key: SessionKey
    anchor: str
    panel: ReviewPanel
    images: str
    """Start of the name of its file of images."""


@dataclass(frozen=True)
class Pages:
    """Pages written, and sessions that have none."""

    pages: tuple[Path, ...]
    problems: tuple[str, ...]


def write_review_pages(output_dir: Path, participants: Sequence[str] = ()) -> Pages:
    """Write ``review/sub-X.html`` for participants with finished sessions, all where none is named.

    The images of a session are reduced to 256 grey values, as base64 in a script beside the page: a page opened from
    disk may run scripts of its folder, but not read its files.

    Raises
    ------
    NothingSelectedError
        If there is no session to review.
    """
    folder, pages, problems = output_dir / FOLDER, [], []
    wanted = {label.removeprefix("sub-") for label in participants}
    by_participant: dict[str, list[PageSection]] = {}
    for key in find_sessions(output_dir):
        if wanted and key.participant not in wanted:
            continue
        try:
            session = read_session_result(output_dir, key)
        except MbsegError as error:
            problems.append(f"{key.prefix} is left out: {error.what}")
            continue
        panel = _panel(session)
        if panel is None:
            continue
        write_text(folder / f"{key.prefix}_images.js", images_script(session))
        section = PageSection(key, section_anchor(key.prefix), panel, key.prefix)
        by_participant.setdefault(key.participant, []).append(section)
    if not by_participant:
        raise NothingSelectedError(f"no session to review in {output_dir}", "; ".join(problems) or "check the labels")
    for name in ("niivue.js", "LICENSES.txt"):
        shutil.copyfile(NIIVUE / name, folder / name)
    for participant, sections in by_participant.items():
        page = environment().get_template("review_page.html.j2").render(
            participant=participant,
            sections=sections,
            report_page=f"../sub-{participant}.html",
            script=script("sortable.js", "review.js", "viewer.js"),
            convention=CONVENTION,
            disclaimer=DISCLAIMER,
            version=__version__,
        )  # fmt: skip
        pages.append(write_text(folder / f"sub-{participant}.html", page))
    describe_review(output_dir)
    return Pages(tuple(pages), tuple(problems))


def _panel(session: SessionResult) -> ReviewPanel | None:
    rows, candidates = session.automatic.lesion_rows, session.automatic.candidate_rows
    prefix = section_anchor(session.files.key.prefix)
    cards = gallery.lesion_cards(rows, None, prefix=prefix)
    rejected = gallery.rejected_cards(candidates, None, prefix=prefix, with_pictures=0)
    return review_panel(session.files, rows, candidates, cards, rejected)


def images_script(session: SessionResult) -> str:
    """Return a script that holds the images of a session: NIfTI as base64, and the way from mm to voxels."""
    scan, automatic = session.scan, session.automatic
    rejected = [int(row["index"]) for row in automatic.candidate_rows if row.get("status") == "rejected"]
    content = {
        "t2star": _base64(drawn(scan.t2star, scan.brain), scan.affine),
        "lesions": _base64((automatic.lesions > 0).astype(np.uint8), scan.affine),
        "candidates": _base64(np.isin(automatic.candidates, rejected).astype(np.uint8), scan.affine),
        "added": _base64(np.zeros(scan.t2star.shape, np.uint8), scan.affine),
        "affine": np.linalg.inv(scan.affine)[:3].tolist(),
        "shape": list(scan.t2star.shape),
    }
    name = json.dumps(session.files.key.prefix)
    return f"(globalThis.mbsegImages ??= {{}})[{name}] = {json.dumps(content)};\n"


def drawn(t2star: npt.NDArray[np.floating], brain: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Return an image in 256 grey values, black to white from 0 to nearly the brightest of the brain."""
    white = float(np.percentile(t2star[brain] if brain.any() else t2star, _BRIGHTEST)) or 1.0
    return np.rint(np.clip(t2star / white, 0, 1) * 255).astype(np.uint8)


def _base64(data: npt.NDArray[np.uint8], affine: npt.NDArray[np.float64]) -> str:
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    return base64.b64encode(gzip.compress(image.to_bytes(), 6, mtime=0)).decode("ascii")
