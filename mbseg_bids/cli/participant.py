"""The participant level: plan, check, run, report, summarise."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbseg_bids import __version__
from mbseg_bids.bids import inputs, progress, reuse, validation
from mbseg_bids.bids.boilerplate import write_boilerplate
from mbseg_bids.bids.failures import has_failure, remove_failure, write_failure
from mbseg_bids.bids.files import remove_leftovers
from mbseg_bids.bids.lock import SessionLock, is_held, output_mark, remove_stale, work_mark
from mbseg_bids.bids.outputs import remove_session_files, write_dataset_files
from mbseg_bids.cli.environment import prepare_folders, scratch_folders
from mbseg_bids.cli.outcome import Outcome, ending, microbleeds_of, warnings_of
from mbseg_bids.cli.parser import Request
from mbseg_bids.cli.planning import SessionPlan, describe, plan_sessions
from mbseg_bids.cli.preflight import check_model
from mbseg_bids.cli.runlog import RunLog
from mbseg_bids.cli.terminal import live_lines
from mbseg_bids.errors import CannotWriteError, MbsegError, NothingSelectedError, ParticipantFailedError, TemporaryError
from mbseg_bids.imaging.template import DEFAULT_TEMPLATE
from mbseg_bids.wording import counted

if TYPE_CHECKING:
    from mbseg_bids.workflows.execution import NodeFailure

LOGGER = logging.getLogger("mbseg")
WORK_FOLDERS = ("mbseg-bids-*", "crash", "templateflow", "matplotlib")
"""What this app makes in the work folder, and ``--clean-workdir`` removes; nothing else there is touched."""


def run_participant(request: Request) -> str:
    """Run the participant level; return what was done, in words.

    Raises
    ------
    MbsegError
        If nothing could run (with the exit code of the reason), or some session failed (1).
    """
    if request.reports_only:
        return _reports_only(request)
    description = _check_folders(request)
    if not request.boilerplate_only:
        check_model(request.settings)
    if not request.dry_run and not request.boilerplate_only:
        if request.settings.execution.clean_workdir:
            clean_work(request.work_dir)
        prepare_folders(request.work_dir)
    found = inputs.find_sessions(
        request.bids_dir,
        participants=request.participants,
        sessions=request.sessions,
        filters=inputs.read_filters(request.filter_file),
        settings=request.settings.inputs,
        database_dir=request.database_dir,
    )
    LOGGER.info("checking the images of %s", counted(len(found), "session"))
    sessions = inputs.check_sessions(found, request.dataset, n_threads=request.settings.execution.n_procs)
    plans, problems = plan_sessions(sessions, request)
    if request.dry_run:
        print(describe(sessions, plans, problems, request.dataset))
        return _would_end(plans, problems)
    for label, error in problems.items():
        LOGGER.error("%s cannot run: %s", label, error)
    if not plans:
        return ending(Outcome(failed=problems), "")
    write_dataset_files(request.output_dir, request.bids_dir, description)
    with RunLog(request) as log:
        return run_plans(request, plans, problems, log)


def _would_end(plans: Sequence[SessionPlan], problems: Mapping[str, MbsegError]) -> str:
    """Return the closing words of a dry run; raise what a run would end with."""
    outcome = Outcome(failed=dict(problems))
    outcome.done = [plan.session.label for plan in plans if not plan.done]
    outcome.finished_before = sum(plan.done for plan in plans)
    outcome.incomplete = {plan.session.label for plan in plans if plan.session.missing}
    return ending(outcome, "would run")


def _check_folders(request: Request) -> dict[str, Any]:
    """Check everything about folders that can be checked at once; return the input's description."""
    reuse.check_reuse_folders(request.derivatives, request.fs_subjects_dir)
    try:
        description = validation.read_description(request.bids_dir)
    except MbsegError:
        if not request.skip_validation or not request.bids_dir.is_dir():
            raise
        description = {}
    validation.check_distinct(request.output_dir, request.bids_dir)
    validation.check_outside(request.output_dir, request.bids_dir, "output folder")
    validation.check_outside(request.work_dir, request.bids_dir, "work folder")
    if not request.dry_run:
        validation.check_writable(request.output_dir, "output folder")
        if not request.boilerplate_only:
            validation.check_writable(request.work_dir, "work folder")
    return description


