"""Links of the pages, without a network."""

import re

import pytest
from doc_pages import PAGES, ROOT, anchors, links, prose


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    wrong = []
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            if not re.match(r"https://[\w.-]+\.[a-z]+(/|$)", link):
                wrong.append(link)
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or not target.is_relative_to(ROOT) or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    assert wrong == []


def test_links_and_anchors_are_found_at_all():
    usage, readme = ROOT / "docs" / "usage.md", ROOT / "README.md"
    assert "missing-contrasts" in anchors(usage)
    assert "#missing-contrasts" in links(usage)
    assert "docs/usage.md" in links(readme)
    assert "https://doi.org/10.3389/fnimg.2022.940849" in links(readme)


def test_every_picture_is_shown_and_every_shown_picture_is_small():
    pictures = set((ROOT / "docs" / "figures").iterdir())
    shown = {(page.parent / link).resolve() for page in PAGES for link in links(page) if "figures/" in link}
    assert {path.name for path in pictures ^ shown} == set()
    assert [path.name for path in pictures if path.stat().st_size > 300_000] == []


def test_every_page_is_in_the_table_of_contents_once():
    index = (ROOT / "docs" / "index.md").read_text()
    listed = [line for block in re.findall(r"```\{toctree\}\n(.*?)```", index, re.DOTALL) for line in block.split("\n")]
    entries = [line for line in listed if re.fullmatch(r"\w+", line)]
    assert len(entries) == len(set(entries))
    assert {page.stem for page in PAGES if page.parent.name == "docs"} - {"index"} <= set(entries)


def test_pages_end_their_tables():
    """A row with another number of cells than its heading is cut off, or shows as text."""
    wrong = []
    for page in PAGES:
        for table in re.findall(r"(?:^ *\|.*\|\n)+", prose(page), re.MULTILINE):
            cells = [len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()]
            if len(set(cells)) > 1:
                wrong.append((page.name, table.splitlines()[0]))
    assert wrong == []
