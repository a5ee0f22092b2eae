"""``mbseg visits``: microbleeds of several visits compared, from a finished output folder."""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("output_dir", type=Path, metavar="OUTPUT_DIR", help="output folder of mbseg-bids")
    parser.add_argument(
        "--participant-label", nargs="+", default=[], metavar="LABEL", help="only these participants (default: all)"
    )
    parser.add_argument(
        "--against",
        choices=("previous", "first"),
        default="previous",
        help="earlier visit that each one is compared with (default: previous)",
    )
    parser.add_argument(
        "--anti-amyloid",
        nargs="+",
        default=[],
        metavar="LABEL",
        help="participants under anti-amyloid therapy: their new microbleeds get an ARIA-H class",
    )


def run(args: argparse.Namespace) -> int:
    """Compare, say what was written and what could not be compared."""
    from mbseg_bids.errors import NothingSelectedError, UsageError
    from mbseg_bids.group.visits import build_visits

    if not args.output_dir.is_dir():
        raise UsageError(f"{args.output_dir} is not a folder", "give the output folder of mbseg-bids")
    wanted, treated = (
        [label.removeprefix("sub-") for label in labels] for labels in (args.participant_label, args.anti_amyloid)
    )
    result = build_visits(args.output_dir, wanted, against=args.against, anti_amyloid=treated)
    for problem in result.problems:
        print(problem, file=sys.stderr)
    if not result.pages:
        raise NothingSelectedError("no participant with two sessions", "check OUTPUT_DIR and --participant-label")
    print(f"{result.n_compared} pairs of visits compared: {result.visits}, {result.changes}")
    for page in result.pages:
        print(page)
    return 0