def run_plans(request: Request, plans: Sequence[SessionPlan], problems: Mapping[str, MbsegError], log: RunLog) -> str:
    """Compute what is not done yet, then the reports; one session that fails stops no other.

    Parameters
    ----------
    request
        Folders and settings; what it says about the choice of sessions is not looked at.
    plans, problems
        Of :func:`mbseg_bids.cli.planning.plan_sessions`.
    log
        Of this run.

    Returns
    -------
    What was done, in words.

    Raises
    ------
    MbsegError
        If any session failed, see :func:`mbseg_bids.cli.outcome.ending`.
    """
    outcome = Outcome(failed=dict(problems))
    outcome.incomplete = {plan.session.label for plan in plans if plan.session.missing}
    if request.boilerplate_only:
        with scratch_folders():
            write_boilerplate(request.output_dir, [_with_methods(request, plan) for plan in plans])
        return f"the methods text is in {request.output_dir / 'logs' / 'CITATION.md'}"
    _remove_leftovers(request.output_dir)
    for label, error in problems.items():
        write_failure(request.output_dir, label, error, log.folders)
    try:
        _compute(request, plans, log, outcome)
        good = {plan.session.participant for plan in plans if plan.session.label not in outcome.failed}
        if good:
            write_boilerplate(request.output_dir)
        for participant in sorted({plan.session.participant for plan in plans} - good):
            (request.output_dir / f"sub-{participant}.html").unlink(missing_ok=True)  # of results that are gone
        told = {label.split("_")[0][4:] for label in outcome.failed if has_failure(request.output_dir, label)}
        outcome.failed |= make_reports(request.output_dir, sorted(good | told))
    except KeyboardInterrupt:
        ended = {*outcome.done, *outcome.skipped, *outcome.failed}
        outcome.stopped = [plan.session.label for plan in plans if plan.session.label not in ended]
        _say_how_it_ended(request, plans, outcome, log)
        raise
    _say_how_it_ended(request, plans, outcome, log)
    return ending(outcome)


def _with_methods(request: Request, plan: SessionPlan) -> dict[str, Any]:
    """Return the facts of a session that is not run, with the methods text that its run would have."""
    from mbseg_bids.workflows.base import init_session_wf, paragraphs

    workflow = init_session_wf(
        plan=plan, bids_dir=request.dataset, output_dir=request.output_dir, settings=request.settings, hide={}
    )
    return {**plan.facts, "methods": paragraphs(workflow)}


def _say_how_it_ended(request: Request, plans: Sequence[SessionPlan], outcome: Outcome, log: RunLog) -> None:
    """Write the table of sessions to ``logs/`` and print it."""
    for plan in plans:
        label = plan.session.label
        outcome.warnings[label] = len(plan.facts["warnings"])
        if label in (*outcome.done, *outcome.skipped):
            summary = progress.read_summary(request.output_dir, label)
            outcome.warnings[label] = warnings_of(summary)
            outcome.microbleeds[label] = microbleeds_of(summary)
        report = request.output_dir / f"sub-{plan.session.participant}.html"
        if report.is_file():
            outcome.reports[label] = str(report)
    log.write_sessions(outcome.rows())
    for label, error in outcome.failed.items():
        LOGGER.error("%s failed (exit code %d): %s", label, error.exit_code, error)
    _remove_leftovers(request.output_dir)
    if not request.plain:  # the user never sees this folder
        print(outcome.table(), flush=True)


def _remove_leftovers(output_dir: Path) -> None:
    for folder in (output_dir, output_dir / "logs"):
        remove_leftovers(folder)


