"""What to read: the sessions of a BIDS dataset and the images each of them will use."""

import difflib
import json
import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mbseg_bids.bids import names
from mbseg_bids.bids.image_checks import inspect_image, require_anatomy
from mbseg_bids.bids.index import find_participants, index_images
from mbseg_bids.bids.left_out import Ignored, Marked, quality_marks
from mbseg_bids.bids.origin import sidecar_root
from mbseg_bids.bids.phase_files import PhaseFiles, find_phase
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
from mbseg_bids.imaging.anatomical import anatomical_contrast
from mbseg_bids.settings import InputSettings

FILTER_KEYS = {"t1w": "T1w", "t2w": "T2w", "t2starw": "T2starw", "t2star": "T2starw"}
"""Keys of a filter file that are used; files made for other apps have more."""

LOGGER = logging.getLogger("mbseg")
_LABELS_SHOWN = 10


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
    phase: PhaseFiles | None = None
    """Phase of the T2*-weighted image, if there is one to use."""
    title: str = ""
    """What reports call it; empty: its label."""

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
    everybody = {*available, *(session.participant for session in unusable)}
    unknown = sorted(set(participants) - everybody)
    if unknown:
        what = f"no participant sub-{unknown[0]} in {bids_dir}"
        raise NothingSelectedError(what, f"check --participant-label: {suggestion(unknown[0], everybody)}")
    wanted = [label for label in available if label in participants or not participants]
    found = [session for session in unusable if session.participant in participants or not participants]
    if wanted:
        layout = index_images(bids_dir, wanted, everyone=not participants, database_dir=database_dir)
        query = _Query(layout, filters or {}, settings or InputSettings())
        by_participant = {label: query.participant(label, set(sessions)) for label in wanted}
        found += [session for several in by_participant.values() for session in several]
        query.marked.require_known()
        _say_who_is_left_out([label for label, several in by_participant.items() if not several])
    if not found:
        which = f" in ses-{', ses-'.join(sessions)}" if sessions else ""
        remedy = "check labels and filters"
        if sessions and wanted and query.sessions:
            remedy += f"; of sessions, {suggestion(sessions[0], query.sessions)}"
        raise NothingSelectedError(f"no T1w, T2w or T2*-weighted image is selected{which}", remedy)
    return sorted(found, key=lambda session: (session.participant, session.session or ""))


def suggestion(label: str, known: Iterable[str]) -> str:
    """Return which of the known labels was meant by an unknown one, and which there are, in words."""
    labels = sorted(known)
    like = [other for other in labels if other.lower().lstrip("0") == label.lower().lstrip("0")]
    like += difflib.get_close_matches(label, labels, n=1, cutoff=0.75)
    more = f" and {len(labels) - _LABELS_SHOWN} more" if len(labels) > _LABELS_SHOWN else ""
    there_are = f"there are {', '.join(labels[:_LABELS_SHOWN])}{more}"
    return f"did you mean {like[0]}? {there_are}" if like else there_are


def _say_who_is_left_out(participants: Sequence[str]) -> None:
    if participants:
        names = ", ".join(f"sub-{label}" for label in participants[:10])
        more = f" and {len(participants) - 10} more" if len(participants) > 10 else ""
        LOGGER.warning("left out, with no T1w, T2w or T2*-weighted image selected: %s%s", names, more)


def check_sessions(found: Iterable[Session], bids_dir: Path | None = None, n_threads: int = 1) -> list[Session]:
    """Read every chosen image and its sidecars once; a session with a bad one carries that problem.

    Decompression leaves Python's lock to others, so several threads read that much faster. ``bids_dir`` is the root of
    the dataset, None for plain files.
    """
    with ThreadPoolExecutor(max_workers=n_threads) as pool:
        return list(pool.map(lambda session: _checked(session, bids_dir), found))


