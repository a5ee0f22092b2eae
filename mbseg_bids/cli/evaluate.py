"""``mbseg evaluate``: how well a result agrees with the truth, patch by patch and lesion by lesion."""

import argparse
import importlib
from pathlib import Path

from mbseg_bids.cli.numbers import amount, inner_fraction, positive, positive_float, whole
from mbseg_bids.cli.resources import add_device

ACTIONS = {
    "trees": "lesions of two derivative trees: sensitivity, precision, Dice, false lesions a scan",
    "worlds": "the same for several sets of scans, the worst first",
    "patches": "labelled patches: accuracy, sensitivity, specificity of a network",
    "sweep": "sensitivity and precision against the thresholds of post-processing (Dadar et al. 2022, Figure 10)",
    "calibration": "whether the probability of the candidate classifier means what it says",
    "agreement": "agreement of two readers or methods, neither of which is the truth",
}
DEFAULT_ACTION = "trees"
"""What ``mbseg evaluate TRUTH RESULT`` means."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    parser.usage = "mbseg evaluate [-h] [ACTION] ...  (without ACTION: trees)"
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION", prog="mbseg evaluate")
    parsers = {name: actions.add_parser(name, help=text, description=text) for name, text in ACTIONS.items()}
    for name, action in parsers.items():
        {
            "trees": _add_trees,
            "worlds": _add_worlds,
            "patches": _add_patches,
            "sweep": _add_sweep,
            "calibration": _add_calibration,
            "agreement": _add_agreement,
        }[name](action)
        _add_common(action)


def with_action(arguments: list[str]) -> list[str]:
    """Return the arguments of ``mbseg evaluate ...`` with the action put in where it was left out."""
    place = arguments.index("evaluate") + 1
    first = arguments[place : place + 1]
    if not first or first[0] in (*ACTIONS, "-h", "--help"):
        return arguments
    return [*arguments[:place], DEFAULT_ACTION, *arguments[place:]]


def run(args: argparse.Namespace) -> int:
    """Run the chosen action; return 1 if a scan of the truth has no result, else 0."""
    return getattr(importlib.import_module("mbseg_bids.cli.evaluate_actions"), args.action)(args)


def _add_trees(parser: argparse.ArgumentParser) -> None:
    _add_truth_and_result(parser)
    _add_lesion_options(parser)
    _add_match(parser, "both")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the pooled scores as Markdown tables too")


def _add_worlds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("worlds", nargs="+", metavar="NAME=TRUTH,RESULT", help="name of a set of scans and its trees")
    _add_lesion_options(parser)
    _add_match(parser, "overlap")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table of worlds as Markdown too")


def _add_patches(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("patches", type=Path, nargs="+", help=".npz patch sets, or folders of them")
    parser.add_argument(
        "--weights", default="default", metavar="NAME_OR_FILE", help="shipped weights or a file (default: %(default)s)"
    )
    parser.add_argument(
        "--threshold",
        type=inner_fraction,
        default=0.5,
        help="smallest probability of a positive (default: %(default)s)",
    )
    add_device(parser)


def _add_sweep(parser: argparse.ArgumentParser) -> None:
    _add_truth_and_result(parser)
    for name, text in (
        ("ratio", "of the intensity ratio (default: 1.0 to 2.0 by 0.1)"),
        ("probability", "of the network's probability (default: 0.5 to 0.95 by 0.05)"),
        ("lesion-probability", "of the candidate classifier (default: 0 to 0.95 by 0.05, where the result has one)"),
    ):
        parser.add_argument(
            f"--{name}", type=amount, nargs="*", metavar="T", help=f"thresholds {text}; no number: leave it out"
        )
    parser.add_argument("--config-file", type=Path, metavar="FILE", help="settings of the run (TOML), if not default")
    _add_lesion_options(parser)
    _add_match(parser, "overlap")
    _add_figure_options(parser)


def _add_calibration(parser: argparse.ArgumentParser) -> None:
    _add_truth_and_result(parser)
    parser.add_argument(
        "--score",
        choices=("lesion_probability", "probability_mean", "probability_max"),
        default="lesion_probability",
        help="column of the table of candidates (default: %(default)s)",
    )
    parser.add_argument("--bins", type=positive, default=10, metavar="N", help="of equal width (default: %(default)s)")
    _add_lesion_options(parser)
    _add_match(parser, "overlap")
    _add_figure_options(parser)


def _add_agreement(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first_tree", type=Path, help="derivative tree of the one reader")
    parser.add_argument("second_tree", type=Path, help="derivative tree of the other")
    _add_lesion_options(parser, minimum_diameter=0.0)
    _add_match(parser, "distance")


def _add_truth_and_result(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("truth_tree", type=Path, help="derivatives/truth of a simulated dataset, or alike")
    parser.add_argument("result_tree", type=Path, help="output folder of mbseg-bids")


def _add_figure_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--note", default="", metavar="TEXT", help="line under the figures: what the data are")


def _add_match(parser: argparse.ArgumentParser, default: str) -> None:
    rules = ("overlap", "distance")
    parser.add_argument(
        "--match",
        choices=(*rules, "both") if default == "both" else rules,
        default=default,
        help="overlap: any common voxel, as in Dadar et al. 2022; distance: centroids, one to one "
        "(default: %(default)s)",
    )


def _add_lesion_options(parser: argparse.ArgumentParser, minimum_diameter: float = 2.0) -> None:
    parser.add_argument(
        "--minimum-diameter",
        type=amount,
        default=minimum_diameter,
        metavar="MM",
        help="true lesions of smaller equal-sphere diameter count neither as missed nor, where found, as false "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--minimum-volume",
        type=amount,
        default=0.0,
        metavar="MM3",
        help="the same by volume; where both are given, a lesion must reach both (default: %(default)s)",
    )
    parser.add_argument(
        "--maximum-distance",
        type=positive_float,
        default=5.0,
        metavar="MM",
        help="between matched centroids (default: %(default)s)",
    )


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, metavar="DIR", help="write tables (and figures) here")
    parser.add_argument(
        "--resamples",
        type=whole,
        default=2000,
        metavar="N",
        help="bootstrap samples of participants for the intervals; 0: none (default: %(default)s)",
    )
    parser.add_argument("--seed", type=whole, default=0, help="of the bootstrap (default: %(default)s)")
    parser.add_argument(
        "--level", type=inner_fraction, default=0.95, help="coverage of the intervals (default: %(default)s)"
    )
