"""The examples in the docstrings of the public interface, run as they stand."""

import doctest
import importlib

import pytest

MODULES = ("mbseg_bids.segmentation",)
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    for name in MODULES:
        for example in finder.find(importlib.import_module(name)):
            if example.examples:
                yield pytest.param(example, id=example.name.removeprefix("mbseg_bids."))


@pytest.mark.parametrize("example", [*examples()])
def test_example(example, request, save_image, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "segment" in example.name:
        request.getfixturevalue("commands")
        for name in ("t2star", "t2w", "t1w"):
            save_image(tmp_path / f"{name}.nii.gz")
        importlib.import_module("mbseg_bids").segment("t2star.nii.gz").save("earlier")
    said = []
    doctest.DocTestRunner(optionflags=FLAGS).run(example, out=said.append, clear_globs=False)
    assert said == []
