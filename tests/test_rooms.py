"""Which room of the package, and which part of a room, may import from which: nothing lower knows anything higher."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mbseg_bids"
EVERYWHERE = {"errors", "settings", "contrasts", "wording", "data"}
MAY_USE = {
    "errors": set(),
    "contrasts": set(),
    "wording": set(),
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
    "review": {"imaging", "clinical", "detection", "bids", "reports"},
    "cli": {
        *("imaging", "detection", "simulation", "evaluation", "learning"),
        *("bids", "workflows", "reports", "group", "planting", "review"),
    },
    "steps": {"imaging", "detection"},
    "segmentation": {"bids"},
}
"""As in the first table of docs/developers.md."""

PARTS = {
    "detection": {
        "geometry": set(),
        "rules": {"geometry"},
        "phase": {"geometry", "rules"},
        "network": set(),
        "search": {"geometry"},
        "candidates": {"geometry", "network", "rules"},
        "lesions": {"geometry", "rules", "candidates"},
    },
    "learning": {
        "files": set(),
        "examples": {"files"},
        "training": {"examples"},
        "stages": {"examples", "training"},
        "study": {"files", "examples", "training", "stages"},
        "candidates": {"examples"},
        "unet": {"examples", "training", "stages"},
    },
}
"""Rooms that have parts, each a folder, or one module that all may use; as in the second table there."""

PURE = {"imaging", "clinical", "detection", "simulation", "evaluation"}
FILE_WORLD = {"nipype", "niworkflows", "bids", "nireports"}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def part_of(path: Path) -> str:
    """Return the folder, or the module, within its room; empty for the room's own ``__init__``."""
    return path.relative_to(PACKAGE).parts[1].removesuffix(".py").removeprefix("__init__")


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


def wrong_parts(room: str, part: str, names: set[str]) -> set[str]:
    inner = {name.split(".")[2] for name in names if name.startswith(f"mbseg_bids.{room}.")}
    return inner - PARTS[room].get(part, set()) - {part}


MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.parent != PACKAGE or path.stem in MAY_USE]


@pytest.mark.parametrize("room", MAY_USE)
def test_no_room_imports_from_a_higher_one(room):
    wrong = {
        str(path.relative_to(PACKAGE)): found
        for path in MODULES
        if room_of(path) == room and (found := wrong_imports(room, imports(path.read_text())))
    }
    assert wrong == {}


@pytest.mark.parametrize("room", PARTS)
def test_no_part_of_a_room_imports_from_a_higher_one(room):
    wrong = {
        str(path.relative_to(PACKAGE)): found
        for path in MODULES
        if room_of(path) == room and (found := wrong_parts(room, part_of(path), imports(path.read_text())))
    }
    assert wrong == {}


def test_every_room_and_part_is_known():
    assert {room_of(path) for path in MODULES} == set(MAY_USE)
    for room, parts in PARTS.items():
        assert {part_of(path) for path in MODULES if room_of(path) == room} - {""} == set(parts)


@pytest.mark.parametrize("order", [MAY_USE, *PARTS.values()], ids=["rooms", *PARTS])
def test_the_order_has_no_circle(order):
    placed: set[str] = set()
    while len(placed) < len(order):
        ready = {name for name, below in order.items() if below <= placed} - placed
        assert ready
        placed |= ready


@pytest.mark.parametrize(
    ("room", "text", "wrong"),
    [
        ("imaging", "from mbseg_bids.detection.network.patches import cut", {"detection"}),
        ("imaging", "def f():\n    import nipype.interfaces.base", {"nipype"}),
        ("detection", "import mbseg_bids.cli.app", {"cli"}),
        ("workflows", "from mbseg_bids import reports", {"reports"}),
        ("cli", "from mbseg_bids import __version__", set()),
        ("imaging", "from mbseg_bids.errors import UsageError", set()),
    ],
)
def test_a_wrong_import_is_found(room, text, wrong):
    assert wrong_imports(room, imports(text)) == wrong


def test_a_wrong_import_between_parts_is_found():
    upwards = imports("from mbseg_bids.detection.lesions.tables import tabulate")
    assert wrong_parts("detection", "geometry", upwards) == {"lesions"}
    assert wrong_parts("detection", "lesions", upwards) == set()


def test_the_page_for_developers_tells_the_same():
    page = (PACKAGE.parent / "docs" / "developers.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)(?:/|\.py)` \| [^|]* \| ([^|]*)\|$", page, re.MULTILINE))
    told = {room: set(re.findall(r"\w+", text)) for room, text in rows.items()}
    told["cli"] = MAY_USE["cli"] if told["cli"] == {"everything"} else set()
    assert told == {room: below for room, below in MAY_USE.items() if room not in EVERYWHERE}
    rows = re.findall(r"^\| `(\w+)/(\w+?)(?:/|\.py)` \| [^|]* \| ([^|]*)\|$", page, re.MULTILINE)
    parts = {(room, part): set(re.findall(r"\w+", text)) for room, part, text in rows}
    assert parts == {(room, part): below for room, order in PARTS.items() for part, below in order.items()}
