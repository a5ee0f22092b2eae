import pytest

from mbseg_bids.bids.inputs import find_sessions
from mbseg_bids.bids.left_out import Ignored, quality_marks
from mbseg_bids.errors import MissingImageError, UsageError
from mbseg_bids.settings import InputSettings

THREE = tuple(f"sub-01/anat/sub-01_{contrast}.nii.gz" for contrast in ("T1w", "T2w", "T2starw"))


@pytest.mark.parametrize(
    ("lines", "listed"),
    [
        ("sub-01/anat/sub-01_T2w.nii.gz", {"T2w"}),
        ("/sub-01/anat/sub-01_T2w.nii.gz", {"T2w"}),
        ("sub-01_T2w.nii.gz", {"T2w"}),
        ("*_T2w.nii.gz\n", {"T2w"}),
        ("**/*_T2?.nii.gz", {"T2w"}),
        ("sub-01/**/*T2*", {"T2w", "T2starw"}),
        ("sub-01/", {"T1w", "T2w", "T2starw"}),
        ("anat", {"T1w", "T2w", "T2starw"}),
        ("sub-0[2-9]*", set()),
        ("# *_T2w.nii.gz", set()),
        ("*.nii.gz\n!*_T1w.nii.gz", {"T2w", "T2starw"}),
        ("/anat", set()),
        ("anat/*_T2w.nii.gz", set()),  # anchored at the root by its slash
        ("", set()),
    ],
)
def test_patterns_are_those_of_gitignore(tmp_path, lines, listed):
    (tmp_path / ".bidsignore").write_text(lines)
    ignored = Ignored(tmp_path)
    assert {name.split("_")[1].split(".")[0] for name in THREE if tmp_path / name in ignored} == listed


def test_a_dataset_without_the_file_ignores_nothing(tmp_path):
    assert tmp_path / THREE[0] not in Ignored(tmp_path)


def test_a_scan_in_bidsignore_is_left_out_and_said_so(make_dataset):
    root = make_dataset(*THREE)
    (root / ".bidsignore").write_text("*_T2w.nii.gz\n")
    (session,) = find_sessions(root)
    assert session.missing == ("T2w",)
    assert session.warnings[0].startswith("sub-01_T2w.nii.gz is not used: it is listed in .bidsignore")


def test_where_the_t2star_itself_is_ignored_the_failure_says_so(make_dataset):
    root = make_dataset(*THREE)
    (root / ".bidsignore").write_text("*_T2starw.nii.gz\n")
    (session,) = find_sessions(root)
    assert isinstance(session.problem, MissingImageError)
    assert session.problem.what == "sub-01 has no T2starw"
    assert "sub-01_T2starw.nii.gz is not used: it is listed in .bidsignore" in session.problem.remedy


def test_what_a_filter_or_name_asks_for_is_taken_though_it_is_ignored(make_dataset):
    root = make_dataset(*THREE[:2], "sub-01/swi/sub-01_swi.nii.gz")
    (root / ".bidsignore").write_text("**/swi/**\n")
    assert find_sessions(root)[0].problem is not None
    (session,) = find_sessions(root, settings=InputSettings(t2star_suffix=("swi",)))
    assert session.images["T2starw"].path.name == "sub-01_swi.nii.gz"
    (session,) = find_sessions(root, filters={"T2starw": {"suffix": "swi"}})
    assert session.problem is None


@pytest.fixture
def marked(make_dataset):
    """A dataset whose first T2w and T2* are bad by its scans.tsv."""
    root = make_dataset(*THREE, "sub-01/anat/sub-01_run-2_T2starw.nii.gz")
    rows = ["filename\tquality", "anat/sub-01_T2w.nii.gz\tBad", "anat/sub-01_T2starw.nii.gz\tunusable",
            "anat/sub-01_T1w.nii.gz\tgood", "anat/sub-01_run-2_T2starw.nii.gz\tn/a"]  # fmt: skip
    (root / "sub-01" / "sub-01_scans.tsv").write_text("\n".join(rows) + "\n")
    return root


def test_scans_marked_in_scans_tsv_are_left_out_if_asked(marked):
    (session,) = find_sessions(marked)
    assert session.missing == ()
    assert session.images["T2starw"].path.name == "sub-01_T2starw.nii.gz"
    (session,) = find_sessions(marked, settings=InputSettings(exclude_scans=("quality=bad,unusable",)))
    assert session.missing == ("T2w",)
    assert session.images["T2starw"].path.name == "sub-01_run-2_T2starw.nii.gz"
    assert "sub-01_T2w.nii.gz is not used: scans.tsv says quality=Bad" in session.warnings
    assert "sub-01_T2starw.nii.gz is not used: scans.tsv says quality=unusable" in session.warnings


def test_a_filter_does_not_bring_back_a_marked_scan(marked):
    asked = InputSettings(exclude_scans=("quality=unusable",))
    (session,) = find_sessions(marked, settings=asked, filters={"T2starw": {"run": None}})
    assert "scans.tsv says quality=unusable" in session.problem.remedy or session.missing == ("T2starw",)
    assert "T2starw" not in session.images


def test_a_column_that_no_scans_tsv_has_is_a_usage_error(marked):
    with pytest.raises(UsageError, match="has a column rating"):
        find_sessions(marked, settings=InputSettings(exclude_scans=("rating=bad",)))


@pytest.mark.parametrize("value", ["quality", "quality=", "=bad", "quality=,"])
def test_marks_are_column_and_value(value):
    with pytest.raises(UsageError, match="COLUMN=VALUE"):
        quality_marks([value])
    assert quality_marks(["a=x,Y", "a=z", "b=1"]) == {"a": {"x", "y", "z"}, "b": {"1"}}
