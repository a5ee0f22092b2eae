"""Who is in a dataset, and an index of their images: also where folders are misnamed or links go in circles."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mbseg_bids.errors import InvalidDatasetError, MbsegError, UnreadableDataError, UsageError

_LABEL = re.compile(r"[0-9A-Za-z+]+")
_ELSEWHERE = r"^/(?!sub-)[^/]+/?"
"""Everything at the root of the dataset but the folders of participants: derivatives, source data, a work folder."""
_OTHER_DATATYPES = r"/(beh|dwi|eeg|fmap|func|ieeg|meg|micr|motion|mrs|nirs|perf|pet)(/|$)"

Unusable = tuple[str, str | None, MbsegError]
"""Labels of participant and session, and why the folder cannot be used."""


def find_participants(bids_dir: Path) -> tuple[list[str], list[Unusable]]:
    """Return the labels of the participants, and the folders of participants and sessions that cannot be used."""
    available: list[str] = []
    unusable: list[Unusable] = []
    for path in sorted(bids_dir.glob("sub-*")):
        label = path.name.removeprefix("sub-")
        if path.is_dir() and _LABEL.fullmatch(label):
            available.append(label)
            unusable += _unusable_sessions(path, label)
        elif path.is_dir():
            unusable.append((label, None, _not_a_label(path.name)))
        elif path.is_symlink() and not path.exists():
            what = f"{path.name} is a link to a folder that is not here"
            unusable.append((label, None, UnreadableDataError(what, "restore the folder")))
    return available, unusable


def _unusable_sessions(folder: Path, participant: str) -> list[Unusable]:
    labels = [p.name.removeprefix("ses-") for p in _entries(folder) if p.name.startswith("ses-") and p.is_dir()]
    bad = sorted(label for label in labels if not _LABEL.fullmatch(label))
    return [(participant, label, _not_a_label(f"{folder.name}/ses-{label}")) for label in bad]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _not_a_label(name: str) -> MbsegError:
    return InvalidDatasetError(f"{name} is not a BIDS label", "rename it: labels are letters a-z and digits")


def index_images(bids_dir: Path, wanted: Sequence[str], *, everyone: bool, database_dir: Path | None) -> Any:
    """Return a pybids layout of the anatomical images of the participants asked for."""
    from bids.layout import BIDSLayout, BIDSLayoutIndexer

    ignore = [re.compile(_ELSEWHERE), re.compile(_OTHER_DATATYPES)]
    if not everyone and database_dir is None:  # an index that is kept must be good for the other participants too
        labels = "|".join(map(re.escape, wanted))
        ignore.append(re.compile(rf"^/sub-(?!({labels})(/|$))"))
    everybody = sorted(p.name for p in bids_dir.glob("sub-*")) if everyone or database_dir else None
    circles = _circular_links(bids_dir, everybody or [f"sub-{label}" for label in wanted])
    if circles:
        ignore.append(re.compile(rf"^/({'|'.join(map(re.escape, circles))})(/|$)"))
    indexer = BIDSLayoutIndexer(validate=False, ignore=ignore, index_metadata=False)
    try:
        return BIDSLayout(bids_dir, validate=False, indexer=indexer, database_path=database_dir)
    except Exception as error:
        if database_dir is None:
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"cannot use the index in {database_dir}: {reason}", "remove the folder, or give another"
        ) from error


def _circular_links(bids_dir: Path, folders: Sequence[str]) -> list[str]:
    """Return the links to a folder they lie in, relative to the dataset: whoever follows them never ends."""
    found = []
    for name in folders:
        for folder, inside, _ in os.walk(bids_dir / name):
            for path in (Path(folder, entry) for entry in inside):
                if path.is_symlink() and Path(folder).resolve().is_relative_to(path.resolve()):
                    found.append(path.relative_to(bids_dir).as_posix())
    return found
