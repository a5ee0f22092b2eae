"""The Markdown pages of the project: their code blocks, commands, links and anchors."""

import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")))
SHELL = ("console", "bash", "sh", "shell")
NEEDS = ("cluster", "container", "data", "gpu", "network", "time")
"""What a block may say it needs, before a comma and further words."""

PAGE_NEEDS = {"container.md": "container", "cluster.md": "cluster"}
"""Pages of which every block needs the same."""

_FENCE = re.compile(r"^( *)(`{3,})([a-z{}]*)[^\n]*\n(.*?)^ *\2 *$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"<!-- (needs|run by): ([^>]+?) -->\n\Z")
_LINK = re.compile(r"(?<!\\)\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str
    mark: str
    """``needs``, ``run by``, or nothing."""
    value: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[list[str]]:
        """Words of each command: without prompt, comment and environment variables, lines that go on joined."""
        lines = re.sub(r"\\\n\s*", " ", self.text).splitlines()
        split = [shlex.split(re.sub(r"^\s*\$ ", "", line), comments=True) for line in lines]
        return [words for words in map(_without_variables, split) if words]


def _without_variables(words: list[str]) -> list[str]:
    """Drop ``NAME=value`` in front, and put a number where a variable stands."""
    while words and re.fullmatch(r"(export|[A-Z_]+=.*)", words[0]):
        words = words[1:]
    return [re.sub(r"\$\{?[A-Za-z_]+\}?", "1", word) for word in words]


@cache
def blocks() -> list[Block]:
    """Return every fenced block of every page."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for fence in _FENCE.finditer(text):
            mark = _MARK.search(text[: fence.start()])
            kind, value = mark.groups() if mark else ("", "")
            if not mark and page.name in PAGE_NEEDS:
                kind, value = "needs", PAGE_NEEDS[page.name]
            line = text[: fence.start()].count("\n") + 1
            found.append(Block(page, line, fence[3], fence[4], kind, value))
    return found


def shell_blocks() -> list[Block]:
    """Return the blocks that hold commands."""
    return [block for block in blocks() if block.language in SHELL]


def prose(page: Path) -> str:
    """Return the text of a page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """Return the targets of links and pictures of a page."""
    return _LINK.findall(re.sub(r"`[^`\n]+`", "", prose(page)))


def code_spans(page: Path) -> list[str]:
    """Return what stands between single backquotes."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", prose(page))


@cache
def anchors(page: Path) -> set[str]:
    """Return the anchors that a code host gives the headings of a page."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} (.+)$", prose(page), re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()).replace(" ", "-")
        number = 1
        unique = name
        while unique in found:
            unique, number = f"{name}-{number}", number + 1
        found.add(unique)
    return found
