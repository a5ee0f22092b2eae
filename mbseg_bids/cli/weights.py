"""``mbseg weights``: what weights there are, and whether they are whole."""

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the two actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="weights that come with the package")
    verify = actions.add_parser("verify", help="check SHA-256, load, and classify a fixed patch; 65 if damaged")
    verify.add_argument("weights", nargs="*", metavar="FILE", help="names or files (default: all of the package)")


def run(args: argparse.Namespace) -> int:
    """Run the chosen action; return 65 if any file is damaged."""
    from mbseg_bids.detection.weights import list_weights

    if args.action == "list":
        print("name\ttask\tMB\tpatch_mm\tinput_px\tlicence\tsha256")
        for entry in list_weights():
            mark = " (default)" if entry.is_default else ""
            facts = (f"{entry.n_bytes / 1e6:.1f}", entry.patch_size, entry.input_size, entry.licence, entry.sha256)
            print("\t".join(map(str, (entry.name + mark, entry.task, *facts))))
        return 0
    return _verify(args.weights or [entry.name for entry in list_weights()])


def _verify(names: list[str]) -> int:
    from mbseg_bids.detection.weights import try_weights
    from mbseg_bids.errors import NothingSelectedError, UnreadableDataError

    if not names:
        raise NothingSelectedError("the package comes without weights", "give a file")
    damaged = False
    for name in names:
        try:
            metadata, probability = try_weights(name)
        except UnreadableDataError as error:
            damaged = True
            print(f"{name}: DAMAGED: {error}", file=sys.stderr)
            continue
        facts = f"{metadata.task}, patch {metadata.patch_size} mm, input {metadata.input_size} px"
        print(f"{name}: whole; {facts}; SHA-256 {metadata.sha256}; fixed patch {probability:.4f}")
    return UnreadableDataError.exit_code if damaged else 0
