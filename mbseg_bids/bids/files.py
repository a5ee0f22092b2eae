"""Writing files so that a reader, or a killed run, never sees half of one, and none names a folder of the machine."""

import hashlib
import json
import os
import re
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mbseg_bids.errors import CannotWriteError


def hide_folders(content: Any, folders: Mapping[str, str]) -> Any:
    """Return a text, or nested lists and mappings of texts, with the folders of this machine replaced by their names.

    Parameters
    ----------
    content
        What is going to be written.
    folders
        Name to write by folder; the longest folder is replaced first.
    """
    if isinstance(content, dict):
        return {key: hide_folders(value, folders) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [hide_folders(value, folders) for value in content]
    if isinstance(content, str):
        for folder, name in sorted(folders.items(), key=lambda item: -len(item[0])):
            content = content.replace(folder, name)
    return content


def write_text(path: Path, text: str) -> Path:
    """Write a text file so that a reader, or a killed run, never sees half of it.

    Raises
    ------
    CannotWriteError
        If the file system refuses.
    """
    return write_bytes(path, text.encode(errors="backslashreplace"))  # names of files need not be Unicode


def write_json(path: Path, content: Any) -> Path:
    """Write JSON in the same atomic way."""
    return write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file in the same atomic way."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{_writer()}-", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CannotWriteError(f"cannot write {path}: {error.strerror or error}", "free space or rights") from error
    return path


def remove_leftovers(folder: Path) -> None:
    """Remove what killed runs of this machine were writing in a folder; what a living one writes is left alone."""
    for path in folder.glob(".*.part"):
        machine, _, process = path.name[1:].partition("-")
        number = re.match(r"\d+", process)
        if machine != _machine() or number is None or _is_alive(int(number.group())):
            continue
        path.unlink(missing_ok=True)


def _writer() -> str:
    return f"{_machine()}-{os.getpid()}"


def _machine() -> str:
    """Return a name of this machine that does not tell what it is called."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        return True
    return process != os.getpid()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
