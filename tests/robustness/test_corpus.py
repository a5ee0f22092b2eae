"""Every broken or odd dataset ends in its line and its exit code, harms nobody else, and leaves no lie on disk."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cases_dataset
import cases_geometry
import cases_images
import cases_machine
import pytest
from corpus import CASES
from place import LAST_LINE, Place, clean, run_app
from table import row, rows_of

REGISTERED_BY = (cases_images, cases_geometry, cases_dataset, cases_machine)
"""Importing them fills the corpus."""

TABLE = Path(__file__).parents[2] / "docs" / "robustness.md"


@pytest.fixture
def place():
    """A dataset in a folder that everybody may enter."""
    root = Path(tempfile.mkdtemp(prefix="odd-"))
    root.chmod(0o755)
    yield Place(root)
    clean(root)


SIGNALLED = ("time_limit", "stopped_while_checking")
"""Cases that raise SIGTERM: not caught, it would end the process that runs the tests, so they get one of their own.

In whole runs on two workers of xdist, workers were ended by it; why was not found. Alone in a fresh worker those of an
interrupted training pass. There the tests run in the main thread, and nothing tried changed what the kernel does with
SIGTERM (``/proc/self/status``): the imports of torch, OpenVINO, SimpleITK, Greedy, nipype and others, small
computations with the first three, pools by fork and by fork server, half of this corpus. The App sets handlers in three
places, each for a while, and puts back those it found.
"""


def run_case(case, place):
    more = case.build(place)
    return more() if callable(more) else run_app(place, *(more or []))


def run_alone(name):
    """Run a case in a fresh process."""
    inside = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{__file__}::test_case[{name}]"]
    root = Path(__file__).parents[2]
    return subprocess.run(command, capture_output=True, text=True, cwd=root, env=inside, timeout=110)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", CASES)
def test_case(name, place):
    if name in SIGNALLED and "PYTEST_XDIST_WORKER" in os.environ:
        done = run_alone(name)
        assert done.returncode == 0, done.stdout
        return
    case = CASES[name]
    ran = run_case(case, place)
    assert ran.code == case.code, ran.printed
    assert case.says in ran.shown(ran.printed), ran.printed
    assert LAST_LINE.fullmatch(ran.last_line), ran.last_line
    assert "Traceback" not in ran.printed
    assert "this is a bug" not in ran.printed
    if case.session_code is not None and "--dry-run" not in case.what:
        assert ran.session("sub-01")["exit_code"] == str(case.session_code)
        assert (ran.left("sub-01"), ran.left("sub-02")) == case.left
    if case.check:
        case.check(ran)
    if place.out.is_dir() and place.out != place.raw:
        for path in (p for p in place.out.rglob("*") if p.is_file()):
            assert str(place.root).encode() not in path.read_bytes(), path
            assert not path.name.endswith((".part", ".tmp")), path
    committed, now = rows_of(TABLE)[name], row(case, ran)
    # What Python and zlib say in their own words is not the same in every version.
    assert ends(committed) == ends(now), "docs/robustness.md is out of date: make robustness"
    assert case.says.replace("<", "&lt;") in committed


def ends(text):
    """Return exit code and what is on disk, the last cells of a row."""
    return [cell.strip() for cell in text.rstrip(" |").split(" | ")[-3:]]


def test_the_corpus_is_large_and_the_table_has_exactly_its_cases():
    assert len(CASES) >= 60
    assert set(rows_of(TABLE)) == set(CASES)
