"""``mbseg evaluate``: how well a result agrees with the truth, lesion by lesion."""

import argparse
import sys
from pathlib import Path

COLUMNS = {
    "participant_id": "participant",
    "session_id": "session",
    "region": "region",
    "n_truth": "true",
    "n_detected": "found",
    "n_missed": "missed",
    "n_predicted": "predicted",
    "n_false": "false",
    "sensitivity": "sensitivity",
    "precision": "precision",
    "dice": "Dice",
    "false_per_scan": "false/scan",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``mbseg evaluate``."""
    parser.add_argument("truth_tree", type=Path, help="derivatives/truth of a simulated dataset, or alike")
    parser.add_argument("result_tree", type=Path, help="output folder of mbseg-bids")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write scores.tsv and lesions.tsv here")
    parser.add_argument(
        "--minimum-volume",
        type=float,
        default=8.0,
        metavar="MM3",
        help="smaller true lesions count neither as missed nor, where found, as false (default: %(default)s)",
    )
    parser.add_argument(
        "--match",
        choices=("overlap", "distance"),
        default="overlap",
        help="overlap: any common voxel, as in Dadar et al. 2022; distance: centroids, one to one",
    )
    parser.add_argument(
        "--maximum-distance", type=float, default=5.0, metavar="MM", help="for --match distance (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Print the scores and write them; return 1 if a scan of the truth has no result, else 0."""
    from mbseg_bids.errors import CannotWriteError
    from mbseg_bids.evaluation.trees import score_trees

    score = score_trees(
        args.truth_tree,
        args.result_tree,
        rule=args.match,
        maximum_distance=args.maximum_distance,
        minimum_volume=args.minimum_volume,
    )
    table = score.table()
    # A scan's regions are in the file; on screen the whole scan, and the regions pooled.
    shown = table[(table["region"] == "all") | (table["participant_id"] == "all")]
    print(shown[list(COLUMNS)].rename(columns=COLUMNS).to_string(index=False, na_rep="n/a", float_format="%.3f"))
    for participant, session in score.missing:
        print(f"no result for {participant} {session}", file=sys.stderr)
    if args.out is not None:
        import pandas as pd

        lesions = pd.concat(
            scan.lesions.assign(participant_id=scan.participant, session_id=scan.session) for scan in score.scans
        )
        first = ["participant_id", "session_id"]
        lesions = lesions[[*first, *(column for column in lesions if column not in first)]]
        try:
            args.out.mkdir(parents=True, exist_ok=True)
            for name, rows in (("scores.tsv", table), ("lesions.tsv", lesions)):
                rows.to_csv(args.out / name, sep="\t", index=False, na_rep="n/a", lineterminator="\n")
        except OSError as error:
            raise CannotWriteError(f"cannot write to {args.out}: {error}", "give another folder to --out") from error
    return 1 if score.missing else 0
