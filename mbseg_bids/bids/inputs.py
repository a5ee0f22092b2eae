"""What to read: the sessions of a BIDS dataset and the images each of them will use."""

import json
import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mbseg_bids.bids.image_checks import inspect_image
from mbseg_bids.bids.index import find_participants, index_images
from mbseg_bids.bids.selection import Candidate, Selected, select
from mbseg_bids.bids.sidecars import check_sidecars, echo_time
from mbseg_bids.contrasts import CHANNELS, CONTRASTS, TITLES
from mbseg_bids.errors import (
    InvalidDatasetError,
    MbsegError,
    MissingImageError,
    NothingSelectedError,
    UsageError,
)
from mbseg_bids.settings import InputSettings

FILTER_KEYS = {"t1w": "T1w", "t2w": "T2w", "t2starw": "T2starw", "t2star": "T2starw"}
"""Keys of a filter file that are used; files made for other apps have more."""

T2STAR_SUFFIXES = ("T2starw", "MEGRE", "swi", "SWI", "GRE", "T2star")
"""Names of a T2*-weighted image, best first. Only the first has a place in the standard for single echoes; SWI has
none yet, ``GRE`` is the magnitude of the proposed ``swi/`` folder, ``T2star`` an old spelling."""

_NOT_T2W = re.compile(r"hemo|swi|gre|t2s|flair", re.IGNORECASE)
"""``acq-`` labels by which a T2*-weighted (or FLAIR) image has been called T2w."""

_PROJECTION = re.compile(r"_(acq|rec|desc|proc)-[a-z0-9]*(mip|minip)", re.IGNORECASE)
"""Minimum- and maximum-intensity projections are no volumes of single slices."""

LOGGER = logging.getLogger("mbseg")


@dataclass(frozen=True)
class Session:
    """The inputs of one session, or what keeps it from running."""

    participant: str
    session: str | None
    images: dict[str, Selected] = field(default_factory=dict)
    """By contrast, of those found."""
    warnings: tuple[str, ...] = ()
    problem: MbsegError | None = None
    """Why this session cannot run; None if it can."""

    @property
    def label(self) -> str:
        """``sub-X`` or ``sub-X_ses-Y``."""
        return session_label(self.participant, self.session)

    @property
    def contrasts(self) -> tuple[str, ...]:
        """Contrasts it has, in the order of the network's channels."""
        return tuple(contrast for contrast in CHANNELS if contrast in self.images)

    @property
    def missing(self) -> tuple[str, ...]:
        """Contrasts it lacks, in the same order."""
        return tuple(contrast for contrast in CHANNELS if contrast not in self.images)


def missing_contrast_warnings(contrasts: Sequence[str]) -> list[str]:
    """Return what a reader must know of a session that lacks T1w or T2w; nothing if it has all three contrasts.

    Parameters
    ----------
    contrasts
        Those it has; T2starw is one of them.
    """
    missing = [contrast for contrast in ("T1w", "T2w") if contrast not in contrasts]
    if not missing:
        return []
    seen = " and ".join(TITLES[contrast] for contrast in CHANNELS if contrast in contrasts)
    sentences = [f"no {' and no '.join(missing)}: the network saw {seen} only; it is best with all three contrasts"]
    if "T1w" in missing:
        anatomy = next(TITLES[contrast] for contrast in ("T2w", "T2starw") if contrast in contrasts)
        sentences.append(
            f"no T1w: brain and CSF come from {anatomy}, regions from the template; they are coarser than from a T1w"
        )
    return sentences


def session_label(participant: str, session: str | None) -> str:
    """Return ``sub-X`` or ``sub-X_ses-Y``."""
    return f"sub-{participant}" + (f"_ses-{session}" if session else "")


def read_filters(path: Path | None) -> dict[str, dict[str, Any]]:
    """Read a filter file; return the entity filters of each of the three contrasts.

    Raises
    ------
    UsageError
        If it is not a JSON object of objects.
    """
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {FILTER_KEYS[key.lower()]: dict(value) for key, value in content.items() if key.lower() in FILTER_KEYS}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise UsageError(f"cannot read filter file {path}: {error}", "give a JSON object of entity filters") from error


