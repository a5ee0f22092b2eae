"""The examples in the docstrings of the public interface, run as they stand."""

import doctest

import pytest

import mbseg_bids
from mbseg_bids import segmentation, steps

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
OF_STEPS = {name: getattr(steps, name) for name in steps.__all__}
OF_PACKAGE = {"segment": segmentation.segment, "Segmentation": segmentation.Segmentation}


def run_example(name, documented):
    """Run the example of a function or class with nothing but the builtins; it imports what it needs."""
    (example,) = doctest.DocTestFinder(recurse=False).find(documented, name, globs={})
    assert example.examples, f"{name} has no example"
    said = []
    doctest.DocTestRunner(optionflags=FLAGS).run(example, out=said.append)
    assert said == []


@pytest.mark.parametrize("name", OF_STEPS)
def test_example_of_a_step(name):
    run_example(name, OF_STEPS[name])


@pytest.mark.parametrize("name", OF_PACKAGE)
def test_example_of_the_package(name, commands, save_image, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for contrast in ("t2star", "t2w", "t1w"):
        save_image(tmp_path / f"{contrast}.nii.gz")
    if name == "Segmentation":
        mbseg_bids.segment("t2star.nii.gz").save("earlier")
    run_example(name, OF_PACKAGE[name])


def test_every_public_name_is_among_these():
    assert set(mbseg_bids.__all__) == {*OF_PACKAGE, "__version__"}
    assert set(steps.__all__) == set(steps._HOMES) == set(OF_STEPS)


def test_examples_are_told_when_they_are_wrong():
    def wrong():
        """
        >>> 1 + 1
        3
        """

    with pytest.raises(AssertionError):
        run_example("wrong", wrong)
