"""``--bids-exec-spec``: the command line as a Boutiques descriptor, made from the parser so that they cannot differ."""

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mbseg_bids import __version__
from mbseg_bids import errors as errors_module
from mbseg_bids.errors import MbsegError

SCHEMA_VERSION = "0.5"
"""Of Boutiques."""

CHOICES = {"analysis_level": ("participant", "group")}
"""Choices that the parser leaves to later checks, for exit codes of their own."""

WRITTEN = ("output_dir", "work_dir", "bids_database_dir")
"""Paths that need not exist beforehand: for Boutiques, a ``File`` does."""

PROGRAM = "mbseg-bids"


class PrintDescriptor(argparse.Action):
    """Option that prints the descriptor of its parser and ends the program, as ``--help`` does."""

    def __init__(self, option_strings: list[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, **options)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Print, and exit with 0."""
        print(json.dumps(describe(parser), indent=2))
        parser.exit()


def describe(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Return the Boutiques descriptor of a parser.

    Parameters
    ----------
    parser
        Its actions become the inputs, except those that only print something (help, version, the descriptor itself).
    """
    inputs = [_input(action) for action in parser._actions if action.dest != argparse.SUPPRESS]
    inputs = [entry for entry in inputs if entry["id"] not in ("help", "version")]
    descriptor = {
        "name": PROGRAM,
        "description": parser.description or PROGRAM,
        "tool-version": __version__,
        "schema-version": SCHEMA_VERSION,
        "command-line": " ".join([PROGRAM, *(entry["value-key"] for entry in inputs)]),
        "inputs": inputs,
        "output-files": [
            {
                "id": "results",
                "name": "results",
                "description": "BIDS derivatives: masks, tables, reports, logs",
                "path-template": "[OUTPUT_DIR]",
            }
        ],
        "error-codes": list(_error_codes()),
        "tags": {"domain": ["neuroinformatics", "mri"], "bids-app": True},
    }
    image = os.environ.get("MBSEG_CONTAINER")  # set in the images that the project builds
    if image:
        kind, _, tag = image.partition(":")
        descriptor["container-image"] = {"type": kind, "image": tag}
    return descriptor


def _input(action: argparse.Action) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": action.dest,
        "name": action.dest.replace("_", " "),
        "description": action.help or action.dest,
        "type": _type(action),
        "value-key": f"[{action.dest.upper()}]",
        "optional": not action.required,
    }
    flag = next((option for option in action.option_strings if option.startswith("--")), None)
    if flag is not None:
        entry["command-line-flag"] = flag
    if action.type is int:
        entry["integer"] = True
    choices = _choices(action)
    if choices:
        entry["value-choices"] = choices
    if action.nargs in ("+", "*"):
        entry |= {"list": True, "min-list-entries": 1 if action.nargs == "+" else 0}
    elif isinstance(action, argparse._AppendAction):  # the flag is given again before each
        entry |= {"list": True, "list-separator": f" {flag} "}
    return entry


def _type(action: argparse.Action) -> str:
    if action.nargs == 0:
        return "Flag"
    if action.type in (int, float):
        return "Number"
    return "File" if action.type is Path and action.dest not in WRITTEN else "String"


def _choices(action: argparse.Action) -> list[str]:
    """Return the words that ``metavar`` gives in braces, unless one is a capital that stands for a number."""
    if action.dest in CHOICES:
        return list(CHOICES[action.dest])
    shown = action.metavar if isinstance(action.metavar, str) else ""
    if not (shown.startswith("{") and shown.endswith("}")):
        return []
    words = shown[1:-1].split(",")
    return words if all(word.islower() for word in words) else []


def _error_codes() -> Iterator[dict[str, Any]]:
    """Yield what each exit code means, as the classes of the errors say."""
    kinds = [kind for kind in vars(errors_module).values() if isinstance(kind, type) and issubclass(kind, MbsegError)]
    for kind in sorted((k for k in kinds if k is not MbsegError), key=lambda k: k.exit_code):
        yield {"code": kind.exit_code, "description": (kind.__doc__ or "").split("\n")[0]}
    yield {"code": 130, "description": "Stopped from outside; the same command goes on."}
