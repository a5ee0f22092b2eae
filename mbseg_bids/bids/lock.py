"""One run at a time for each session, and a mark on what is not finished.

The mark of a session is a file that a run keeps locked while it computes the session, and removes at the end. The
operating system drops the lock when the run dies, however it dies; the file then stays and says that what lies beside
it is not complete.
"""

import contextlib
import importlib.util
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import IO

from mbseg_bids.errors import CannotWriteError, TemporaryError

fcntl: ModuleType | None = importlib.import_module("fcntl") if importlib.util.find_spec("fcntl") else None
"""Not on Windows."""

LOGGER = logging.getLogger("mbseg")

MARK_TEXT = (
    "This session is being computed, or its run was stopped: its files are not complete.\n"
    "The same command, given again, completes them and removes this file.\n"
)


def output_mark(output_dir: Path, label: str) -> Path:
    """Return the mark of a session that is not finished, in the output folder."""
    return output_dir / "logs" / f"{label}_incomplete.txt"


def work_mark(work_dir: Path, label: str) -> Path:
    """Return the same for the work folder, where two runs would spoil each other's steps."""
    return work_dir / f"{label}.lock"


class SessionLock:
    """The marks of one session in all folders, held together."""

    def __init__(self, label: str, marks: Iterable[Path]) -> None:
        self.label = label
        self._held: list[tuple[Path, IO[str]]] = []
        try:
            for mark in marks:
                self._held.append((mark, _hold(mark, label)))
        except BaseException:
            self._close(remove=False)
            raise

    def release(self, *, finished: bool) -> None:
        """Let go of the session; the marks stay unless it is ``finished``, well or with an error."""
        self._close(remove=finished)

    def _close(self, *, remove: bool) -> None:
        while self._held:
            mark, stream = self._held.pop()
            if remove:
                with contextlib.suppress(OSError):
                    mark.unlink()
            with contextlib.suppress(OSError):
                stream.close()


def is_held(mark: Path) -> bool:
    """Tell whether a run that is alive holds this mark."""
    if fcntl is None or not mark.is_file():
        return False
    try:
        with mark.open("r+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def remove_stale(label: str, marks: Sequence[Path]) -> None:
    """Remove the marks of a finished session whose run was killed just before it would have done so itself."""
    if any(mark.exists() for mark in marks):
        with contextlib.suppress(TemporaryError, CannotWriteError):  # held by a run that is alive; a read-only folder
            SessionLock(label, marks).release(finished=True)


def _hold(mark: Path, label: str) -> IO[str]:
    """Make and lock a mark.

    Raises
    ------
    TemporaryError
        If another run holds it.
    CannotWriteError
        If it cannot be written.
    """
    while True:
        try:
            mark.parent.mkdir(parents=True, exist_ok=True)
            stream = mark.open("a+")
        except OSError as error:
            reason = error.strerror or error
            raise CannotWriteError(f"cannot write {mark.name}: {reason}", "free space or rights") from error
        try:
            _lock(stream)
            if _is_same(stream, mark):  # else it was removed between opening and locking: a new one is needed
                stream.truncate(0)
                stream.write(MARK_TEXT)
                stream.flush()
                return stream
        except BlockingIOError as error:
            stream.close()
            raise TemporaryError(
                f"{label} is being computed by another run", "wait for it, or give other output and work folders"
            ) from error
        except OSError as error:
            stream.close()
            reason = error.strerror or error
            raise CannotWriteError(f"cannot write {mark.name}: {reason}", "free space or rights") from error
        stream.close()


def _lock(stream: IO[str]) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:  # some network file systems know no locks
        LOGGER.debug("no lock on %s: %s", stream.name, error)


def _is_same(stream: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False
