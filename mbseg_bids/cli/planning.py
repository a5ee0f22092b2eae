"""What a run will do: which sessions are computed, which are finished already, which cannot run."""

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mbseg_bids import __version__
from mbseg_bids.bids import progress, reuse
from mbseg_bids.bids.inputs import Session
from mbseg_bids.bids.phase_files import PhaseFiles
from mbseg_bids.bids.sidecars import acquisition
from mbseg_bids.cli.parser import Request
from mbseg_bids.data import CANDIDATE_CLASSIFIER, WEIGHTS_MANIFEST
from mbseg_bids.errors import MbsegError, UnreadableDataError

SOFTWARE = (
    "nibabel",
    "nilearn",
    "nipype",
    "numpy",
    "openvino",
    "pandas",
    "picsl-greedy",
    "pybids",
    "scipy",
    "SimpleITK",
    "torch",
    "torchvision",
)
"""Distributions whose versions are recorded with each session."""

ACQUISITION = (
    "EchoTime",
    "FlipAngle",
    "MagneticFieldStrength",
    "Manufacturer",
    "ManufacturersModelName",
    "RepetitionTime",
    "SliceThickness",
    "SpacingBetweenSlices",
)
"""Fields of a sidecar that are repeated in the summary: counts depend on them. Nothing that identifies a person."""


@dataclass(frozen=True)
class SessionPlan:
    """A session that can run, with what it reuses."""

    session: Session
    fingerprint: str
    """Of inputs and settings; a finished session with the same one need not run again."""
    facts: Mapping[str, Any]
    """What its summary says before anything is computed: inputs, settings, software, warnings."""
    reused: Mapping[str, Path] = field(default_factory=dict)
    """Files by input of the anatomy workflow."""
    done: bool = False
    """True if an earlier run has finished it."""
    changed: str = ""
    """Why results of an earlier run do not stand; empty where there are none."""


def plan_sessions(sessions: Sequence[Session], request: Request) -> tuple[list[SessionPlan], dict[str, MbsegError]]:
    """Plan every session that can run; return the plans, and what keeps the others from running, by label."""
    software = software_versions()
    plans, problems = [], {}
    for session in sessions:
        problem = session.problem
        try:
            if problem is None:
                plans.append(_plan(session, request, software))
        except MbsegError as error:
            problem = error
        except OSError as error:  # of a file to reuse: the images have been read before
            name = Path(str(error.filename or "a file")).name
            problem = UnreadableDataError(f"{session.label}: {name} cannot be read: {error.strerror}", "restore it")
        if problem is not None:
            problems[session.label] = problem
    return plans, problems


def software_versions() -> dict[str, str]:
    """Return the versions of what the results depend on."""
    versions = {"mbseg-bids": __version__, "Python": platform.python_version()}
    return versions | {name: _version(name) for name in SOFTWARE}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def describe(
    sessions: Sequence[Session], plans: Sequence[SessionPlan], problems: Mapping[str, MbsegError], bids_dir: Path
) -> str:
    """Return, as text, what would run for whom and what is missing."""
    by_label = {plan.session.label: plan for plan in plans}
    lines = []
    for session in sessions:
        plan = by_label.get(session.label)
        state = (
            "finished already"
            if plan and plan.done
            else f"would run again: {plan.changed}"
            if plan and plan.changed
            else "would run"
            if plan
            else f"cannot run: {problems[session.label]}"
        )
        lines.append(f"{session.label}: {state}")
        for contrast, image in session.images.items():
            names = ", ".join(path.relative_to(bids_dir).as_posix() for path in image.paths)
            lines.append(f"  {contrast}: {names} ({image.reason})")
        if plan is not None:
            lines += [f"  {contrast}: none" for contrast in session.missing]
        if session.phase is not None:
            names = ", ".join(path.relative_to(bids_dir).as_posix() for path in session.phase.paths)
            lines.append(f"  phase: {names} (beside the T2starw)")
        for role, path in plan.reused.items() if plan else ():
            lines.append(f"  {role}: {path} (reused)")
        lines += [f"  warning: {warning}" for warning in (plan.facts["warnings"] if plan else session.warnings)]
    return "\n".join(lines)


def _plan(session: Session, request: Request, software: Mapping[str, str]) -> SessionPlan:
    reused, reuse_warnings = _reused(session, request)
    files = {contrast: image.paths for contrast, image in session.images.items()}
    files |= {role: (path,) for role, path in reused.items()}
    if session.phase is not None:
        files["phase"] = session.phase.paths
    weights = Path(request.settings.detection.weights)
    files["weights"] = (weights if weights.is_file() else WEIGHTS_MANIFEST,)
    if request.settings.detection.second_look:
        files["second look"] = (CANDIDATE_CLASSIFIER,)  # a name within the fingerprint of sessions that are finished
    fingerprint = progress.fingerprint(files, request.settings)
    settings = request.settings.as_dict()
    facts: dict[str, Any] = {
        "participant": session.participant,
        "session": session.session,
        "contrasts": list(session.contrasts),
        "missing_contrasts": list(session.missing),
        "inputs": {contrast: _input_facts(image, request.bids_dir) for contrast, image in session.images.items()},
        "reused": {role: str(path) for role, path in reused.items()},
        "settings": {table: settings[table] for table in progress.RESULT_TABLES},
        "warnings": [*session.warnings, *reuse_warnings],
        "software": dict(software),
    }
    if session.phase is not None:
        facts["phase"] = _phase_facts(session.phase, request.bids_dir)
        facts["software"] = {**software, "scikit-image": _version("scikit-image")}
    done = progress.is_done(request.output_dir, session.label, fingerprint)
    changed = "" if done else progress.what_changed(request.output_dir, session.label, fingerprint, facts)
    return SessionPlan(session, fingerprint, facts, reused, done, changed)


def _reused(session: Session, request: Request) -> tuple[dict[str, Path], list[str]]:
    """Return the results to reuse, and what cannot be used of them where the session has no T1w."""
    t1w = session.images.get("T1w")
    of_session = session.session
    if t1w is not None:  # it may be of another session than the T2*
        folder = t1w.path.parent.parent.name
        of_session = folder.removeprefix("ses-") if folder.startswith("ses-") else None
    found = reuse.find_reusable(session.participant, of_session, request.derivatives, request.fs_subjects_dir)
    return (found, []) if t1w is not None else reuse.without_t1w(found)


def _phase_facts(phase: PhaseFiles, bids_dir: Path) -> dict[str, Any]:
    return {
        "paths": [path.relative_to(bids_dir).as_posix() for path in phase.paths],
        "echo_times": [echo.echo_time for echo in phase.echoes],
        "field_strength": phase.field_strength,
    }


def _input_facts(image: Any, bids_dir: Path) -> dict[str, Any]:
    paths = [path.relative_to(bids_dir).as_posix() for path in image.paths]
    facts = {"path": paths[0], "reason": image.reason, "shape": list(image.header.shape)}
    if len(paths) > 1:
        facts["paths"] = paths
    facts["metadata"] = acquisition(image.paths[0], bids_dir, ACQUISITION)
    return facts | {"spacing": [round(size, 4) for size in image.header.spacing]}
