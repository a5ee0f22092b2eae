"""What a run left on disk for one session, read so that nothing missing or broken stops the reader.

Every reader returns what it found, and adds a plain sentence to a list where something is missing or unreadable.
"""

import json
import os
import re
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from mbseg_bids.bids.outputs import reviewed_name
from mbseg_bids.bids.reviewed import HASHED, result_hash
from mbseg_bids.imaging.volume import Volume

LESION_COLUMNS = ("index", "region", "volume_mm3")
CANDIDATE_COLUMNS = ("index",)

_READ_ERRORS = (OSError, EOFError, ValueError, TypeError, KeyError, zlib.error, nib.filebasedimages.ImageFileError)


@dataclass(frozen=True, order=True)
class SessionKey:
    """A session of a participant; labels without their prefix."""

    participant: str
    session: str = ""
    """Empty where the dataset has no sessions."""

    @property
    def prefix(self) -> str:
        """Start of its file names: ``sub-X`` or ``sub-X_ses-Y``."""
        return f"sub-{self.participant}" + (f"_ses-{self.session}" if self.session else "")

    @property
    def sort_key(self) -> tuple:
        """Order of tables: numbers in labels by their value."""
        return _natural(self.participant), _natural(self.session), self.participant, self.session


def _natural(text: str) -> tuple:
    return tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in re.split(r"(\d+)", text) if p)


def find_sessions(output_dir: Path, participant: str | None = None) -> list[SessionKey]:
    """List the sessions that left a summary or a mark in ``logs/``, or files, of one participant or of all."""
    label = participant.removeprefix("sub-") if participant else None
    found = set()
    for path in (output_dir / "logs").glob("sub-*"):
        match = re.fullmatch(r"sub-([^_]+)(?:_ses-([^_]+))?_(?:summary\.json|failure\.json|incomplete\.txt)", path.name)
        if match:
            found.add(SessionKey(match[1], match[2] or ""))
    for anat in [*output_dir.glob("sub-*/anat"), *output_dir.glob("sub-*/ses-*/anat")]:
        if anat.is_dir() and any(anat.iterdir()):
            parts = anat.relative_to(output_dir).parts
            found.add(SessionKey(parts[0][4:], parts[1][4:] if len(parts) == 3 else ""))
    return sorted((k for k in found if label in (None, k.participant)), key=lambda k: k.sort_key)


