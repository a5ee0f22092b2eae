"""Sphinx configuration: the site is these Markdown pages and three of the root folder, built without a network."""

import re
from pathlib import Path

from sphinx.application import Sphinx

from mbseg_bids import __version__

ROOT = Path(__file__).parents[1]

project = "mbseg_bids"
author = project_copyright = "mbseg_bids contributors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
root_doc = "index"
exclude_patterns = ["_build"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = f"mbseg_bids {__version__}"
html_show_sourcelink = False

ROOT_PAGES = {"index": "README.md", "changelog": "CHANGELOG.md", "contributing": "CONTRIBUTING.md"}
"""Pages of the site whose text lies in the root folder, where a code host shows it."""


def read_root_page(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the text of a root page in front of the table of contents that its place in docs/ holds."""
    if page in ROOT_PAGES:
        path = ROOT / ROOT_PAGES[page]
        app.env.note_dependency(str(path))
        text = re.sub(r"\]\((?!https?:|#|docs/)", "](../", path.read_text(encoding="utf-8"))
        contents = source[0].find("```{toctree}")
        source[0] = text.replace("](docs/", "](") + "\n" + (source[0][contents:] if contents >= 0 else "")
    for name, file in ROOT_PAGES.items():
        source[0] = source[0].replace(f"](../{file}", f"]({name}.md")


def setup(app: Sphinx) -> None:
    """Connect the above."""
    app.connect("source-read", read_root_page)
