"""Files about the project agree with the project."""

import runpy
import tomllib

import yaml
from doc_pages import ROOT

from mbseg_bids import __version__


def test_the_page_of_options_is_that_of_the_parsers():
    made = runpy.run_path(str(ROOT / "scripts" / "options_page.py"))["page"]()
    assert (ROOT / "docs" / "options.md").read_text() == made, "run: make options"


def test_every_option_has_a_help():
    module = runpy.run_path(str(ROOT / "scripts" / "options_page.py"))
    for name, build in (("mbseg-bids", module["parser"]), ("mbseg", module["workbench"])):
        for leaf, command, _ in module["leaves"](build.build_parser(), name):
            without = [action.option_strings or action.dest for action in command._actions if not action.help]
            assert (leaf, without) == (leaf, [])


def test_citation_file():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors", "version", "license"} <= set(citation)
    assert citation["version"] == __version__
    assert citation["authors"] == [{"name": "mbseg_bids contributors"}]
    (paper,) = citation["references"]
    assert paper["doi"] == "10.3389/fnimg.2022.940849"
    assert paper["authors"][0]["family-names"] == "Dadar"


def test_the_changelog_knows_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert f"## {__version__}" in changelog or f"{__version__} when released" in changelog


def test_everything_installed_by_make_is_pinned():
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(w for extra in project["optional-dependencies"].values() for w in extra)]
    names = {wanted.partition("[")[0].split(">")[0].strip().lower() for wanted in wanted}
    assert names - pinned == {"mbseg-bids"}
