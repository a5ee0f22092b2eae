"""The participant level: plan, check, run, report, summarise."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mbseg_bids import __version__
from mbseg_bids.bids import inputs, progress, reuse, validation
from mbseg_bids.bids.boilerplate import write_boilerplate
from mbseg_bids.bids.outputs import write_dataset_files
from mbseg_bids.cli.environment import prepare_folders
from mbseg_bids.cli.parser import Request
from mbseg_bids.cli.planning import SessionPlan, describe, plan_sessions
from mbseg_bids.cli.runlog import RunLog
from mbseg_bids.errors import MbsegError, NothingSelectedError, ParticipantFailedError

LOGGER = logging.getLogger("mbseg")
WORK_FOLDERS = ("mbseg-bids-*", "crash", "templateflow", "matplotlib")
"""What this app makes in the work folder, and ``--clean-workdir`` removes; nothing else there is touched."""


@dataclass
class Outcome:
    """How each session ended, by label."""

    done: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """Finished by an earlier run."""
    failed: dict[str, MbsegError] = field(default_factory=dict)
    incomplete: set[str] = field(default_factory=set)
    """Sessions without T1w or T2w, however they ended."""

    def rows(self) -> list[tuple[str, str, int, str]]:
        """Return label, outcome, exit code and reason of each session."""
        rows = [(label, "done", 0, "") for label in self.done]
        rows += [(label, "finished before", 0, "") for label in self.skipped]
        rows += [(label, "failed", error.exit_code, str(error)) for label, error in self.failed.items()]
        return sorted(rows)


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
    if not request.dry_run:
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
    LOGGER.info("checking the images of %s", _count(len(found)))
    sessions = inputs.check_sessions(found, n_threads=request.settings.execution.n_procs)
    plans = plan_sessions(sessions, request)
    problems = {session.label: session.problem for session in sessions if session.problem is not None}
    if request.dry_run:
        print(describe(sessions, plans, request.bids_dir))
        incomplete = {plan.session.label for plan in plans if plan.session.missing}
        outcome = Outcome(done=[plan.session.label for plan in plans], failed=problems, incomplete=incomplete)
        return ending(outcome, "would run")
    for label, error in problems.items():
        LOGGER.error("%s cannot run: %s", label, error)
    if not plans:
        return ending(Outcome(failed=problems), "")
    write_dataset_files(request.output_dir, request.bids_dir, description)
    with RunLog(request) as log:
        return _run(request, plans, problems, log)


def ending(outcome: Outcome, verb: str = "done") -> str:
    """Return the closing words of a run, or raise what it ends with.

    If no session is done, the run ends with the error of the sessions where they share one kind, else as a general
    failure. If some are done, it is a failure of participants (exit code 1).
    """
    n_good = len(outcome.done) + len(outcome.skipped)
    earlier = f", {len(outcome.skipped)} of them by an earlier run" if outcome.skipped else ""
    n_incomplete = len(outcome.incomplete & {*outcome.done, *outcome.skipped})
    earlier += f", {n_incomplete} of them without T1w or T2w" if n_incomplete else ""
    if not outcome.failed:
        return f"{_count(n_good)} {verb}{earlier}"
    first = next(iter(outcome.failed.values()))
    others = len(outcome.failed) - 1
    if n_good == 0 and len({type(error) for error in outcome.failed.values()}) == 1:
        what = first.what if others == 0 else f"{first.what}; and {others} more of the kind"
        raise type(first)(what, first.remedy)
    raise ParticipantFailedError(
        f"{_count(len(outcome.failed))} failed, {n_good} {verb}{earlier}; first failure: {first.what}",
        f"{first.remedy}; all are listed above",
    )


def _count(number: int) -> str:
    return f"{number} session" if number == 1 else f"{number} sessions"


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
    if not request.dry_run:
        validation.check_writable(request.output_dir, "output folder")
        validation.check_writable(request.work_dir, "work folder")
    return description


def _run(request: Request, plans: Sequence[SessionPlan], problems: Mapping[str, MbsegError], log: RunLog) -> str:
    """Compute what is not done yet, then the reports; one session that fails stops no other."""
    outcome = Outcome(failed=dict(problems))
    todo = [plan for plan in plans if not plan.done]
    outcome.skipped = [plan.session.label for plan in plans if plan.done]
    if todo and not request.boilerplate_only:
        outcome.failed |= _compute(request, todo, log)
    outcome.done = [plan.session.label for plan in todo if plan.session.label not in outcome.failed]
    write_boilerplate(request.output_dir, [plan.facts for plan in plans])
    if request.boilerplate_only:
        return f"the methods text is in {request.output_dir / 'logs' / 'CITATION.md'}"
    good = {plan.session.participant for plan in plans if plan.session.label not in outcome.failed}
    outcome.failed |= make_reports(request.output_dir, sorted(good))
    outcome.incomplete = {plan.session.label for plan in plans if plan.session.missing}
    log.write_sessions(outcome.rows())
    for label, error in outcome.failed.items():
        LOGGER.error("%s failed (exit code %d): %s", label, error.exit_code, error)
    return ending(outcome)


def _compute(request: Request, plans: Sequence[SessionPlan], log: RunLog) -> dict[str, MbsegError]:
    """Run the workflow of the sessions; return the failures by session."""
    from mbseg_bids.workflows.base import WORKFLOW_NAME, init_mbseg_wf, session_workflow_name
    from mbseg_bids.workflows.execution import configure_nipype, run_workflow

    crash_dir = request.work_dir / "crash" / log.stem
    configure_nipype(request.settings.execution, crash_dir)
    for plan in plans:
        progress.remove_done(request.output_dir, plan.session.label)
        for contrast, image in plan.session.images.items():
            LOGGER.debug("%s %s: %s (%s)", plan.session.label, contrast, image.path.name, image.reason)
        for warning in plan.facts["warnings"]:
            LOGGER.warning("%s: %s", plan.session.label, warning)
    workflow = init_mbseg_wf(
        plans=plans,
        bids_dir=request.bids_dir,
        output_dir=request.output_dir,
        work_dir=request.work_dir / f"mbseg-bids-{__version__}",  # another version must not take over its results
        settings=request.settings,
        hide=log.folders,
    )
    if request.settings.execution.write_graph:
        write_graph(workflow, request.output_dir / "logs" / f"{log.stem}_workflow")
    LOGGER.info("computing %s", _count(len(plans)))
    failures = run_workflow(workflow, request.settings.execution, crash_dir, request.plugin_file)
    by_workflow = {session_workflow_name(plan.session): plan.session.label for plan in plans}
    failed: dict[str, MbsegError] = {}
    for failure in failures:
        parts = failure.node.split(".")
        label = next((by_workflow[part] for part in parts if part in by_workflow), WORKFLOW_NAME)
        failed.setdefault(label, type(failure.error)(f"{label}: {failure.error.what}", failure.error.remedy))
        LOGGER.debug("%s: step %s failed; crash file %s", label, failure.node, failure.crash_file)
    for plan in plans:  # where the first crash ends the run, the other sessions are unfinished too
        label = plan.session.label
        if label not in failed and not progress.is_done(request.output_dir, label, plan.fingerprint):
            failed[label] = ParticipantFailedError(f"{label} was not finished", "start the same command again")
    return failed


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
    prepare_folders(request.work_dir)
    failed = make_reports(request.output_dir, wanted)
    if failed:
        raise ParticipantFailedError(next(iter(failed.values())).what, "see the log")
    return f"{len(wanted)} reports made in {request.output_dir}"


def clean_work(work_dir: Path) -> None:
    """Remove what earlier runs have left in the work folder, and nothing that is not ours."""
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
