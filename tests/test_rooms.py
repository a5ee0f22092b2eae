"""Which room of the package may import from which: nothing lower knows anything higher."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mbseg_bids"
EVERYWHERE = {"errors", "settings", "contrasts", "data"}
MAY_USE = {
    "errors": set(),
    "contrasts": set(),
    "settings": {"errors"},
    "data": {"errors"},
    "imaging": set(),
    "clinical": {"imaging"},
    "detection": {"imaging", "clinical"},
    "simulation": {"imaging"},
    "evaluation": {"imaging", "clinical", "detection"},
    "learning": {"imaging", "detection", "simulation", "evaluation"},
    "bids": {"imaging"},
    "interfaces": {"imaging", "detection", "bids"},
    "workflows": {"imaging", "bids", "interfaces"},
    "reports": {"imaging", "clinical", "bids"},
    "group": {"imaging", "clinical", "bids", "reports"},
    "planting": {"imaging", "clinical", "detection", "simulation", "evaluation", "learning", "bids", "reports"},
    "cli": {
        *("imaging", "detection", "simulation", "evaluation", "learning"),
        *("bids", "workflows", "reports", "group", "planting"),
    },
}
"""As in the table of docs/developers.md."""

PURE = {"imaging", "clinical", "detection", "simulation", "evaluation"}
FILE_WORLD = {"nipype", "niworkflows", "bids", "nireports"}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(text: str) -> set[str]:
    """Return the full names of imported modules, those inside functions and under TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):  # importlib.import_module("...")
            found |= set(re.findall(r"^mbseg_bids\.\w+(?:\.\w+)*$", node.value))
    return found


def wrong_imports(room: str, names: set[str]) -> set[str]:
    allowed = MAY_USE[room] | EVERYWHERE | {room}
    rooms = {name.split(".")[1] for name in names if name.startswith("mbseg_bids.")} - {"__version__"}
    return (rooms - allowed) | ({name.split(".")[0] for name in names} & FILE_WORLD if room in PURE else set())


MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.parent != PACKAGE or path.stem in MAY_USE]


@pytest.mark.parametrize("room", MAY_USE)
def test_no_room_imports_from_a_higher_one(room):
    wrong = {
        str(path.relative_to(PACKAGE)): found
        for path in MODULES
        if room_of(path) == room and (found := wrong_imports(room, imports(path.read_text())))
    }
    assert wrong == {}


def test_every_room_is_known_and_the_order_has_no_circle():
    assert {room_of(path) for path in MODULES} == set(MAY_USE)
    placed: set[str] = set()
    while len(placed) < len(MAY_USE):
        ready = {room for room, below in MAY_USE.items() if below <= placed} - placed
        assert ready
        placed |= ready


@pytest.mark.parametrize(
    ("room", "text", "wrong"),
    [
        ("imaging", "from mbseg_bids.detection.patches import cut", {"detection"}),
        ("imaging", "def f():\n    import nipype.interfaces.base", {"nipype"}),
        ("detection", "import mbseg_bids.cli.app", {"cli"}),
        ("workflows", "from mbseg_bids import reports", {"reports"}),
        ("cli", "from mbseg_bids import __version__", set()),
        ("imaging", "from mbseg_bids.errors import UsageError", set()),
    ],
)
def test_a_wrong_import_is_found(room, text, wrong):
    assert wrong_imports(room, imports(text)) == wrong


def test_the_page_for_developers_tells_the_same():
    page = (PACKAGE.parent / "docs" / "developers.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)/` \| [^|]* \| ([^|]*)\|$", page, re.MULTILINE))
    told = {room: set(re.findall(r"\w+", text)) for room, text in rows.items()}
    told["cli"] = MAY_USE["cli"] if told["cli"] == {"everything"} else set()
    assert told == {room: below for room, below in MAY_USE.items() if room not in EVERYWHERE}
