"""``mbseg plant``: simulated microbleeds in a user's own scans: which sizes and regions are found, and what else."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbseg_bids.cli.arguments import add_old_name
from mbseg_bids.cli.numbers import fraction, positive, positive_float, whole
from mbseg_bids.cli.resources import add_device
from mbseg_bids.errors import MbsegError, NothingSelectedError

if TYPE_CHECKING:
    from mbseg_bids.planting.session import SessionResult
    from mbseg_bids.reports.session_files import SessionFiles


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("output_dir", type=Path, help="output folder of mbseg-bids with finished sessions")
    for name, metavar in (("participant-label", "sub-"), ("session-label", "ses-")):
        parser.add_argument(
            f"--{name}", nargs="+", default=[], metavar="LABEL", help=f"only these, with or without {metavar}"
        )
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", help="results (default: OUTPUT_DIR/planted)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table of scans as Markdown too")
    _add_planting(parser.add_argument_group("what is planted"))
    _add_detection(parser.add_argument_group("detection (default: as in the run)"))


def _add_planting(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--lesions", type=positive, default=30, metavar="N", help="microbleeds each time (default: %(default)s)"
    )
    group.add_argument(
        "--repetitions",
        type=positive,
        default=3,
        metavar="N",
        help="how often each scan is planted (default: %(default)s)",
    )
    group.add_argument(
        "--sizes",
        choices=("even", "cohort"),
        default="even",
        help="even: observed diameters spread over 1.5 to 8 mm; cohort: as in the simulated cohort, most of them small "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--near-vessels",
        type=fraction,
        metavar="SHARE",
        help="share of them that is put 3 to 6 mm from a vessel (default: wherever they fall)",
    )
    group.add_argument("--seed", type=whole, default=0, help="of everything random (default: %(default)s)")
    group.add_argument(
        "--echo-time",
        type=positive_float,
        metavar="MS",
        help="of the T2* scans (default: from their sidecars, else 25 ms)",
    )
    group.add_argument(
        "--field-strength", type=positive_float, metavar="T", help="tesla (default: from their sidecars, else 3 T)"
    )


def _add_detection(group: argparse._ActionsContainer) -> None:
    group.add_argument("--weights", metavar="NAME_OR_FILE", help="of the network")
    lesion = group.add_argument(
        "--lesion-threshold",
        dest="second_look_threshold",
        type=fraction,
        metavar="P",
        help="smallest probability of a lesion by the candidate classifier",
    )
    add_old_name(group, "--second-look-threshold", lesion)
    reduction = group.add_argument(
        "--no-false-positive-reduction",
        dest="no_second_look",
        action="store_true",
        help="leave out the candidate classifier",
    )
    add_old_name(group, "--no-second-look", reduction)
    add_device(group)
    group.add_argument("--batch-size", type=positive, default=64, metavar="N", help="patches a batch")
    group.add_argument(
        "--n-workers", type=positive, default=1, metavar="N", help="CPU threads; the results do not depend on it"
    )


def run(args: argparse.Namespace) -> int:
    """Plant, detect, count, write; return 1 if a session failed or had no room, else 0."""
    from mbseg_bids.planting.output import check_place, write_results
    from mbseg_bids.planting.scan import finished_sessions
    from mbseg_bids.reports.planted import FOLDER, PAGE

    out = args.out or args.output_dir / FOLDER
    sessions = finished_sessions(args.output_dir, args.participant_label, args.session_label)
    check_place(out, args.output_dir)
    results, problems = _plant_all(args, sessions)
    table = write_results(out, args.output_dir, results, settings=_told(args), problems=problems)
    if args.markdown:
        from mbseg_bids.bids.files import write_text

        write_text(args.markdown, table)
    print(f"{table}\n{out / PAGE}")
    return 1 if problems else 0


def _plant_all(args: argparse.Namespace, sessions: "list[SessionFiles]") -> "tuple[list[SessionResult], list[str]]":
    """Return the results, and a sentence on each session without one."""
    results, problems = [], []
    error: MbsegError | None = None
    for files in sessions:
        try:
            result = _plant_one(args, files)
        except MbsegError as failure:
            error = failure
            problems.append(f"{files.key.prefix}: {failure}")
        else:
            if result.planted:
                results.append(result)
            else:
                problems.append(f"{result.name}: no room for a microbleed")
        if problems and problems[-1].startswith(f"{files.key.prefix}: "):
            print(problems[-1], file=sys.stderr, flush=True)
    if not results:
        raise error or NothingSelectedError(
            "no session has room for a microbleed", "look at the brain mask and the regions in the reports"
        )
    return results, problems


def _plant_one(args: argparse.Namespace, files: "SessionFiles") -> "SessionResult":
    from mbseg_bids.planting.detect import Detector
    from mbseg_bids.planting.plant import Recipe
    from mbseg_bids.planting.scan import acquisition_of, detection_settings, read_scan
    from mbseg_bids.planting.session import plant_session

    summary = files.summary()
    acquisition = acquisition_of(summary, args.echo_time, args.field_strength)
    if acquisition.assumed:
        _say(f"{files.key.prefix}: the scan does not say, so {' and '.join(acquisition.assumed)} is assumed")
    settings = detection_settings(
        summary,
        weights=args.weights,
        second_look_threshold=args.second_look_threshold,
        second_look=False if args.no_second_look else None,
    )
    detector = Detector.load(settings, device=args.device, n_workers=args.n_workers, batch_size=args.batch_size)
    recipe = Recipe(args.lesions, args.sizes, args.near_vessels)
    options = {"repetitions": args.repetitions, "seed": args.seed, "said": _say}
    return plant_session(read_scan(files), recipe, acquisition, detector, **options)


def _told(args: argparse.Namespace) -> dict[str, Any]:
    """Return what decides the result, for the page and the sidecars; no folder of the machine."""
    names = ("lesions", "repetitions", "sizes", "near_vessels", "seed", "echo_time", "field_strength")
    told = {name: getattr(args, name) for name in (*names, "second_look_threshold", "no_second_look")}
    told["weights"] = Path(args.weights).name if args.weights else None
    return {name: "as in the run or scan" if value is None else value for name, value in told.items()}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
