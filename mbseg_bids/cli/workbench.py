"""``mbseg``: the workbench beside the BIDS App."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from mbseg_bids import __version__
from mbseg_bids.errors import MbsegError

COMMANDS = {
    "simulate": "make a BIDS dataset of simulated scans with known microbleeds",
    "train": "train the network: CSF first, then microbleeds",
    "study": "how patch size, frozen layers, batch, rate and rotations change the result",
    "weights": "list or verify weights of the network",
    "plant": "plant simulated microbleeds in your own scans: which sizes are found, and what else",
    "evaluate": "compare a segmentation with the truth, or two segmentations",
    "baseline": "the U-Net that the paper compares with, and the CSF map of a whole brain",
}
"""Each command lives in ``mbseg_bids.cli.<name>`` as ``add_arguments(parser)`` and ``run(args) -> int``."""


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Return the parser; only ``command`` (all where None) is imported to add its arguments."""
    parser = argparse.ArgumentParser(prog="mbseg", description=__doc__)
    parser.add_argument("--version", action="version", version=f"mbseg {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        sub = commands.add_parser(name, help=text, description=text)
        if command in (None, name):
            importlib.import_module(f"mbseg_bids.cli.{name}").add_arguments(sub)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = next((a for a in arguments if a in COMMANDS), "")
    parser = build_parser(command)
    if command == "evaluate":
        arguments = importlib.import_module("mbseg_bids.cli.evaluate").with_action(arguments)
    args = parser.parse_args(arguments)
    try:
        return importlib.import_module(f"mbseg_bids.cli.{args.command}").run(args)
    except MbsegError as error:
        print(f"mbseg failed: {error}", file=sys.stderr)
        return error.exit_code
