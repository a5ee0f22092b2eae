"""The Boutiques descriptor: the schema's rules, and that it says what the parser does."""

import json
import re

import pytest

from mbseg_bids import __version__
from mbseg_bids.cli import app, parser
from mbseg_bids.cli.descriptor import describe

SAMPLES = {"String": "a", "File": "b.toml", "Number": "3"}


@pytest.fixture(scope="module")
def descriptor():
    return describe(parser.build_parser())


@pytest.fixture(scope="module")
def inputs(descriptor):
    return {entry["id"]: entry for entry in descriptor["inputs"]}


def command(descriptor, values):
    """Build the command line as Boutiques does: values and flags replace the keys, what is not given vanishes."""
    words = descriptor["command-line"].split()[1:]
    by_key = {entry["value-key"]: entry for entry in descriptor["inputs"]}
    line = []
    for word in words:
        entry = by_key[word]
        if entry["id"] not in values:
            continue
        flag = entry.get("command-line-flag", "")
        given = values[entry["id"]]
        if entry["type"] == "Flag":
            line.append(flag)
        else:
            line += [flag, entry.get("list-separator", " ").join(given) if isinstance(given, list) else given]
    return " ".join(line).split()


def sample(entry):
    if entry["type"] == "Flag":
        return True
    choices = entry.get("value-choices", [SAMPLES[entry["type"]]])
    if not entry.get("list"):
        return choices[0]
    return (choices * 2)[:2] if len(choices) > 1 else [f"{choices[0]}{n}" for n in (1, 2)]


def test_it_is_printed_as_json_and_nothing_else(capsys):
    with pytest.raises(SystemExit) as ended:
        app.main(["--bids-exec-spec"])
    assert ended.value.code == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["name"], printed["tool-version"], printed["schema-version"]) == ("mbseg-bids", __version__, "0.5")


def test_rules_of_the_schema(descriptor):
    assert {"name", "description", "command-line", "schema-version", "inputs", "tool-version"} <= set(descriptor)
    keys = [entry["value-key"] for entry in descriptor["inputs"]]
    assert sorted(keys) == sorted(set(keys)) == sorted(descriptor["command-line"].split()[1:])
    allowed = {"id", "name", "type", "description", "value-key", "list", "list-separator", "optional", "integer"}
    allowed |= {"command-line-flag", "value-choices", "min-list-entries"}
    for entry in descriptor["inputs"]:
        assert set(entry) <= allowed
        assert re.fullmatch(r"[0-9_a-zA-Z]+", entry["id"])
        assert entry["type"] in ("String", "File", "Flag", "Number")
        assert entry["name"]
        if entry["type"] == "Flag":
            assert entry["command-line-flag"]
            assert entry["optional"]
            assert not entry.get("list")
        assert not entry.get("integer") or entry["type"] == "Number"
    names = [entry["id"] for part in ("inputs", "output-files") for entry in descriptor[part]]
    assert sorted(names) == sorted(set(names))
    codes = [entry["code"] for entry in descriptor["error-codes"]]
    assert codes == sorted(set(codes))


def test_every_argument_of_the_parser_is_there(inputs):
    printing = {"help", "version", "==SUPPRESS=="}
    assert set(inputs) == {action.dest for action in parser.build_parser()._actions} - printing
    assert [name for name, entry in inputs.items() if not entry["optional"]] == [
        "bids_dir",
        "output_dir",
        "analysis_level",
    ]


def test_types(inputs):
    assert inputs["n_cpus"]["integer"] is True
    assert inputs["bids_filter_file"]["type"] == "File"
    assert inputs["work_dir"]["type"] == inputs["output_dir"]["type"] == "String"  # need not exist
    assert inputs["device"]["value-choices"] == ["auto", "cpu", "cuda"]
    assert tuple(inputs["analysis_level"]["value-choices"]) == parser.LEVELS
    assert "value-choices" not in inputs["t2star_echo"]  # mean, or a number


def test_the_parser_takes_every_input_as_described(descriptor, inputs):
    needed = {"bids_dir": "in", "output_dir": "out", "analysis_level": "group"}
    untouched = vars(parser.build_parser().parse_args(command(descriptor, needed)))
    for name, entry in inputs.items():
        args = vars(parser.build_parser().parse_args(command(descriptor, needed | {name: sample(entry)})))
        changed = {key for key in args if args[key] != untouched[key]}
        assert changed <= {name}, name
        assert name in needed or changed, name
        if entry.get("list"):
            assert [str(value) for value in args[name]] == sample(entry)


def test_every_exit_code_of_the_help_is_described(descriptor):
    told = {int(code) for code in re.findall(r"\b(\d+) ", parser.EXIT_CODES)} - {0}
    assert told == {entry["code"] for entry in descriptor["error-codes"]} - {130}


def test_inside_an_image_the_image_is_named(monkeypatch):
    monkeypatch.setenv("MBSEG_CONTAINER", "docker:mbseg-bids:1.2")
    image = describe(parser.build_parser())["container-image"]
    assert image == {"type": "docker", "image": "mbseg-bids:1.2"}
