"""Images that are not to be used: listed in ``.bidsignore``, or marked in ``scans.tsv``."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from mbseg_bids.errors import UsageError


class Ignored:
    """Tells which files the ``.bidsignore`` of a dataset lists; its patterns are those of ``.gitignore``."""

    def __init__(self, bids_dir: Path) -> None:
        self._root = bids_dir
        try:
            lines = (bids_dir / ".bidsignore").read_text(encoding="utf-8-sig", errors="replace").splitlines()
        except OSError:
            lines = []
        lines = [line.strip() for line in lines]
        self._patterns = [_pattern(line) for line in lines if line.strip("/!") and not line.startswith("#")]

    def __contains__(self, path: Path) -> bool:
        """Tell whether a file of the dataset is listed; of several patterns the last that fits decides."""
        name = path.relative_to(self._root).as_posix()
        fits = [listed for pattern, listed in self._patterns if pattern.fullmatch(name)]
        return bool(fits) and fits[-1]


def _pattern(line: str) -> tuple[re.Pattern, bool]:
    """Return the expression of a line, and whether it lists files (or takes them back, with ``!``)."""
    listed = not line.startswith("!")
    body = line.removeprefix("!")
    folder, anchored = body.endswith("/"), "/" in body.rstrip("/")
    body = body.strip("/")
    text = "" if anchored else "(?:.*/)?"
    parts = re.split(r"(\*\*/|/\*\*|\*|\?|\[[^]/]+\])", body)
    words = {"**/": "(?:.*/)?", "/**": "/.*", "*": "[^/]*", "?": "[^/]"}
    for part in parts:
        is_set = part.startswith("[") and part.endswith("]") and len(part) > 2
        text += words.get(part, part.replace("[!", "[^", 1) if is_set else re.escape(part))
    return re.compile(text + ("/.*" if folder else "(?:/.*)?")), listed


def quality_marks(values: Sequence[str]) -> dict[str, set[str]]:
    """Return the values that mark a scan as not to be used, by column of ``scans.tsv``, in lower case.

    Parameters
    ----------
    values
        ``COLUMN=VALUE``, or ``COLUMN=VALUE,VALUE``; one column may be named several times.

    Raises
    ------
    UsageError
        If one of them is neither.
    """
    marks: dict[str, set[str]] = {}
    for value in values:
        column, _, words = value.partition("=")
        found = {word.strip().lower() for word in words.split(",") if word.strip()}
        if not column.strip() or not found:
            raise UsageError(f"--exclude-scans {value!r} is not COLUMN=VALUE", "such as quality=bad,unusable")
        marks.setdefault(column.strip(), set()).update(found)
    return marks


class Marked:
    """Tells which scans are marked in the ``scans.tsv`` of their session."""

    def __init__(self, marks: dict[str, set[str]]) -> None:
        self._marks = marks
        self._rows: dict[Path, tuple[dict[str, str], ...]] = {}
        self.known: set[str] = set()
        """Those of the columns asked for that some ``scans.tsv`` has."""

    def mark(self, path: Path, folder: Path) -> str:
        """Return ``column=value`` of the mark of a scan, empty if it has none.

        Parameters
        ----------
        path
            Of the scan.
        folder
            Of its session, or its participant where there are no sessions.
        """
        if self._marks and folder not in self._rows:
            self._rows[folder] = _scans(folder)
        for row in self._rows.get(folder, ()):
            self.known |= self._marks.keys() & row.keys()
            if row.get("filename") == path.relative_to(folder).as_posix():
                for column, values in self._marks.items():
                    if str(row.get(column) or "").strip().lower() in values:
                        return f"{column}={str(row[column]).strip()}"
        return ""

    def require_known(self) -> None:
        """Raise UsageError if a column asked for is in no ``scans.tsv`` that was looked at."""
        unknown = sorted(self._marks.keys() - self.known)
        if unknown:
            raise UsageError(f"--exclude-scans: no scans.tsv has a column {unknown[0]}", "check its name")


def _scans(folder: Path) -> tuple[dict[str, str], ...]:
    """Return the rows of the ``scans.tsv`` of a session; none where it is missing or cannot be read."""
    rows: list[dict[str, str]] = []
    for path in sorted(folder.glob("sub-*_scans.tsv")):
        try:
            with path.open(encoding="utf-8-sig", newline="", errors="replace") as stream:
                rows += list(csv.DictReader(stream, delimiter="\t"))
        except (OSError, csv.Error):
            continue
    return tuple(rows)
