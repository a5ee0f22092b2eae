"""Files that are whole or not there, also when several processes of a cluster write side by side."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mbseg_bids.errors import CannotWriteError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield another name to write to, in the folder of ``path``; it becomes ``path`` when the block ends well."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    yield part
    part.replace(path)


def write_whole(path: Path, text: str) -> None:
    """Write a text file by way of another name, so that nobody reads half of it.

    Raises
    ------
    CannotWriteError
        If the file system refuses.
    """
    try:
        with whole(path) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CannotWriteError(f"cannot write {path}: {error.strerror or error}", "free space or rights") from error
