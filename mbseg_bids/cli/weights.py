"""``mbseg weights``: what weights there are, and whether they are whole."""

import argparse
import sys

from mbseg_bids.cli.arguments import add_old_name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the two actions."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="weights that come with the package")
    verify = actions.add_parser("verify", help="check SHA-256, load, and classify a fixed patch; 65 if damaged")
    verify.add_argument("weights", nargs="*", metavar="FILE", help="names or files (default: all of the package)")
    self_test = verify.add_argument(
        "--self-test",
        action="store_true",
        help="also classify a drawn microbleed and plain white matter; 65 if either answer is wrong",
    )
    add_old_name(verify, "--classify", self_test)


def run(args: argparse.Namespace) -> int:
    """Run the chosen action; return 65 if any file is damaged."""
    from mbseg_bids.detection.network.weights import list_weights

    if args.action == "list":
        print("name\ttask\tMB\tpatch_mm\tinput_px\tlicence\tsha256")
        for entry in list_weights():
            mark = " (default)" if entry.is_default else ""
            facts = (f"{entry.n_bytes / 1e6:.1f}", entry.patch_size, entry.input_size, entry.licence, entry.sha256)
            print("\t".join(map(str, (entry.name + mark, entry.task, *facts))))
        return 0
    names = args.weights or [entry.name for entry in list_weights()]
    code = _verify(names)
    return code or (_self_test(names) if args.self_test else 0)


def _verify(names: list[str]) -> int:
    from mbseg_bids.detection.network.weights import try_weights
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


def _self_test(names: list[str]) -> int:
    from mbseg_bids.detection.network.self_test import run_self_test
    from mbseg_bids.errors import UnreadableDataError

    wrong = False
    for name in names:
        dot, background = run_self_test(name)
        right = background < 0.5 < dot
        wrong |= not right
        answers = f"microbleed {dot:.4f}, white matter {background:.4f}"
        print(f"{name}: {answers}: {'as it should be' if right else 'WRONG'}", file=sys.stdout if right else sys.stderr)
    return UnreadableDataError.exit_code if wrong else 0