def _compute(request: Request, plans: Sequence[SessionPlan], log: RunLog, outcome: Outcome) -> None:
    """Compute the sessions that are not done; note in ``outcome`` how each ended."""
    locks: dict[str, SessionLock] = {}
    todo = []
    try:
        for plan in plans:
            label = plan.session.label
            marks = (output_mark(request.output_dir, label), work_mark(request.work_dir, label))
            if plan.done:
                outcome.skipped.append(label)
                remove_failure(request.output_dir, label)
                remove_stale(label, marks)
                continue
            try:
                locks[label] = SessionLock(label, marks)
            except MbsegError as error:
                outcome.failed[label] = error
                continue
            if progress.is_done(request.output_dir, label, plan.fingerprint):  # by another run, since it was planned
                outcome.skipped.append(label)
                locks.pop(label).release(finished=True)
                continue
            todo.append(plan)
        if todo:
            _run_workflow(request, todo, log, outcome)
    finally:
        for plan in todo:
            label = plan.session.label
            if label in outcome.failed:
                _remove_session(request.output_dir, plan)
            locks.pop(label).release(finished=label in (*outcome.failed, *outcome.done))
        for lock in locks.values():
            lock.release(finished=False)


def _run_workflow(request: Request, plans: Sequence[SessionPlan], log: RunLog, outcome: Outcome) -> None:
    """Run the workflow of the sessions; note how each ended."""
    from mbseg_bids.workflows.account import steps_of
    from mbseg_bids.workflows.base import init_mbseg_wf, session_workflow_name
    from mbseg_bids.workflows.execution import configure_nipype, run_workflow

    crash_dir = request.work_dir / "crash" / log.stem
    configure_nipype(request.settings.execution, crash_dir)
    for plan in plans:
        if plan.changed:
            LOGGER.info("%s is computed again: %s", plan.session.label, plan.changed)
        progress.remove_done(request.output_dir, plan.session.label)
        remove_failure(request.output_dir, plan.session.label)
        _remove_session(request.output_dir, plan)
        for contrast, image in plan.session.images.items():
            LOGGER.debug("%s %s: %s (%s)", plan.session.label, contrast, image.path.name, image.reason)
        for warning in plan.facts["warnings"]:
            LOGGER.warning("%s: %s", plan.session.label, warning)
    workflow = init_mbseg_wf(
        plans=plans,
        bids_dir=request.dataset,
        output_dir=request.output_dir,
        work_dir=request.work_dir / f"mbseg-bids-{__version__}",  # another version must not take over its results
        settings=request.settings,
        hide=log.folders,
    )
    if request.settings.execution.write_graph:
        write_graph(workflow, request.output_dir / "logs" / f"{log.stem}_workflow")
    LOGGER.info("computing %s", counted(len(plans), "session"))
    by_workflow = {session_workflow_name(plan.session): plan.session.label for plan in plans}
    seconds: dict[str, float] = {}
    failed: dict[str, MbsegError] = {}
    failures: Sequence[NodeFailure] = ()
    try:
        with live_lines(lambda: steps_of(workflow)) as watch:
            failures = run_workflow(
                workflow, request.settings.execution, crash_dir, request.plugin_file, seconds, watch
            )
    except MbsegError as error:  # it could not go on at all: the disk of the work folder is full, say
        failed = {plan.session.label: error for plan in plans}
    finally:
        outcome.seconds |= {label: seconds[name] for name, label in by_workflow.items() if name in seconds}
        finished = [p for p in plans if progress.is_done(request.output_dir, p.session.label, p.fingerprint)]
        outcome.done += [plan.session.label for plan in finished]
    failed = {label: error for label, error in failed.items() if label not in outcome.done}
    unfinished: MbsegError = ParticipantFailedError("not finished", "start the same command again")
    for failure in failures:
        label = next((by_workflow[part] for part in failure.node.split(".") if part in by_workflow), None)
        if label is None:
            unfinished = failure.error
        elif label not in failed:
            _tell_why(request.output_dir, label, failure, log)
            failed[label] = type(failure.error)(f"{label}: {failure.error.what}", failure.error.remedy)
        LOGGER.debug("%s: step %s failed; crash file %s", label, failure.node, failure.crash_file)
    for plan in plans:  # where the first crash ends the run, the other sessions are unfinished too
        label = plan.session.label
        if label not in failed and label not in outcome.done:
            failed[label] = type(unfinished)(f"{label}: {unfinished.what}", unfinished.remedy)
    outcome.done = [label for label in outcome.done if label not in failed]
    outcome.failed |= failed