def find_sessions(
    bids_dir: Path,
    *,
    participants: Sequence[str] = (),
    sessions: Sequence[str] = (),
    filters: Mapping[str, Mapping[str, Any]] | None = None,
    settings: InputSettings | None = None,
    database_dir: Path | None = None,
) -> list[Session]:
    """Find the sessions to process and choose the images of each.

    Parameters
    ----------
    bids_dir
        Root of the dataset.
    participants, sessions
        Labels without prefix; empty means all.
    filters
        pybids entity filters by contrast, see :func:`read_filters`.
    settings
        Names and echo of the T2*-weighted image.
    database_dir
        pybids index to read, or to make for all participants.

    Returns
    -------
    Sessions sorted by participant and label. Those that cannot run carry the problem. A session with none of the three
    contrasts is left out.

    Raises
    ------
    InvalidDatasetError
        If the dataset has no participant at all.
    NothingSelectedError
        If a participant asked for does not exist, or no image is left after filters.
    """
    available, problems = find_participants(bids_dir)
    unusable = [Session(participant, session, problem=problem) for participant, session, problem in problems]
    if not available and not unusable:
        raise InvalidDatasetError(f"{bids_dir} has no participant (no folder sub-*)", "give the root of a BIDS dataset")
    unknown = sorted(set(participants) - set(available) - {session.participant for session in unusable})
    if unknown:
        raise NothingSelectedError(f"no participant sub-{unknown[0]} in {bids_dir}", "check --participant-label")
    wanted = [label for label in available if label in participants or not participants]
    found = [session for session in unusable if session.participant in participants or not participants]
    if wanted:
        layout = index_images(bids_dir, wanted, everyone=not participants, database_dir=database_dir)
        query = _Query(layout, filters or {}, settings or InputSettings())
        by_participant = {label: query.participant(label, set(sessions)) for label in wanted}
        found += [session for several in by_participant.values() for session in several]
        _say_who_is_left_out([label for label, several in by_participant.items() if not several])
    if not found:
        which = f" in ses-{', ses-'.join(sessions)}" if sessions else ""
        raise NothingSelectedError(f"no T1w, T2w or T2*-weighted image is selected{which}", "check labels and filters")
    return sorted(found, key=lambda session: (session.participant, session.session or ""))


def _say_who_is_left_out(participants: Sequence[str]) -> None:
    if participants:
        names = ", ".join(f"sub-{label}" for label in participants[:10])
        more = f" and {len(participants) - 10} more" if len(participants) > 10 else ""
        LOGGER.warning("left out, with no T1w, T2w or T2*-weighted image selected: %s%s", names, more)


def check_sessions(found: Iterable[Session], bids_dir: Path | None = None, n_threads: int = 1) -> list[Session]:
    """Read every chosen image and its sidecars once; a session with a bad one carries that problem.

    Decompression leaves Python's lock to others, so several threads read that much faster. Without ``bids_dir`` the
    sidecars are not looked at.
    """
    with ThreadPoolExecutor(max_workers=n_threads) as pool:
        return list(pool.map(lambda session: _checked(session, bids_dir), found))


def _checked(session: Session, bids_dir: Path | None) -> Session:
    if session.problem is not None:
        return session
    warnings = list(session.warnings)
    for contrast, image in session.images.items():
        for path in image.paths:
            try:
                warnings += inspect_image(path, contrast)
                warnings += check_sidecars(path, bids_dir, contrast) if bids_dir else []
            except MbsegError as error:
                return Session(session.participant, session.session, session.images, session.warnings, error)
    unique = tuple(dict.fromkeys(warnings))  # echoes share sidecars
    return Session(session.participant, session.session, session.images, unique)


