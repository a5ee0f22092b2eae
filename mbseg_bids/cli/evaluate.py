"""``mbseg evaluate``: how well a result agrees with the truth, lesion by lesion."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from mbseg_bids.evaluation.intervals import Bootstrap

ACTIONS = {
    "trees": "lesions of two derivative trees: sensitivity, precision, Dice, false lesions a scan",
}
DEFAULT_ACTION = "trees"
"""What ``mbseg evaluate TRUTH RESULT`` means."""

SHOWN = {
    "region": "region",
    "n_truth": "true",
    "n_detected": "found",
    "n_predicted": "predicted",
    "n_false": "false",
    "sensitivity": "sensitivity",
    "precision": "precision",
    "dice": "Dice",
    "false_per_scan": "false a scan",
}
"""Columns of the pooled scores on screen and in Markdown."""

SCANS = {"participant_id": "participant", "session_id": "session"} | {
    name: heading for name, heading in SHOWN.items() if name not in ("region", "false_per_scan")
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    parser.usage = "mbseg evaluate [-h] [ACTION] ...  (without ACTION: trees)"
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION", prog="mbseg evaluate")
    trees, *_ = (actions.add_parser(name, help=text, description=text) for name, text in ACTIONS.items())
    _add_trees(trees)
    _add_lesion_options(trees)
    trees.add_argument("--markdown", type=Path, metavar="FILE", help="write the pooled scores as Markdown tables too")
    _add_common(trees)


def with_action(arguments: list[str]) -> list[str]:
    """Return the arguments of ``mbseg evaluate ...`` with the action put in where it was left out."""
    place = arguments.index("evaluate") + 1
    first = arguments[place : place + 1]
    if not first or first[0] in (*ACTIONS, "-h", "--help"):
        return arguments
    return [*arguments[:place], DEFAULT_ACTION, *arguments[place:]]


def run(args: argparse.Namespace) -> int:
    """Run the chosen action; return 1 if a scan of the truth has no result, else 0."""
    return {"trees": _trees}[args.action](args)


def _add_trees(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("truth_tree", type=Path, help="derivatives/truth of a simulated dataset, or alike")
    parser.add_argument("result_tree", type=Path, help="output folder of mbseg-bids")


def _add_lesion_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--minimum-diameter",
        type=_not_negative,
        default=2.0,
        metavar="MM",
        help="true lesions of smaller equal-sphere diameter count neither as missed nor, where found, as false "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--minimum-volume",
        type=_not_negative,
        default=0.0,
        metavar="MM3",
        help="the same by volume; where both are given, a lesion must reach both (default: %(default)s)",
    )
    parser.add_argument(
        "--match",
        choices=("overlap", "distance", "both"),
        default="both",
        help="overlap: any common voxel, as in Dadar et al. 2022; distance: centroids, one to one (default: both)",
    )
    parser.add_argument(
        "--maximum-distance",
        type=_positive,
        default=5.0,
        metavar="MM",
        help="between matched centroids (default: %(default)s)",
    )


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, metavar="DIR", help="write tables (and figures) here")
    parser.add_argument(
        "--resamples",
        type=_whole,
        default=2000,
        metavar="N",
        help="bootstrap samples of participants for the intervals; 0: none (default: %(default)s)",
    )
    parser.add_argument("--seed", type=_whole, default=0, help="of the bootstrap (default: %(default)s)")
    parser.add_argument("--level", type=_share, default=0.95, help="coverage of the intervals (default: %(default)s)")


def _trees(args: argparse.Namespace) -> int:
    from mbseg_bids.evaluation.tables import markdown_table
    from mbseg_bids.evaluation.trees import RULES, score_trees

    rules = RULES if args.match == "both" else (args.match,)
    score = score_trees(
        args.truth_tree,
        args.result_tree,
        rules=rules,
        maximum_distance=args.maximum_distance,
        minimum_volume=args.minimum_volume,
        minimum_diameter=args.minimum_diameter,
        progress=_progress("scans"),
    )
    scans, pooled = score.scans(), score.pooled(_bootstrap(args))
    print(_on_screen(scans[(scans["region"] == "all") & (scans["match"] == rules[0])], SCANS))
    for rule in rules:
        everything = {"match": rule, "scans": "all", "spacing": "all", "size": "counted"}
        print(f"\nPooled, lesions matched by {rule}:")
        print(_on_screen(_rows(pooled, everything), SHOWN))
    _report_missing(score.missing)
    settings = _settings(args, "match", "maximum_distance", "minimum_volume", "minimum_diameter")
    _write(args.out, {"scores": pooled, "scans": scans, "lesions": score.lesions}, settings)
    if args.markdown is not None:
        from mbseg_bids.bids.files import write_text

        write_text(args.markdown, _markdown(pooled, rules, markdown_table))
    return 1 if score.missing else 0


def _markdown(pooled: "pd.DataFrame", rules: tuple[str, ...], markdown_table: Callable[..., str]) -> str:
    """Return the pooled scores as Markdown: by region, then all regions by kind of scan, voxel size and lesion size."""
    parts = []
    everything = {"scans": "all", "spacing": "all", "size": "counted", "region": "all"}
    without_region = {name: heading for name, heading in SHOWN.items() if name != "region"}
    voxels = {"voxel_dice": "voxel Dice", "voxel_dice_mean": "voxel Dice, mean over scans"}
    for rule in rules:
        of_rule = pooled[pooled["match"] == rule]

        def by(column: str, values: list[str] | None = None, *, of_rule=of_rule) -> "pd.DataFrame":
            rows = _rows(of_rule, {k: v for k, v in everything.items() if k != column})
            return rows if values is None else rows[rows[column].isin(values)]

        parts += [
            f"Lesions matched by {rule}, by region:\n\n{markdown_table(by('region'), SHOWN)}",
            "By kind of scan:\n\n"
            + markdown_table(by("scans"), {"scans": "scans", "n_scans": "n"} | without_region | voxels),
            f"By size:\n\n{markdown_table(by('size'), {'size': 'lesions'} | without_region)}",
        ]
        sizes = sorted(set(of_rule["spacing"]) - {"all"})
        if sizes:
            columns = {"spacing": "voxel, mm", "n_scans": "scans"} | without_region
            parts.append(f"By voxel size:\n\n{markdown_table(by('spacing', sizes), columns)}")
    return "\n".join(parts)


def _rows(frame: "pd.DataFrame", where: dict[str, str]) -> "pd.DataFrame":
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame


def _on_screen(frame: "pd.DataFrame", columns: dict[str, str]) -> str:
    """Return a table of text columns: scores with their interval in brackets."""
    from mbseg_bids.evaluation.tables import cells

    return cells(frame, columns).to_string(index=False)


def _bootstrap(args: argparse.Namespace) -> "Bootstrap":
    from mbseg_bids.evaluation.intervals import Bootstrap

    return Bootstrap(args.resamples, args.seed, args.level)


def _settings(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    return {name: getattr(args, name) for name in (*names, "resamples", "seed", "level")}


def _report_missing(missing: tuple[tuple[str, str], ...]) -> None:
    for participant, session in missing:
        print(f"no result for {participant} {session}", file=sys.stderr)


def _write(folder: Path | None, tables: "dict[str, pd.DataFrame]", settings: dict[str, Any]) -> None:
    """Write every table as TSV with the description of its columns beside it."""
    if folder is None:
        return
    from mbseg_bids.bids.files import write_text
    from mbseg_bids.evaluation.tables import sidecar, to_tsv

    for name, table in tables.items():
        write_text(folder / f"{name}.tsv", to_tsv(table))
        write_text(folder / f"{name}.json", sidecar(table, **settings))


def _progress(what: str) -> Callable[[int, int], None] | None:
    """Return a callback that counts on a terminal's error output; None where nobody watches."""
    if not sys.stderr.isatty():
        return None

    def show(done: int, total: int) -> None:
        print(f"\r{done} of {total} {what}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    return show


def _number(kind: type, allowed: Callable[[float], bool], text: str) -> Callable[[str], Any]:
    def parse(value: str) -> Any:
        try:
            number = kind(value)
        except ValueError:
            number = None
        if number is None or not allowed(number):
            raise argparse.ArgumentTypeError(f"{value!r} is not {text}")
        return number

    return parse


_not_negative = _number(float, lambda x: 0 <= x < float("inf"), "a number from 0 up")
_positive = _number(float, lambda x: 0 < x < float("inf"), "a number above 0")
_whole = _number(int, lambda x: x >= 0, "a whole number from 0 up")
_share = _number(float, lambda x: 0 < x < 1, "a number between 0 and 1")
