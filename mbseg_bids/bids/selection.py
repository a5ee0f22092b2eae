"""Which image of several: filter, else highest in-plane resolution, else first. The reason is kept as text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mbseg_bids.bids.validation import ImageHeader, read_header
from mbseg_bids.errors import UnreadableDataError

ECHO_TIMES = (0.010, 0.045)
"""Echoes from 10 to 45 ms (in s) carry the T2* contrast that microbleeds show in; shorter ones are close to
proton density, longer ones are lost to noise and dropout."""


@dataclass(frozen=True)
class Candidate:
    """One image found in the dataset, or the echoes of one multi-echo acquisition."""

    paths: tuple[Path, ...]
    """One path, or one for each echo in the order of the echoes."""
    echoes: tuple[int, ...] = ()
    """Echo number of each path; empty where the name has none."""
    echo_times: tuple[float | None, ...] = ()
    """Echo time of each path, s."""
    rank: int = 0
    """Place of its kind of name among those looked for; a lower one is taken first."""

    @property
    def path(self) -> Path:
        """First path, which stands for the acquisition."""
        return self.paths[0]


@dataclass(frozen=True)
class Selected:
    """An image that a session will use."""

    paths: tuple[Path, ...]
    """More than one: the mean of these echoes is taken."""
    reason: str
    """Why this one, in words for the report."""
    header: ImageHeader | None
    """None if it cannot be read; validation then says why."""
    ambiguous: bool = False
    """True if the choice among several was by order of name alone."""

    @property
    def path(self) -> Path:
        """First path, which stands for the image."""
        return self.paths[0]


def select(candidates: Sequence[Candidate], *, filtered: bool = False, echo: str = "mean") -> Selected | None:
    """Choose one of several images.

    Parameters
    ----------
    candidates
        Images of one contrast in one session.
    filtered
        True if the user's filter restricted them.
    echo
        ``mean``, or the number of the echo to take, for multi-echo acquisitions.

    Returns
    -------
    The choice with its reason, or None if there is no candidate.
    """
    if not candidates:
        return None
    first_rank = min(candidate.rank for candidate in candidates)
    ranked = [candidate for candidate in candidates if candidate.rank == first_rank]
    measured = sorted(((_header(c), c) for c in ranked), key=lambda pair: _order(*pair))
    header, chosen = measured[0]
    areas = [_area(h) for h, _ in measured]
    n_equal = sum(area == areas[0] for area in areas)
    n_all = len(measured)
    if len(measured) == 1:
        reason = "the only one the filter selects" if filtered else "the only one"
        if len(candidates) > 1:
            reason = f"preferred by its name to {len(candidates) - 1} other"
    elif n_equal == 1 and header is not None:
        voxel = " x ".join(f"{size:.3g}" for size in sorted(header.spacing)[:2])
        reason = f"highest in-plane resolution ({voxel} mm) of {n_all}"
    else:
        reason = f"first by name of {n_equal} with equal in-plane resolution"
    paths, echo_text = _echoes(chosen, echo)
    return Selected(paths, reason + echo_text, header, ambiguous=n_equal > 1)


def _header(candidate: Candidate) -> ImageHeader | None:
    try:
        return read_header(candidate.path)
    except UnreadableDataError:
        return None


def _area(header: ImageHeader | None) -> float:
    return float("inf") if header is None else round(header.in_plane_area, 2)


def _order(header: ImageHeader | None, candidate: Candidate) -> tuple:
    run = re.search(r"_run-(\d+)", candidate.path.name)
    return _area(header), int(run.group(1)) if run else 0, candidate.path.name


def _echoes(candidate: Candidate, echo: str) -> tuple[tuple[Path, ...], str]:
    """Return the echoes to use and what to say about them; nothing for an image of one echo."""
    if len(candidate.paths) == 1:
        return candidate.paths, ""
    if echo != "mean":
        paths = tuple(p for p, number in zip(candidate.paths, candidate.echoes, strict=True) if number == int(echo))
        if not paths:
            have = ", ".join(map(str, candidate.echoes))
            raise UnreadableDataError(f"{candidate.path.name} has no echo {echo}", f"its echoes: {have}")
        return paths, f"; echo {echo} of {len(candidate.paths)}, as asked"
    shortest, longest = ECHO_TIMES
    weighted = [
        (path, number)
        for path, number, time in zip(candidate.paths, candidate.echoes, candidate.echo_times, strict=True)
        if time is not None and shortest <= time <= longest
    ]
    if not weighted:
        return candidate.paths, f"; mean of all {len(candidate.paths)} echoes (none known to be from 10 to 45 ms)"
    numbers = ", ".join(str(number) for _, number in weighted)
    if len(weighted) == 1:
        return (weighted[0][0],), f"; echo {numbers} of {len(candidate.paths)}, the only one from 10 to 45 ms"
    return (
        tuple(path for path, _ in weighted),
        f"; mean of echoes {numbers} of {len(candidate.paths)}, those from 10 to 45 ms",
    )
