"""Exported reviews are read, or refused with the line that is wrong."""

import pytest
from review_session import KEY

from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.review.table import COLUMNS, read_review

CELLS = "sub-01|ses-a|abc|CMB-001|lesion|accept|a note|1|2|3|-1.5|2|3|deep GM|3.2|0.9|R|2026-01-02T03:04:05Z"
ROW = dict(zip(COLUMNS, CELLS.split("|"), strict=True))


def write(path, *rows, columns=COLUMNS):
    path.write_text("\n".join("\t".join(row) for row in (columns, *([row[c] for c in columns] for row in rows))) + "\n")
    return path


def test_a_row_is_read(tmp_path):
    review = read_review(write(tmp_path / "r.tsv", ROW))
    (said,) = review.judgements
    assert review.reader == "R"
    assert review.sessions() == [KEY] == [said.key]
    assert (said.item, said.kind, said.decision, said.note) == ("CMB-001", "lesion", "accept", "a note")
    assert (said.voxel, said.position) == ((1, 2, 3), (-1.5, 2.0, 3.0))


def test_what_is_not_said_is_empty(tmp_path):
    nothing = {"decision": "n/a", "note": "n/a", "i": "n/a", "session_id": "n/a", "x_mm": "n/a", "reader": "n/a"}
    review = read_review(write(tmp_path / "r.tsv", ROW | nothing), "X")
    (said,) = review.judgements
    assert (said.decision, said.note, said.voxel, said.position, said.key.session) == ("", "", None, None, "")
    assert review.reader == "X"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"decision": "maybe"}, "line 2: decision 'maybe'"),
        ({"kind": "spot"}, "line 2: kind 'spot'"),
        ({"i": "1.5"}, "line 2: voxel 1.5, 2, 3"),
        ({"i": "-1"}, "line 2: voxel -1"),
        ({"kind": "added", "k": "n/a"}, "line 2: CMB-001 was added without a voxel"),
        ({"participant_id": "../../etc"}, "line 2: no session is named"),
        ({"session_id": "ses-.."}, "line 2: no session is named"),
        ({"reader": "n/a"}, "no reader"),
    ],
)
def test_a_bad_row_is_named(tmp_path, change, said):
    with pytest.raises(UnreadableDataError, match=said):
        read_review(write(tmp_path / "r.tsv", ROW | change))


def test_a_bad_file_is_named(tmp_path):
    path = tmp_path / "r.tsv"
    with pytest.raises(UnreadableDataError, match=r"r.tsv cannot be read"):
        read_review(path)
    with pytest.raises(UnreadableDataError, match="stands twice"):
        read_review(write(path, ROW, ROW))
    with pytest.raises(UnreadableDataError, match="of two results"):
        read_review(write(path, ROW, ROW | {"item": "CMB-002", "result": "other"}))
    with pytest.raises(UnreadableDataError, match="several readers: R, S"):
        read_review(write(path, ROW, ROW | {"item": "CMB-002", "reader": "S"}))
    with pytest.raises(UnreadableDataError, match="has no rows"):
        read_review(write(path))
    with pytest.raises(UnreadableDataError, match="column decision is missing"):
        read_review(write(path, columns=[c for c in COLUMNS if c != "decision"]))