def _tell_why(output_dir: Path, label: str, failure: NodeFailure, log: RunLog) -> None:
    """Write down why a session failed, for its report."""
    try:
        crash = failure.crash_file.read_text(encoding="utf-8", errors="replace")
    except OSError:  # a full disk, say, left none
        crash = ""
    with contextlib.suppress(OSError, CannotWriteError):
        write_failure(output_dir, label, failure.error, log.folders, step=failure.node, crash=crash)


def _remove_session(output_dir: Path, plan: SessionPlan) -> None:
    """Remove the files of a session: those of an earlier run with other settings, or of one that failed halfway."""
    remove_session_files(output_dir, plan.session.participant, plan.session.session, DEFAULT_TEMPLATE)


def make_reports(output_dir: Path, participants: Sequence[str]) -> dict[str, MbsegError]:
    """Make the report of each participant; a report that fails is listed and stops nothing."""
    failed = {}
    for participant in participants:
        try:
            build_individual_report(output_dir, participant)
        except Exception as error:
            LOGGER.debug("report of sub-%s", participant, exc_info=True)
            what = f"the report of sub-{participant} could not be made: {type(error).__name__}: {error}"
            failed[f"report of sub-{participant}"] = MbsegError(what, "results are complete; try --reports-only")
    return failed


def build_individual_report(output_dir: Path, participant: str) -> None:
    """Make ``sub-X.html``; what draws it is imported only now."""
    from mbseg_bids.reports import individual

    individual.build_individual_report(output_dir, participant)


def _reports_only(request: Request) -> str:
    """Make reports again for participants that have finished sessions in the output folder."""
    marks = (request.output_dir / "logs").glob("sub-*_done.json")
    have = {mark.name.split("_")[0].removeprefix("sub-") for mark in marks}
    wanted = sorted(have & set(request.participants) if request.participants else have)
    if not wanted:
        raise NothingSelectedError(
            f"no finished session to report on in {request.output_dir}", "run without --reports-only first"
        )
    validation.check_writable(request.output_dir, "output folder")
    with scratch_folders():
        failed = make_reports(request.output_dir, wanted)
    if failed:
        raise ParticipantFailedError(next(iter(failed.values())).what, "see the log")
    return f"{counted(len(wanted), 'report')} made in {request.output_dir}"


def clean_work(work_dir: Path) -> None:
    """Remove what earlier runs have left in the work folder, and nothing that is not ours.

    Raises
    ------
    TemporaryError
        If another run is at work there.
    """
    for mark in work_dir.glob("sub-*.lock"):
        if is_held(mark):
            raise TemporaryError(
                f"another run computes {mark.stem} in the work folder", "wait for it, or run without --clean-workdir"
            )
    for pattern in WORK_FOLDERS:
        for folder in work_dir.glob(pattern):
            shutil.rmtree(folder, ignore_errors=True)


def write_graph(workflow: Any, stem: Path) -> None:
    """Write the graph as Graphviz text, and as a picture where Graphviz is installed."""
    dot = stem.with_suffix(".dot")
    workflow.write_hierarchical_dotfile(dotfilename=str(dot), colored=False, simple_form=True)
    if shutil.which("dot") is None:
        LOGGER.warning("graphviz is not installed: the graph is written as text only, %s", dot.name)
        return
    import subprocess

    subprocess.run(["dot", "-Tsvg", "-o", str(stem.with_suffix(".svg")), str(dot)], check=False)