class _Query:
    """Finds the images of one participant after another in one index."""

    def __init__(self, layout: Any, filters: Mapping[str, Mapping[str, Any]], settings: InputSettings) -> None:
        self.layout = layout
        self.filters = filters
        self.settings = settings
        self._told: set[str] = set()

    def participant(self, participant: str, sessions: set[str]) -> list[Session]:
        images = {contrast: self._by_session(participant, contrast) for contrast in CONTRASTS}
        present = {session for by_session in images.values() for session in by_session}
        wanted = [s for s in present if not sessions or s in sessions]
        return [self._session(participant, s, images) for s in sorted(wanted, key=lambda s: s or "")]

    def _session(self, participant: str, session: str | None, images: dict) -> Session:
        chosen: dict[str, Selected] = {}
        warnings: list[str] = []
        try:
            for contrast in CONTRASTS:
                selected = self._select(contrast, images[contrast].get(session, []))
                if selected is None and contrast == "T1w":
                    selected = self._from_other_session(images["T1w"], session)
                if selected is None:
                    continue
                chosen[contrast] = selected
                if selected.ambiguous:
                    warnings.append(f"{contrast}: {selected.reason}; a filter file can choose another")
            self._require(session_label(participant, session), chosen)
            warnings += missing_contrast_warnings(tuple(chosen))
        except MbsegError as problem:
            return Session(participant, session, chosen, tuple(warnings), problem)
        return Session(participant, session, chosen, tuple(warnings))

    def _require(self, label: str, chosen: Mapping[str, Selected]) -> None:
        """Raise MissingImageError if T2*, or a contrast that the user insists on, is not among the images."""
        needed = {*self.settings.required, "T2starw"}
        missing = [contrast for contrast in CONTRASTS if contrast in needed and contrast not in chosen]
        if missing:
            asked = [contrast for contrast in missing if contrast != "T2starw"]
            remedy = "T2starw is always needed" if "T2starw" in missing else ""
            if asked:
                remedy += f"{', and ' if remedy else ''}--require-contrasts asks for {' and '.join(asked)}"
            raise MissingImageError(
                f"{label} has no {' and no '.join(missing)}", f"{remedy}; a filter file can name the images"
            )

    def _select(self, contrast: str, candidates: list[Candidate]) -> Selected | None:
        return select(candidates, filtered=contrast in self.filters, echo=self.settings.t2star_echo)

    def _from_other_session(self, by_session: dict, session: str | None) -> Selected | None:
        """Take the T1w of another session of the participant: anatomy changes little, and it is registered anyway."""
        for other in sorted((s for s in by_session if s != session), key=lambda s: s or ""):
            if (selected := self._select("T1w", by_session[other])) is None:
                continue
            where = f"from ses-{other}" if other else "from the participant's folder"
            return Selected(
                selected.paths, f"{where}, as this session has none; {selected.reason}", selected.header,
                selected.ambiguous,
            )  # fmt: skip
        return None

    def _by_session(self, participant: str, contrast: str) -> dict[str | None, list[Candidate]]:
        names = self._names(contrast)
        query: dict[str, Any] = {"suffix": [suffix for suffix, _ in names], "extension": [".nii", ".nii.gz"]}
        query |= self.filters.get(contrast, {})
        query["subject"] = participant
        grouped: dict[str | None, list] = defaultdict(list)
        for file in self._get(query, contrast):
            if self._is_in_its_place(file, participant) and self._is_usable(contrast, file):
                grouped[file.entities.get("session")].append(file)
        return {session: self._candidates(contrast, files, names) for session, files in grouped.items()}

    def _get(self, query: Mapping[str, Any], contrast: str) -> list:
        try:
            return self.layout.get(**query)
        except Exception as error:  # pybids and SQLAlchemy have many kinds for an entity or value they do not know
            raise UsageError(
                f"the filter for {contrast} cannot be used: {str(error).splitlines()[0]}", "correct the filter file"
            ) from error

    def _is_in_its_place(self, file: Any, participant: str) -> bool:
        """Tell whether a file bears the label of the participant and session it lies with; warn if it does not."""
        path = Path(file.path)
        folders = path.relative_to(self.layout.root).parts[:-1]
        label = session_label(participant, next((f[4:] for f in folders if f.startswith("ses-")), None))
        if folders[0] == f"sub-{participant}" and path.name.startswith(f"{label}_"):
            return True
        where = "/".join(folders)
        if where not in self._told:
            LOGGER.warning("%s lies in %s, but is not named %s_...: it is not used", path.name, where, label)
            self._told.add(where)
        return False

    def _names(self, contrast: str) -> list[tuple[str, str]]:
        """Return (suffix, ending of the file name) looked for, best first."""
        if contrast != "T2starw":
            return [(contrast, contrast)]
        endings = self.settings.t2star_suffix or T2STAR_SUFFIXES
        return [(ending.rsplit("_", 1)[-1], ending) for ending in endings]

    def _is_usable(self, contrast: str, file: Any) -> bool:
        """Leave out phase, projections and misnamed images, except where the user's filter asks for them."""
        if contrast in self.filters:
            return True
        name, entities = Path(file.path).name, file.entities
        if entities.get("part") in ("phase", "real", "imag") or _PROJECTION.search(name):
            return False
        if contrast == "T2starw":
            return any(name.split(".")[0].endswith(f"_{ending}") for _, ending in self._names(contrast))
        return not (contrast == "T2w" and _NOT_T2W.search(str(entities.get("acquisition", ""))))

    def _candidates(self, contrast: str, files: list, names: list[tuple[str, str]]) -> list[Candidate]:
        """Group the echoes of one acquisition; images with contrast agent come after those without."""
        acquisitions: dict[str, list] = defaultdict(list)
        for file in sorted(files, key=lambda f: f.path):
            acquisitions[re.sub(r"_echo-\d+", "", file.path)].append(file)
        candidates = []
        for members in acquisitions.values():
            members.sort(key=lambda f: int(f.entities.get("echo") or 0))
            paths = tuple(Path(f.path) for f in members)
            stem = paths[0].name.split(".")[0]
            rank = next((i for i, (_, ending) in enumerate(names) if stem.endswith(f"_{ending}")), len(names))
            rank += (len(names) + 1) * ("_ce-" in stem)
            numbers = tuple(int(f.entities.get("echo") or 0) for f in members)
            times = tuple(echo_time(p, Path(self.layout.root)) for p in paths) if len(paths) > 1 else ()
            candidates.append(Candidate(paths, numbers if len(paths) > 1 else (), times, rank))
        return candidates
