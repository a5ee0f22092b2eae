"""``mbseg`` fails as ``mbseg-bids`` does, and every command shows examples that its own parser takes."""

import argparse
import os
import shlex
import subprocess
import sys

import pytest

from mbseg_bids.cli import evaluate, parser, workbench
from mbseg_bids.cli.examples import EXAMPLES


def commands(command, name="mbseg"):
    yield name, command
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                yield from commands(below, f"{name} {word}")


ALL = dict(commands(workbench.build_parser()))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "csf"], "mbseg failed: the following arguments are required: patches, --out (see mbseg train csf"),
        (["no-such"], "mbseg failed: argument COMMAND: invalid choice: 'no-such'"),
        (["evaluate", "a", "b", "--no-such"], "mbseg failed: unrecognized arguments: --no-such (see mbseg --help)"),
        ([], "mbseg failed: the following arguments are required: COMMAND (see mbseg --help)"),
    ],
)  # fmt: skip
def test_bad_usage_is_one_line_and_64(arguments, said, capsys):
    assert workbench.main(arguments) == 64
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(said)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (FileNotFoundError(2, "No such file", "x"), 74, "mbseg failed: No such file: x (check the disk)"),
        (KeyboardInterrupt(), 130, "mbseg failed: interrupted (start it again)"),
        (ZeroDivisionError("by zero"), 1, "mbseg failed: ZeroDivisionError: by zero (this is a bug: please report it)"),
    ],
)
def test_other_failures_end_in_one_line_too(error, code, said, monkeypatch, capsys):
    def fail(args):
        raise error

    monkeypatch.setattr("mbseg_bids.cli.weights.run", fail)
    assert workbench.main(["weights", "list"]) == code
    assert capsys.readouterr().err.splitlines()[-1] == said


def test_every_command_has_examples():
    assert set(EXAMPLES) == set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_examples_are_shown_and_parsed(name):
    shown = ALL[name].format_help()
    for example in EXAMPLES[name]:
        assert f"  {example}\n" in shown
        assert example.startswith(name.removesuffix(" trees"))
        arguments = shlex.split(example)[1:]
        if arguments[0] == "evaluate":
            arguments = evaluate.with_action(arguments)
        workbench.build_parser(arguments[0]).parse_args(arguments)


def test_examples_of_the_app_are_shown_and_parsed():
    shown = parser.build_parser().format_help()
    for example in parser.EXAMPLES:
        assert f"  {example}\n" in shown
        parser.build_parser().parse_args(shlex.split(example)[1:])


@pytest.mark.parametrize(
    ("module", "line", "expected"),
    [
        ("mbseg_bids.cli.app", "mbseg-bids in out participant --exclu", "--exclude-scans"),
        ("mbseg_bids.cli.workbench", "mbseg evaluate swe", "sweep"),
    ],
)
def test_the_shell_completes(module, line, expected, tmp_path):
    pytest.importorskip("argcomplete")
    answer = tmp_path / "answer"
    environment = os.environ | {
        "_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)),
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
    }  # fmt: skip
    code = f"from {module} import main; main([])"
    subprocess.run([sys.executable, "-c", code], env=environment, check=False, timeout=60)
    assert expected in answer.read_text()
