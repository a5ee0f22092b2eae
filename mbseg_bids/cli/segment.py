"""``mbseg segment``: the microbleeds of one scan, given as plain NIfTI files."""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mbseg_bids.cli.parser import Request, add_method, add_resources, settings_of
from mbseg_bids.errors import MbsegError

if TYPE_CHECKING:
    from mbseg_bids.bids.inputs import Session
    from mbseg_bids.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options: those of ``mbseg-bids`` that do not speak of a dataset."""
    add = parser.add_argument
    add("t2star", type=Path, metavar="T2STAR", help="T2*-weighted image, NIfTI: T2* GRE or SWI magnitude")
    add("--t2w", type=Path, metavar="FILE", help="T2w image of the same session")
    add("--t1w", type=Path, metavar="FILE", help="T1w image of the same person")
    add("-o", "--out", type=Path, required=True, metavar="DIR", help="where the results go, named after T2STAR")
    add(
        "-w",
        "--work-dir",
        type=Path,
        metavar="DIR",
        help="keep intermediate results here, so that a stopped run can continue (default: a temporary folder)",
    )
    add("-v", "--verbose", action="count", default=0, help="say more; twice: what each step logs")
    add_method(parser.add_argument_group("method"))
    add_resources(parser.add_argument_group("resources"))


def run(args: argparse.Namespace) -> int:
    """Segment; say how many microbleeds were found, and where the report is."""
    from mbseg_bids.cli.environment import quiet_libraries
    from mbseg_bids.cli.terminal import log_to_terminal

    settings = settings_of(args)
    quiet_libraries()
    log_to_terminal(args.verbose)
    with _work_folder(args.work_dir) as work:
        print(f"mbseg segment finished: {_segment(args, settings, work)}", file=sys.stderr, flush=True)
    return 0


def _segment(args: argparse.Namespace, settings: "Settings", work: Path) -> str:
    """Run the participant level on one session made of plain files; return what was done, in words."""
    from mbseg_bids.bids import plain
    from mbseg_bids.bids.inputs import check_sessions
    from mbseg_bids.bids.validation import check_writable
    from mbseg_bids.cli.environment import prepare_folders
    from mbseg_bids.cli.participant import run_plans
    from mbseg_bids.cli.planning import plan_sessions
    from mbseg_bids.cli.preflight import check_model
    from mbseg_bids.cli.runlog import RunLog

    paths = {name: path.absolute() for name in ("t2star", "t2w", "t1w") if (path := getattr(args, name))}
    session = plain.plain_session(**paths)
    work = work / session.participant  # several scans may share a work folder
    request = Request(
        bids_dir=paths["t2star"].parent,
        output_dir=work / "derivatives",
        level="participant",
        work_dir=work,
        settings=settings,
        plugin_file=args.nipype_plugin_file,
        plain=True,
    )
    plain.require_same_scan(args.out, paths["t2star"])
    check_writable(args.out, "output folder")
    check_writable(request.work_dir, "work folder")
    check_model(request.settings)
    prepare_folders(request.work_dir)
    plans, problems = plan_sessions(check_sessions([session]), request)
    for problem in problems.values():
        raise problem
    try:
        with RunLog(request) as log:
            run_plans(request, plans, problems, log)
    except MbsegError:
        plain.give_out(request.output_dir, session, args.out)
        raise
    plain.give_out(request.output_dir, session, args.out)
    return _told(args.out, session)


def _told(out: Path, session: "Session") -> str:
    import json

    from mbseg_bids.bids.plain import REPORT, SUMMARY
    from mbseg_bids.cli.outcome import microbleeds_of, warnings_of

    summary = json.loads((out / f"{session.title}{SUMMARY}").read_text(encoding="utf-8"))
    number, n_warnings = microbleeds_of(summary), warnings_of(summary)
    found = f"{number} microbleed{'' if number == '1' else 's'}"
    said = f", {n_warnings} warning{'' if n_warnings == 1 else 's'}" if n_warnings else ""
    return f"{found}{said}; report: {out / f'{session.title}{REPORT}'}"


@contextlib.contextmanager
def _work_folder(given: Path | None) -> Iterator[Path]:
    """Yield the user's work folder, or one that is gone afterwards."""
    if given is not None:
        yield given.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="mbseg-") as folder:
        yield Path(folder)
