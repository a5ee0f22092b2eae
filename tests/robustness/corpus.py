"""Broken and odd datasets: each a function that spoils an intact one, with what is expected of the app.

Every case starts from :class:`place.Place`: a dataset of two participants, of whom sub-02 stays intact and must come
out whole.
"""

from collections.abc import Callable
from dataclasses import dataclass

from place import Build


@dataclass(frozen=True)
class Case:
    """One broken or odd dataset and what is expected of a run on it."""

    name: str
    what: str
    """What is odd, in words."""
    build: Build
    """Spoils the dataset; may return more arguments of the command line, or a function that runs the app itself."""
    code: int
    """Exit code of the run: 1 where sub-01 failed and sub-02 is done."""
    session_code: int | None
    """Exit code of sub-01 in the table of sessions; None if it has no row."""
    says: str
    """Part of the line that tells."""
    left: tuple[str, str]
    """What is on disk of sub-01 and sub-02."""
    check: Callable | None = None
    """Checks more of what the run left."""


CASES: dict[str, Case] = {}
NOTHING, WHOLE, MARKED = "nothing", "complete", "marked incomplete"


def case(says: str, *, code: int, session: int | None = None, left: tuple[str, str], check: Callable | None = None):
    """Register a case under the name of its function."""

    def register(build: Build) -> Build:
        what = (build.__doc__ or "").strip().rstrip(".")
        CASES[build.__name__] = Case(build.__name__, what, build, code, session, says, left, check)
        return build

    return register


def refused(says: str, session: int = 65):
    """Register a case in which sub-01 cannot run and sub-02 is done."""
    return case(says, code=1, session=session, left=(NOTHING, WHOLE))


def accepted(says: str = "2 sessions done", check: Callable | None = None):
    """Register a case that is odd and valid: both are done; ``says`` is the warning, if there is one."""
    return case(says, code=0, session=0, left=(WHOLE, WHOLE), check=check)


def stops(says: str, code: int):
    """Register a case in which nothing can run."""
    return case(says, code=code, left=(NOTHING, NOTHING))