@dataclass
class SessionFiles:
    """Files of one session in an output directory.

    Attributes
    ----------
    problems
        Sentences about what is missing or unreadable, filled as files are asked for.
    reviewed
        Whether files of a result that a reader has reviewed take the place of the automatic ones, where there are any.
    """

    output_dir: Path
    key: SessionKey
    problems: list[str] = field(default_factory=list)
    reviewed: bool = False

    def find(self, ending: str) -> Path | None:
        """Return the session's file whose name ends so (``seg-CMB_dseg.tsv``), the first by name if several."""
        found = sorted(n for n in self._names if n.endswith(f"_{reviewed_name(ending)}")) if self.reviewed else []
        found = found or sorted(n for n in self._names if n.endswith(f"_{ending}"))
        if len(found) > 1:
            self.note(f"{len(found)} files end in {ending}; {found[0]} is shown.")
        return self.folder / found[0] if found else None

    def exact(self, rest: str) -> Path | None:
        """Return the session's file ``sub-X[_ses-Y]_<rest>``, if there is one."""
        wanted = (reviewed_name(rest), rest) if self.reviewed else (rest,)
        names = (f"{self.key.prefix}_{ending}" for ending in wanted)
        return next((self.folder / name for name in names if name in self._names), None)

    @property
    def has_review(self) -> bool:
        """Whether a reader's review was applied to the session."""
        return self.exact(reviewed_name("space-T2starw_seg-CMB_dseg.tsv")) is not None

    def review(self) -> dict[str, Any]:
        """Return what was recorded of the review; empty where there is none."""
        path = self.output_dir / "logs" / f"{self.key.prefix}_review.json"
        content = self._json(path) if self.has_review and path.is_file() else None
        return content if isinstance(content, dict) else {}

    def result_hash(self) -> str:
        """Return what identifies the automatic result; empty where a file of it is missing."""
        names = [f"{self.key.prefix}_space-T2starw_{ending}" for ending in HASHED]
        return result_hash(self.folder / name for name in names) if self._names.issuperset(names) else ""

    @property
    def folder(self) -> Path:
        """Where the images and tables of the session are."""
        folder = self.output_dir / f"sub-{self.key.participant}"
        return (folder / f"ses-{self.key.session}" if self.key.session else folder) / "anat"

    @cached_property
    def _names(self) -> frozenset[str]:
        try:
            return frozenset(n for n in os.listdir(self.folder) if n.startswith(f"{self.key.prefix}_"))
        except OSError:
            return frozenset()

    def note(self, sentence: str) -> None:
        """Add a sentence to the problems, once."""
        if sentence not in self.problems:
            self.problems.append(sentence)

    @property
    def finished(self) -> bool:
        """Whether the mark that a run writes last is there."""
        return (self.output_dir / "logs" / f"{self.key.prefix}_done.json").is_file()

    @property
    def at_work(self) -> bool:
        """Whether the mark is there that a run keeps while it computes the session, or left when it was killed."""
        return (self.output_dir / "logs" / f"{self.key.prefix}_incomplete.txt").is_file()

    def failure(self) -> dict[str, Any]:
        """Return what a run wrote about its failure; empty where there is none, or the session is finished since."""
        path = self.output_dir / "logs" / f"{self.key.prefix}_failure.json"
        content = self._json(path) if path.is_file() and not self.finished else None
        return content if isinstance(content, dict) else {}

    def summary(self) -> dict[str, Any]:
        """Return the facts the run wrote into ``logs/``; empty if there are none."""
        path = self.output_dir / "logs" / f"{self.key.prefix}_summary.json"
        if not path.is_file():
            self.note(f"The summary logs/{path.name} was not found: inputs, checks and parameters are not known.")
            return {}
        content = self._json(path)
        if content is not None and not isinstance(content, dict):
            self.note(f"The summary logs/{path.name} is not a table of facts.")
        return content if isinstance(content, dict) else {}

    def sidecar(self, ending: str) -> dict[str, Any]:
        """Return the JSON file whose name ends so; empty, without a problem, if there is none."""
        path = self.find(ending)
        content = self._json(path) if path else None
        return content if isinstance(content, dict) else {}

    def table(self, ending: str, required: tuple[str, ...], what: str) -> list[dict[str, str]] | None:
        """Return the rows of a TSV, column to text, or nothing if it is missing or unreadable."""
        path = self.find(ending)
        if path is None:
            self.note(f"The {what} was not found.")
            return None
        try:
            return read_tsv(path, required)
        except _READ_ERRORS as error:
            self.note(f"The {what} {path.name} cannot be read: {one_line(error)}.")
            return None

    def volume(self, ending: str, what: str, *, labels: bool = False) -> Volume | None:
        """Return an image as float32 (labels: int32), not-a-number as zero, or nothing if missing or unreadable."""
        path = self.find(ending)
        if path is None:
            self.note(f"The {what} was not found.")
            return None
        return self.read_volume(path, what, labels=labels)

    def read_volume(self, path: Path, what: str, *, labels: bool = False) -> Volume | None:
        """Return the image of a file like :meth:`volume`."""
        try:
            image = nib.load(path)
            data = image.get_fdata(dtype=np.float32, caching="unchanged")
            data = data.reshape(data.shape + (1,) * (3 - data.ndim))
            np.nan_to_num(data, copy=False, posinf=0, neginf=0)
            if labels:
                data = np.rint(data, out=data).astype(np.int32)
            return Volume(data, np.asarray(image.affine, float))
        except _READ_ERRORS as error:
            self.note(f"The {what} {path.name} cannot be read: {one_line(error)}.")
            return None

    def _json(self, path: Path) -> Any:
        try:
            return json.loads(path.read_text(encoding="utf-8-sig"))
        except _READ_ERRORS as error:
            self.note(f"{path.name} cannot be read: {one_line(error)}.")
            return None


def read_tsv(path: Path, required: tuple[str, ...] = ()) -> list[dict[str, str]]:
    """Read the rows of a tab-separated table, column to text, as they stand in the file.

    Raises
    ------
    ValueError
        If it is not UTF-8, has rows of unlike length, repeats or lacks a column.
    """
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    if not lines:
        raise ValueError("it is empty")
    header = [cell.strip() for cell in lines[0].split("\t")]
    missing = [name for name in required if name not in header]
    if missing:
        raise ValueError(f"column {', '.join(missing)} is missing")
    if len(set(header)) != len(header):
        raise ValueError("a column name appears twice")
    rows = [[cell.strip() for cell in line.split("\t")] for line in lines[1:] if line.strip()]
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise ValueError(f"line {number} has {len(row)} cells, the header {len(header)}")
    return [dict(zip(header, row, strict=True)) for row in rows]


def one_line(error: BaseException) -> str:
    """Return an error's text on one line, without a full stop and without the folders of the host."""
    text = " ".join(str(error).split()) or type(error).__name__
    return re.sub(r"(?:/[^/\s'\"]+)+/", "", text).rstrip(".")


def number(value: Any) -> float | None:
    """Return a finite number, or nothing for ``n/a`` and anything else that is none."""
    if isinstance(value, bool):
        return None
    try:
        result = float(value)
    except (TypeError, ValueError):
        return None
    return result if np.isfinite(result) else None
