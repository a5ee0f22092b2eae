"""What the package declares to need is what it imports: nothing more, nothing less."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = ("baseline", "completion")
"""Those that the package itself imports; the others are for people who work on it."""

MODULES = {
    "pillow": "PIL",
    "pybids": "bids",
    "pyyaml": "yaml",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
    "simpleitk": "SimpleITK",
}
"""Name to import by, where it is not that of the distribution."""

NOT_IMPORTED = {"psutil"}
"""nipype imports it, if it is there, for ``--resource-monitor``."""


def name_of(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\s<>=!~;\[]", requirement.strip())[0]).lower()


def module_of(distribution: str) -> str:
    return MODULES.get(distribution, distribution.replace("-", "_"))


def imports(text: str) -> set[str]:
    """Return the first part of the name of every module imported, within functions and by ``import_module`` too."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
            first = node.args[0].values[0] if isinstance(node.args[0], ast.JoinedStr) else node.args[0]
            if isinstance(first, ast.Constant):
                names.add(str(first.value).split(".")[0])
    return names


IMPORTED = {name for path in (ROOT / "mbseg_bids").rglob("*.py") for name in imports(path.read_text())}
DECLARED = sorted(
    {name_of(r) for r in PROJECT["dependencies"]}
    | {name_of(r) for extra in EXTRAS for r in PROJECT["optional-dependencies"][extra]}
)


@pytest.mark.parametrize("name", DECLARED)
def test_what_is_declared_is_imported(name):
    assert (module_of(name) in IMPORTED) != (name in NOT_IMPORTED)


def test_what_is_imported_is_declared():
    foreign = IMPORTED - set(sys.stdlib_module_names) - {"mbseg_bids", "_typeshed"}
    assert foreign == {module_of(name) for name in DECLARED} - NOT_IMPORTED


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def f():\n    import a.b", {"a"}),
        ("from c.d import e", {"c"}),
        ("importlib.import_module('f.g')", {"f"}),
        ("importlib.import_module(f'h.{x}')", {"h"}),
        ("x = 'import i'", set()),
    ],
)
def test_imports_are_found(text, found):
    assert imports(text) == found
