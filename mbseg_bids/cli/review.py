"""``mbseg review``: a reader's decisions applied to a finished output folder, and two readers compared."""

import argparse
import sys
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser("page", help="write a page with a viewer, to add microbleeds by a click")
    add.add_argument("output_dir", type=Path, metavar="OUTPUT_DIR", help="output folder of mbseg-bids")
    add.add_argument(
        "--participant-label", nargs="+", default=[], metavar="LABEL", help="only these participants (default: all)"
    )
    add = actions.add_parser("apply", help="rebuild masks, tables, counts and report as a reader decided")
    add.add_argument("output_dir", type=Path, metavar="OUTPUT_DIR", help="output folder of mbseg-bids")
    add.add_argument("review", type=Path, metavar="REVIEW.tsv", help="review exported from the report")
    add.add_argument("--reader", default="", metavar="NAME", help="name of the reader (default: the one in the review)")
    add = actions.add_parser("agreement", help="compare the decisions of two readers: kappa, lesion by lesion")
    for number in ("FIRST.tsv", "SECOND.tsv"):
        add.add_argument(number.split(".")[0].lower(), type=Path, metavar=number, help="review of a reader")
    add.add_argument("--out", type=Path, metavar="DIR", help="folder for the tables (default: print only)")


def run(args: argparse.Namespace) -> int:
    """Run the action."""
    return {"page": _page, "apply": _apply, "agreement": _agreement}[args.action](args)


def _page(args: argparse.Namespace) -> int:
    from mbseg_bids.cli.environment import scratch_folders

    _check_folder(args.output_dir)
    with scratch_folders():
        from mbseg_bids.review.page import write_review_pages

        made = write_review_pages(args.output_dir, args.participant_label)
    for problem in made.problems:
        print(problem, file=sys.stderr)
    for page in made.pages:
        print(page)
    return 0


def _check_folder(path: Path) -> None:
    from mbseg_bids.errors import UsageError

    if not path.is_dir():
        raise UsageError(f"{path} is not a folder", "give the output folder of mbseg-bids")


def _apply(args: argparse.Namespace) -> int:
    from mbseg_bids.cli.environment import scratch_folders
    from mbseg_bids.errors import UsageError
    from mbseg_bids.review.apply import apply_review

    _check_folder(args.output_dir)
    if any(character in args.reader for character in "\t\r\n"):
        raise UsageError("--reader must be one line without tabs", "give a name")
    with scratch_folders():
        from mbseg_bids.reports.individual import build_individual_report

        applied = apply_review(args.output_dir, args.review, reader=args.reader)
        for one in applied:
            print(f"{one.key.prefix}: {one.n_reviewed} microbleeds after review, {one.n_automatic} before")
            for note in one.notes:
                print(f"{one.key.prefix}: {note}", file=sys.stderr)
        for participant in sorted({one.key.participant for one in applied}):
            build_individual_report(args.output_dir, participant)
            print(args.output_dir / f"sub-{participant}_reviewed.html")
    return 0


def _agreement(args: argparse.Namespace) -> int:
    from mbseg_bids.bids.reviewed import review_columns
    from mbseg_bids.review.agreement import compare_reviews
    from mbseg_bids.review.table import read_review

    first, second = read_review(args.first), read_review(args.second)
    found = compare_reviews(first, second)
    for key in found.left_out:
        print(f"{key.prefix} is left out: only one of the readers reviewed it", file=sys.stderr)
    whole = found.rows[0]
    print(f"{first.reader} and {second.reader}: {whole['n_agreed']} of {whole['n_items']} decisions agree")
    print(
        f"kappa {_shown(whole['kappa'])} ({_shown(whole['kappa_low'])} to {_shown(whole['kappa_high'])}), "
        f"without unsure {_shown(whole['kappa_sure'])}; positive agreement {_shown(whole['positive_agreement'])}"
    )
    if args.out:
        for name, rows in (("agreement", found.rows), ("disagreements", found.disagreements)):
            print(_write(args.out / f"review_{name}.tsv", rows, review_columns(name)))
    else:
        for row in found.disagreements:
            name = "_".join(str(row[part]) for part in ("participant_id", "session_id") if row[part])
            print(f"{name} {row['item']}: {row['first'] or 'nothing'}, {row['second'] or 'nothing'}")
    return 0


def _shown(value: float) -> str:
    return "n/a" if value != value else f"{value:.2f}"


def _write(path: Path, rows: Any, columns: dict[str, dict[str, Any]]) -> Path:
    """Write a table with its sidecar; return its path."""
    from mbseg_bids.bids.files import write_json, write_text

    lines = ["\t".join(columns), *("\t".join(_cell(row[name]) for name in columns) for row in rows)]
    write_json(path.with_suffix(".json"), columns)
    return write_text(path, "".join(f"{line}\n" for line in lines))


def _cell(value: Any) -> str:
    if value is None or value != value:
        return "n/a"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
