"""Every command of the pages: parsed by the real parser, and run here, or by a named file, or said to need more."""

import argparse
import ast
import glob
import re

import pytest
from doc_pages import NEEDS, PAGES, ROOT, code_spans, shell_blocks

from mbseg_bids.cli import app, evaluate, parser, workbench
from mbseg_bids.errors import UsageError

BLOCKS = shell_blocks()
HERE = [block for block in BLOCKS if not block.mark]
IMAGE = re.compile(r"(.*/)?mbseg[-_]bids([-_:][\w.-]*)?(\.sif)?")
"""The argument of docker, podman or apptainer after which those of mbseg-bids follow."""

SMALLER = {
    "mbseg-bids": ["--n-cpus", "1", "-w", "work"],
    "mbseg simulate": [
        *("--participants", "1", "--sessions", "1", "--lesions", "1", "1"),
        *("--geometry", "0.9x0.9x5", "--labelmaps", "DIR"),
    ],
    "mbseg train sample": ["--out", "sampled", "--csf-patches", "20"],
    "mbseg train csf": ["--steps", "1", "--batch-size", "4", "--input-size", "32"],
    "mbseg train microbleed": ["--steps", "1", "--batch-size", "4", "--input-size", "32"],
    "mbseg study run": [
        *("--steps", "1", "--repetitions", "1", "--input-size", "32", "--score-patches", "2"),
        *("--factors", "rate", "--values", "rate=0.006"),
    ],
    "mbseg evaluate": ["--resamples", "10"],
}
"""What is put behind a command so that it takes a second: the last value of an option counts."""


def parse(words: list[str]) -> None:
    """Parse a command as it would be; raise if its program would refuse it."""
    program, *arguments = words
    if program in ("mbseg-bids", "mbseg"):
        parse_own(program, arguments)
    elif program in ("docker", "podman", "apptainer", "singularity") and arguments[0] == "run":
        image = next((n for n, word in enumerate(arguments) if IMAGE.fullmatch(word)), None)
        assert image is not None, f"no image named mbseg-bids or mbseg_bids in {words}"
        if not any(word.startswith(("--entrypoint", "--app")) for word in arguments[:image]):
            parse_own("mbseg-bids", arguments[image + 1 :])
    elif program == "torchrun":
        parse(words[words.index("--no-python") + 1 :])
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {w for w in arguments if "=" not in w} <= set(targets)
    elif program.startswith("python") and arguments[0].endswith(".py"):
        assert {w for w in arguments if w.startswith("--")} <= options_of_script(ROOT / arguments[0])


def parse_own(program: str, arguments: list[str]) -> None:
    if program == "mbseg-bids":
        if not {"--help", "--version"} & set(arguments):
            args = parser.build_parser().parse_args(arguments)
            assert args.analysis_level in parser.LEVELS
        return
    if arguments[0] == "evaluate":
        arguments = evaluate.with_action(arguments)
    try:
        workbench.build_parser(arguments[0]).parse_args(arguments)
    except SystemExit as end:
        if end.code:
            raise UsageError(f"mbseg {' '.join(arguments)}") from end


def options_of_script(path) -> set[str]:
    strings = (node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
    return {text for text in strings if isinstance(text, str) and text.startswith("--")}


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_commands_are_parsed(block):
    assert block.commands
    for words in block.commands:
        parse(words)


@pytest.mark.parametrize(
    "words", ["mbseg-bids a b participant --no-such", "mbseg simulate", "mbseg no", "docker run mbseg_bids:1 a b x"]
)
def test_wrong_commands_would_be_noticed(words):
    with pytest.raises((UsageError, AssertionError, SystemExit)):
        parse(words.split())


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.mark], ids=str)
def test_what_is_not_run_here_says_why(block):
    if block.mark == "needs":
        assert block.value.split(",")[0] in NEEDS
        return
    text = (ROOT / block.value).read_text()
    for words in block.commands:
        action = words[:2] if words[0] == "make" else [w for w in words[:3] if re.fullmatch(r"[a-z]+", w)][1:]
        assert action
        assert all(re.search(rf"\b{word}\b", text) for word in action), f"{block.value} does not run {words}"


@pytest.mark.parametrize("page", sorted({block.page for block in HERE}), ids=lambda page: page.name)
def test_commands_run(page, sandbox, fake_parts, capsys):
    for block in HERE:
        if block.page == page:
            for words in block.commands:
                code = run(words)
                said = capsys.readouterr()
                assert code == 0, f"{block}: {' '.join(words)}\n{said.out}\n{said.err}"


def run(words: list[str]) -> int:
    program, *arguments = [found for word in words for found in (sorted(glob.glob(word)) or [word])]
    more = next((SMALLER[name] for name in SMALLER if " ".join(words).startswith(name + " ")), [])
    if program == "mbseg-bids":
        return app.main([*arguments, *more])
    assert program == "mbseg", f"a block that runs {program} must say what it needs, or what runs it"
    return workbench.main([*arguments, *more])


def known_options() -> set[str]:
    found = set()

    def walk(command: argparse.ArgumentParser) -> None:
        for action in command._actions:
            found.update(action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                for below in action.choices.values():
                    walk(below)

    walk(parser.build_parser())
    walk(workbench.build_parser())
    for script in (*(ROOT / "scripts").glob("*.py"), *(ROOT / "benchmarks").glob("*.py")):
        found.update(options_of_script(script))
    return found


OTHERS = {"--nproc-per-node", "--no-python", "--requeue", "--signal", "--array", "--gpus", "--repository"}
"""Options of torchrun, SLURM and twine that the text of a page names."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_named_in_the_text_exist(page):
    if page.name in ("container.md", "cluster.md"):
        pytest.skip("names options of docker, Apptainer and SLURM")
    named = {word for span in code_spans(page) for word in re.findall(r"(?<![\w-])--[a-z][a-z0-9_-]+", span)}
    assert named - known_options() - OTHERS == set()
