"""Text files that are whole or not there, also when several processes of a cluster write side by side."""

import os
from pathlib import Path

from mbseg_bids.errors import CannotWriteError


def write_whole(path: Path, text: str) -> None:
    """Write a text file by way of another name, so that nobody reads half of it.

    Raises
    ------
    CannotWriteError
        If the file system refuses.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise CannotWriteError(f"cannot write {path}: {error.strerror or error}", "free space or rights") from error