def _checked(session: Session, bids_dir: Path | None) -> Session:
    if session.problem is not None:
        return session
    warnings: list[str] = []
    for contrast, image in session.images.items():
        for path in image.paths:
            try:
                warnings += inspect_image(path, contrast)
                warnings += check_sidecars(path, sidecar_root(path, bids_dir), contrast)
            except MbsegError as error:
                return replace(session, phase=None, problem=error)
    anatomical = anatomical_contrast(session.images)
    image = session.images[anatomical]
    try:
        if image.header is not None:
            require_anatomy(image.path.name, image.header, anatomical)
    except MbsegError as error:
        return replace(session, problem=error)
    unique = names.merge_echoes([*session.warnings, *warnings])  # echoes share sidecars and the field of view
    return replace(session, warnings=tuple(unique))


class _Query:
    """Finds the images of one participant after another in one index."""

    def __init__(self, layout: Any, filters: Mapping[str, Mapping[str, Any]], settings: InputSettings) -> None:
        self.layout = layout
        self.filters = filters
        self.settings = settings
        self.sessions: set[str] = set()
        """Labels of all sessions met."""
        self.marked = Marked(quality_marks(settings.exclude_scans))
        self._ignored = Ignored(Path(layout.root))
        self._left_out: dict[str | None, list[str]] = {}
        self._told: set[str] = set()

    def participant(self, participant: str, sessions: set[str]) -> list[Session]:
        self._left_out = defaultdict(list)
        images = {contrast: self._by_session(participant, contrast) for contrast in CONTRASTS}
        present = {session for by_session in images.values() for session in by_session} | set(self._left_out)
        self.sessions |= {session for session in present if session}
        wanted = [s for s in present if not sessions or s in sessions]
        return [self._session(participant, s, images) for s in sorted(wanted, key=lambda s: s or "")]

    def _session(self, participant: str, session: str | None, images: dict) -> Session:
        chosen: dict[str, Selected] = {}
        warnings: list[str] = names.merge_echoes(self._left_out.get(session, []))
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
                warnings += _about_kind(contrast, selected.path.name)
            self._require(participant, session, chosen)
            warnings += missing_contrast_warnings(tuple(chosen))
        except MbsegError as problem:
            return Session(participant, session, chosen, tuple(warnings), problem)
        phase = find_phase(chosen["T2starw"].paths, Path(self.layout.root)) if self.settings.use_phase else None
        if phase is not None and phase.problem:
            warnings.append(f"phase: {phase.problem}")
            phase = None
        return Session(participant, session, chosen, tuple(warnings), phase=phase)

    def _require(self, participant: str, session: str | None, chosen: Mapping[str, Selected]) -> None:
        """Raise MissingImageError if T2*, or a contrast that the user insists on, is not among the images."""
        needed = {*self.settings.required, "T2starw"}
        missing = [contrast for contrast in CONTRASTS if contrast in needed and contrast not in chosen]
        if not missing:
            return
        asked = [contrast for contrast in missing if contrast != "T2starw"]
        remedies = []
        if "T2starw" in missing:
            remedies = ["T2starw is always needed", self._likely_t2star(participant, session)]
        if asked:
            remedies.append(f"--require-contrasts asks for {' and '.join(asked)}")
        remedies.append("" if remedies[1:2] and "filter" in remedies[1] else "a filter file can name the images")
        what = f"{session_label(participant, session)} has no {' and no '.join(missing)}"
        raise MissingImageError(what, "; ".join(remedy for remedy in remedies if remedy))

    def _likely_t2star(self, participant: str, session: str | None) -> str:
        """Say what may be the T2* of a session that has none: one that is left out, or under another name."""
        if "T2starw" in self.filters:
            return ""
        kinds = names.T2STAR_SUFFIXES
        left = [text for text in self._left_out.get(session, []) if names.suffix_of(text.split()[0]) in kinds]
        if left:
            return names.merge_echoes(left)[0]
        files = self._get({"subject": participant, "extension": [".nii", ".nii.gz"]}, "T2starw")
        return names.likely_t2star(
            (Path(f.path).name, f.entities) for f in files if f.entities.get("session") == session
        )

    def _select(self, contrast: str, candidates: list[Candidate]) -> Selected | None:
        filtered = contrast in self.filters
        selected = select(candidates, filtered=filtered, echo=self.settings.t2star_echo)
        if selected is None or contrast != "T2starw" or filtered or self.settings.t2star_suffix:
            return selected
        if names.is_susceptibility_weighted(selected.path.name):
            return replace(selected, reason=f"{selected.reason}; susceptibility-weighted, there is no T2* magnitude")
        if any(names.is_susceptibility_weighted(candidate.path.name) for candidate in candidates):
            reason = f"{selected.reason}; T2* magnitude comes before susceptibility-weighted images"
            return replace(selected, reason=reason)
        return selected

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
        looked_for = self._names(contrast)
        query: dict[str, Any] = {"suffix": [suffix for suffix, _ in looked_for], "extension": [".nii", ".nii.gz"]}
        query |= self.filters.get(contrast, {})
        query["subject"] = participant
        grouped: dict[str | None, list] = defaultdict(list)
        for file in self._get(query, contrast):
            if not self._is_in_its_place(file, participant) or not self._is_usable(contrast, file):
                continue
            session = file.entities.get("session")
            reason = self._why_left_out(contrast, Path(file.path))
            if reason:
                self._left_out[session].append(f"{Path(file.path).name} is not used: {reason}")
            else:
                grouped[session].append(file)
        return {session: self._candidates(files, looked_for) for session, files in grouped.items()}

    def _why_left_out(self, contrast: str, path: Path) -> str:
        """Return why an image is not to be used; empty if it may be. What was asked for by name is not ignored."""
        asked = contrast in self.filters or (contrast == "T2starw" and self.settings.t2star_suffix)
        if not asked and path in self._ignored:
            return "it is listed in .bidsignore (a filter file can take it all the same)"
        mark = self.marked.mark(path, path.parent.parent)
        return f"scans.tsv says {mark}" if mark else ""

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
        if contrast == "T1w":
            return [(suffix, suffix) for suffix in names.T1W_SUFFIXES]
        if contrast == "T2w":
            return [(contrast, contrast)]
        endings = self.settings.t2star_suffix or names.T2STAR_SUFFIXES
        return [(ending.rsplit("_", 1)[-1], ending) for ending in endings]

    def _is_usable(self, contrast: str, file: Any) -> bool:
        """Leave out phase, projections and misnamed images, except where the user's filter asks for them."""
        if contrast in self.filters:
            return True
        name, entities = Path(file.path).name, file.entities
        if names.is_part(name, entities):
            return False
        if contrast == "T2starw":
            return any(name.split(".")[0].endswith(f"_{ending}") for _, ending in self._names(contrast))
        return not (contrast == "T2w" and names.NOT_T2W.search(str(entities.get("acquisition", ""))))

    def _candidates(self, files: list, looked_for: list[tuple[str, str]]) -> list[Candidate]:
        """Group the echoes of one acquisition; images with contrast agent come after those without."""
        acquisitions: dict[str, list] = defaultdict(list)
        for file in sorted(files, key=lambda f: f.path):
            acquisitions[re.sub(r"_echo-\d+", "", file.path)].append(file)
        candidates = []
        for members in acquisitions.values():
            members.sort(key=lambda f: int(f.entities.get("echo") or 0))
            paths = tuple(Path(f.path) for f in members)
            stem = paths[0].name.split(".")[0]
            of_name = (i for i, (_, ending) in enumerate(looked_for) if stem.endswith(f"_{ending}"))
            rank = 2 * next(of_name, len(looked_for))
            rank += stem.endswith("_UNIT1") and not names.is_denoised(stem)
            rank += 2 * (len(looked_for) + 1) * names.is_enhanced(stem)
            numbers = tuple(int(f.entities.get("echo") or 0) for f in members)
            times = tuple(echo_time(p, Path(self.layout.root)) for p in paths) if len(paths) > 1 else ()
            candidates.append(Candidate(paths, numbers if len(paths) > 1 else (), times, rank))
        return candidates


def _about_kind(contrast: str, name: str) -> list[str]:
    """Return what a reader must know of an image that is not quite what the network learned from."""
    said = []
    if names.is_enhanced(name):
        said.append(f"{contrast}: {name} was made with a contrast agent (ce-): vessels look different from others")
    if contrast == "T1w" and names.suffix_of(name) == "UNIT1":
        said.append(f"T1w: {name} is the uniform image of an MP2RAGE; a T1w would come first")
    return said
