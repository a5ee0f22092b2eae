"""What the parsers of both programs share: errors of one style, examples below the help, completion in the shell."""

import argparse
import contextlib
import os
import sys
import textwrap
from collections.abc import Sequence
from typing import Any, NoReturn

from mbseg_bids.errors import UsageError


class Parser(argparse.ArgumentParser):
    """An argument parser that raises instead of exiting with argparse's own code 2; sub-parsers are alike."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with argparse's message."""
        raise UsageError(message, f"see {self.prog} --help")


class _OldName(argparse.Action):
    """The old name of an option: does what the new one does, and says that it will go."""

    def __init__(self, option_strings: Sequence[str], dest: str, *, now: argparse.Action) -> None:
        self.now = now
        kind: Any = now.type
        super().__init__(
            option_strings,
            argparse.SUPPRESS,  # so that it is no input of its own
            nargs=now.nargs,
            type=kind,
            choices=now.choices,
            default=argparse.SUPPRESS,
            help=argparse.SUPPRESS,
        )

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        name = self.now.option_strings[0]
        print(f"warning: {option} is now called {name}; the next release knows the new name only", file=sys.stderr)
        self.now(parser, namespace, values, name)


def add_old_name(options: argparse._ActionsContainer, old: str, now: argparse.Action) -> None:
    """Let an option be called by its old name for one more release; it is in no help and on no page.

    Parameters
    ----------
    options
        Parser or group that ``now`` was added to.
    old
        Its old name, such as ``--classify``.
    now
        The option as it is called now.
    """
    options.add_argument(old, action=_OldName, now=now)


class _KeepsExamples(argparse.HelpFormatter):
    """Wraps descriptions as ever, and leaves the lines of an epilog as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return textwrap.indent(text, indent)
        return super()._fill_text(text, width, indent)


def show_examples(parser: argparse.ArgumentParser, examples: Sequence[str], more: str = "") -> None:
    """Show examples of a command below its help, and more text below them."""
    word = "example" if len(examples) == 1 else "examples"
    lines = [f"{word}:", *(f"  {example}" for example in examples)]
    if more:
        lines += ["", *textwrap.wrap(more, 96)]
    parser.epilog = "\n".join(lines)
    parser.formatter_class = _KeepsExamples


def swallowed(parser: argparse.ArgumentParser, arguments: Sequence[str], error: UsageError) -> UsageError:
    """Return a better error where an option that takes several words has taken those that are then missing.

    Parameters
    ----------
    parser
        Of the program.
    arguments
        The command line.
    error
        What the parser said of it.
    """
    start = "the following arguments are required: "
    several = {name for action in parser._actions if action.nargs in ("+", "*") for name in action.option_strings}
    if not error.what.startswith(start):
        return error
    for place, word in enumerate(arguments):
        if word not in several:
            continue
        taken = []
        for follower in arguments[place + 1 :]:
            if follower.startswith("-"):
                break
            taken.append(follower)
        if len(taken) > 1:
            missing = error.what.removeprefix(start)
            return UsageError(
                f"{word} has taken all words after it, {' '.join(taken)}, and {missing} is missing",
                f"put the folders and the level first, or -- between: {word} {taken[0]} -- {' '.join(taken[1:])}",
            )
    return error


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks how a command line may go on, and end; do nothing where no shell asks.

    Needs the optional package argcomplete; without it the shell gets no answer.
    """
    if "_ARGCOMPLETE" in os.environ:
        with contextlib.suppress(ImportError):
            import argcomplete

            argcomplete.autocomplete(parser)
        sys.exit(1)
