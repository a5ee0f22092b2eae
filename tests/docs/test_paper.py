"""The page that holds the paper against this package leads to files that are there."""

import re

from doc_pages import ROOT

ROW = re.compile(r"^\| .+ \| .+ \| (.*?) \| (.*?) \|$", re.MULTILINE)


def test_every_file_of_the_table_exists_and_every_row_has_a_verdict():
    rows = ROW.findall((ROOT / "docs" / "paper.md").read_text())[1:]
    rows = [(files, verdict) for files, verdict in rows if files != "file"]
    assert len(rows) > 35
    for files, verdict in rows:
        folder = ROOT / "mbseg_bids"
        named = [name for name in re.findall(r"`([^`]+)`", files) if name.endswith((".py", "/"))]
        assert named, files
        for name in named:
            path = next((p for p in (ROOT / "mbseg_bids" / name, folder / name) if p.exists()), None)
            assert path is not None, name
            folder = path.parent
        assert re.search(r"as in the paper|\*\*differs\*\*|not in the paper", verdict), verdict
