# PYTHON_ARGCOMPLETE_OK
"""``mbseg``: the workbench beside the BIDS App."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from mbseg_bids import __version__
from mbseg_bids.cli.arguments import Parser, complete, show_examples
from mbseg_bids.cli.examples import EXAMPLES
from mbseg_bids.errors import exit_code_of

COMMANDS = {
    "simulate": "make a BIDS dataset of simulated scans with known microbleeds",
    "train": "train the network: CSF first, then microbleeds",
    "study": "how patch size, frozen layers, batch, rate and rotations change the result",
    "weights": "list or verify weights of the network",
    "plant": "plant simulated microbleeds in your own scans: which sizes are found, and what else",
    "visits": "compare the visits of each participant: which microbleeds are new",
    "evaluate": "compare a segmentation with the truth, or two segmentations",
    "baseline": "the U-Net that the paper compares with, and the CSF map of a whole brain",
}
"""Each command lives in ``mbseg_bids.cli.<name>`` as ``add_arguments(parser)`` and ``run(args) -> int``."""


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Return the parser; only ``command`` (all where None) is imported to add its arguments."""
    parser = Parser(prog="mbseg", description="The workbench beside the BIDS App mbseg-bids.")
    parser.add_argument("--version", action="version", version=f"mbseg {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        sub = commands.add_parser(name, help=text, description=text)
        if command in (None, name):
            importlib.import_module(f"mbseg_bids.cli.{name}").add_arguments(sub)
    _add_examples(parser)
    return parser


def _add_examples(parser: argparse.ArgumentParser, name: str = "mbseg") -> None:
    """Show examples below the help of a command and of those below it."""
    if name in EXAMPLES:
        show_examples(parser, EXAMPLES[name])
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                _add_examples(below, f"{name} {word}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; what fails ends in one line, as in ``mbseg-bids``."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if "_ARGCOMPLETE" in os.environ:
        complete(build_parser())
    return exit_code_of(lambda: _main(arguments), "mbseg", interrupted="start it again")


def _main(arguments: list[str]) -> int:
    command = next((a for a in arguments if a in COMMANDS), "")
    parser = build_parser(command)
    if command == "evaluate":
        arguments = importlib.import_module("mbseg_bids.cli.evaluate").with_action(arguments)
    args = parser.parse_args(arguments)
    return importlib.import_module(f"mbseg_bids.cli.{args.command}").run(args)
