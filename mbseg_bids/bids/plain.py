"""Plain NIfTI files instead of a BIDS dataset: the session they make, and outputs named after the T2*-weighted file.

From the session on, nothing differs from a run on a dataset. Its files are written under BIDS names to a folder of the
run, and given to the user with the name of the T2*-weighted file in place of ``sub-X``.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from mbseg_bids.bids import colours
from mbseg_bids.bids.files import write_bytes, write_json
from mbseg_bids.bids.inputs import Session, missing_contrast_warnings
from mbseg_bids.bids.outputs import NATIVE_OUTPUTS, T1W_OUTPUTS, output_path, template_outputs
from mbseg_bids.bids.selection import Selected
from mbseg_bids.bids.validation import read_header
from mbseg_bids.contrasts import CONTRASTS
from mbseg_bids.errors import CannotWriteError, UsageError
from mbseg_bids.imaging.template import DEFAULT_TEMPLATE

ENDINGS = (".nii.gz", ".nii")
SUMMARY, REPORT, METHODS, REFERENCES = "_summary.json", ".html", "_methods.md", "_methods.bib"
"""What follows the name of the T2*-weighted file in files that are no derivative of an image."""


def file_stem(path: Path) -> str:
    """Return the name of a NIfTI file without its ending.

    Raises
    ------
    UsageError
        If it has another ending, or nothing before it.
    """
    for ending in ENDINGS:
        if path.name.endswith(ending) and path.name != ending:
            return path.name.removesuffix(ending)
    raise UsageError(f"{path.name} is no NIfTI file by its name", f"give a file that ends in {' or '.join(ENDINGS)}")


def plain_session(t2star: Path, *, t2w: Path | None = None, t1w: Path | None = None) -> Session:
    """Return the session that plain files make; reports call it by the name of the T2*-weighted file.

    Parameters
    ----------
    t2star, t2w, t1w
        NIfTI files; what is None the session does not have. Nothing but the headers is read.

    Raises
    ------
    UsageError
        If a file has another ending, or is given twice.
    UnreadableDataError
        If a file has no header that can be read.
    """
    given = {"T1w": t1w, "T2w": t2w, "T2starw": t2star}
    paths = {contrast: path for contrast in CONTRASTS if (path := given[contrast]) is not None}
    for path in paths.values():
        file_stem(path)
    if len({path.resolve() for path in paths.values()}) < len(paths):
        raise UsageError("one file is given for two contrasts", "give a file for each, or leave one out")
    images = {contrast: Selected((path,), "given by name", read_header(path)) for contrast, path in paths.items()}
    stem = file_stem(t2star)
    label = re.sub(r"[^A-Za-z0-9]", "", stem) or "scan"
    return Session(label, None, images, tuple(missing_contrast_warnings(tuple(images))), title=stem)


def require_same_scan(folder: Path, t2star: Path) -> None:
    """Raise CannotWriteError if a folder holds results of another scan whose file bears the same name."""
    summary = folder / f"{file_stem(t2star)}{SUMMARY}"
    if not summary.is_file():
        return
    try:
        before = json.loads(summary.read_text(encoding="utf-8"))["t2star_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        before = ""
    if before != _sha256(t2star):
        raise CannotWriteError(
            f"{folder} holds results of another file called {t2star.name}", "give another folder, or remove them"
        )


def give_out(tree: Path, session: Session, folder: Path) -> list[Path]:
    """Copy what a run has written for a session to the user's folder, the summary last; return the copies.

    Results of an earlier run on the same file are replaced, those that are no longer made removed. Of a session that
    failed there is the report alone.

    Parameters
    ----------
    tree
        Output folder of the run.
    session
        From :func:`plain_session`.
    folder
        Where the user wants the files; made where it is not there.
    """
    stem = session.title
    pairs = [(path, folder / name) for path, name in _given_out(tree, session.label, stem) if path.is_file()]
    kept = {target for _, target in pairs}
    for name in result_names(stem):
        if folder / name not in kept:
            (folder / name).unlink(missing_ok=True)
    copies = [write_bytes(target, path.read_bytes()) for path, target in pairs]
    summary = tree / "logs" / f"{session.label}{SUMMARY}"
    if summary.is_file():
        content = json.loads(summary.read_text(encoding="utf-8"))
        content["t2star_sha256"] = _sha256(session.images["T2starw"].path)
        copies.append(write_json(folder / f"{stem}{SUMMARY}", content))
    return copies


def result_names(stem: str) -> Iterator[str]:
    """Yield the names of all files that a run may give out for a T2*-weighted file of this name, the summary last."""
    for output in (*NATIVE_OUTPUTS, *T1W_OUTPUTS, *template_outputs(DEFAULT_TEMPLATE)):
        rest = output_path(output, "X", None).name.removeprefix("sub-X").split(".")[0]
        yield from (f"{stem}{rest}{ending}" for ending in (".nii.gz", ".json", ".tsv", *colours.ENDINGS))
    yield from (f"{stem}{rest}" for rest in (REPORT, METHODS, REFERENCES, SUMMARY))


def _given_out(tree: Path, label: str, stem: str) -> Iterator[tuple[Path, str]]:
    """Yield each file of a run, and its name for the user."""
    for path in sorted((tree / label / "anat").glob(f"{label}_*")):
        yield path, stem + path.name.removeprefix(label)
    if (tree / label / "anat").is_dir():
        yield tree / "logs" / "CITATION.md", f"{stem}{METHODS}"
        yield tree / "logs" / "CITATION.bib", f"{stem}{REFERENCES}"
    yield tree / f"{label}.html", f"{stem}{REPORT}"


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
