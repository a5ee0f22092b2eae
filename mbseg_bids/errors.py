"""One family of exceptions; each carries the exit code of the BIDS execution specification (draft)."""

import signal
import sys
import traceback
from collections.abc import Callable


class MbsegError(Exception):
    """Base of every error a user can meet.

    Parameters
    ----------
    what
        What went wrong, naming the file or option, in one line.
    remedy
        What the user can do about it, in a few words.
    """

    exit_code = 1

    def __init__(self, what: str, remedy: str = "see the log") -> None:
        self.what = " ".join(str(what).split())
        self.remedy = " ".join(str(remedy).split())
        super().__init__(f"{self.what} ({self.remedy})")

    def __reduce__(self):  # nipype sends exceptions between processes
        return type(self), (self.what, self.remedy)


class ParticipantFailedError(MbsegError):
    """At least one participant or session failed; the others are done."""

    exit_code = 1


class InvalidDatasetError(MbsegError):
    """The input is not a BIDS dataset that can be read."""

    exit_code = 16


class UnknownLevelError(MbsegError):
    """The analysis level is neither participant nor group."""

    exit_code = 17


class NothingSelectedError(MbsegError):
    """The filters leave no participant or session."""

    exit_code = 18


class UsageError(MbsegError):
    """The command line or the settings file contradict themselves."""

    exit_code = 64


class UnreadableDataError(MbsegError):
    """An image, table or weights file is truncated, malformed or impossible."""

    exit_code = 65


class MissingImageError(MbsegError):
    """A required contrast is missing."""

    exit_code = 66


class CannotWriteError(MbsegError):
    """The output or work directory cannot be written."""

    exit_code = 73


class InputOutputError(MbsegError):
    """The file system failed while reading or writing."""

    exit_code = 74


class TemporaryError(MbsegError):
    """A resource ran out (memory of the GPU, say); the same run may work later."""

    exit_code = 75


def exit_code_of(work: Callable[[], int], program: str, *, interrupted: str) -> int:
    """Run a command; what fails ends in one last line on the terminal, which says what to do, and in an exit code.

    Parameters
    ----------
    work
        The command; it returns its exit code.
    program
        Name that the line begins with.
    interrupted
        What to do after an interruption.

    Returns
    -------
    What ``work`` returns; the code of a :class:`MbsegError`; 74 for any other error of the file system; 130 when
    interrupted; 1 for a bug, whose traceback is printed.
    """
    error: MbsegError
    try:
        return work()
    except MbsegError as known:
        error = known
    except KeyboardInterrupt:
        print(f"{program} failed: interrupted ({interrupted})", file=sys.stderr)
        return 128 + signal.SIGINT
    except OSError as failed:
        error = InputOutputError(f"{failed.strerror or failed}: {failed.filename or ''}", "check the disk")
    except Exception as bug:
        traceback.print_exc()
        error = MbsegError(f"{type(bug).__name__}: {bug}", "this is a bug: please report it")
    print(f"{program} failed: {error}", file=sys.stderr, flush=True)
    return error.exit_code
