"""Write docs/options.md: every option of mbseg-bids and mbseg, from their argument parsers; nothing is typed in.

python scripts/options_page.py [--out docs/options.md]
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from mbseg_bids.cli import parser, workbench

HEAD = """# Options

Every option of every command, written by `make options` from the commands themselves; `--help` says the same. What the
options are for is told in [usage](usage.md) and [the workbench](workbench.md).
"""


def main() -> None:
    """Write the page."""
    command_line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command_line.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "options.md")
    command_line.parse_args().out.write_text(page(), encoding="utf-8")


def page() -> str:
    """Return the page as Markdown."""
    return "\n".join(
        [HEAD, *_command(parser.build_parser(), "mbseg-bids"), *_command(workbench.build_parser(), "mbseg")]
    )


def leaves(command: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    """Yield name, parser and one line of help of a command without sub-commands, or of each below it."""
    below = [action for action in command._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield name, command, command.description or ""
    for action in below:
        helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
        for word, found in action.choices.items():
            for leaf_name, leaf, text in leaves(found, f"{name} {word}"):
                yield leaf_name, leaf, text or helps[word]


def _command(command: argparse.ArgumentParser, name: str) -> Iterator[str]:
    yield f"## `{name}`\n"
    for leaf_name, leaf, text in leaves(command, name):
        if leaf_name != name:
            yield f"### `{leaf_name}`\n"
        yield f"{_sentence(_text(text))}\n"
        for group in leaf._action_groups:
            rows = [
                _row(leaf, action)
                for action in group._group_actions
                if not isinstance(action, argparse._HelpAction) and action.help != argparse.SUPPRESS
            ]
            if rows:
                heading = {"positional arguments": "arguments"}.get(group.title or "", group.title)
                yield f"| {heading} | |\n|---|---|"
                yield "\n".join(rows) + "\n"


def _row(command: argparse.ArgumentParser, action: argparse.Action) -> str:
    formatter = command._get_formatter()
    value = formatter._format_args(action, _metavar(action)).replace("|", "\\|") if action.nargs != 0 else ""
    names = ", ".join(f"`{name}`" for name in action.option_strings)
    shown = " ".join(part for part in (names, f"`{value}`" if value else "") if part)
    text = formatter._expand_help(action) if action.help else ""
    notes = []
    if action.required and action.option_strings:
        notes.append("required")
    if action.option_strings and "default" not in text and _is_worth_telling(action.default):
        notes.append(f"default: {_default(action.default)}")
    note = f" ({'; '.join(notes)})" if notes else ""
    return f"| {shown} | {_text(text)}{note} |"


def _is_worth_telling(default: object) -> bool:
    return default is not None and default is not False and default not in ("", [], (), argparse.SUPPRESS)


def _metavar(action: argparse.Action) -> str:
    return action.dest.upper() if action.option_strings else action.dest


def _default(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(map(_default, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _text(text: str) -> str:
    """Return text that Markdown leaves as it is."""
    for sign in "\\*_|<>":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("--", "\\--")


def _sentence(text: str) -> str:
    return text if not text or text.endswith(".") else f"{text[0].upper()}{text[1:]}."


if __name__ == "__main__":
    main()
