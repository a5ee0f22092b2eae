"""The command line of ``mbseg evaluate``: what it prints, writes and refuses."""

import json

import pandas as pd
import pytest
from derivative_trees import write_lesions

from mbseg_bids.cli import workbench


@pytest.fixture
def trees(tmp_path):
    """Two participants, one lesion each: found, and missed with a false one elsewhere; a third was never run."""
    truth, result = tmp_path / "truth", tmp_path / "result"
    for name, place in (("sub-01", (0, 0, 0)), ("sub-02", (3, 3, 3)), ("sub-03", (0, 0, 0))):
        write_lesions(truth, name, {1: [place]}, {1: "deep_gm"})
    write_lesions(result, "sub-01", {1: [(0, 0, 0)]}, {1: "deep_gm"})
    write_lesions(result, "sub-02", {1: [(0, 0, 0)]}, {1: "cerebral_wm"})
    return truth, result


def evaluate(*arguments):
    return workbench.main(["evaluate", *map(str, arguments)])


@pytest.mark.parametrize("action", [[], ["trees"]])
def test_trees_prints_writes_and_reports_what_is_missing(trees, tmp_path, capsys, action):
    out = tmp_path / "out"
    code = evaluate(*action, *trees, "--out", out, "--resamples", 100, "--markdown", tmp_path / "page.md")
    printed = capsys.readouterr()
    assert code == 1
    assert "no result for sub-03" in printed.err
    assert printed.out.splitlines()[0].split()[:4] == ["participant", "session", "true", "found"]
    assert "0.50 (0.00–1.00)" in printed.out
    scores = pd.read_csv(out / "scores.tsv", sep="\t")
    everything = scores.query("match == 'overlap' and scans == 'all' and size == 'counted' and region == 'all'")
    assert everything[["sensitivity", "precision", "dice", "false_per_scan"]].values.tolist() == [[0.5] * 4]
    assert len(pd.read_csv(out / "lesions.tsv", sep="\t").query("match == 'distance'")) == 4
    for name in ("scores", "scans", "lesions"):
        columns = pd.read_csv(out / f"{name}.tsv", sep="\t").columns
        described = json.loads((out / f"{name}.json").read_text())
        assert set(described) == {*columns, "EvaluationSettings"}
        assert described["EvaluationSettings"]["resamples"] == 100
    page = (tmp_path / "page.md").read_text()
    assert "| deep GM | 2 | 1 | 1 | 0 | 0.50 (0.00–1.00) | 1.00 (0.21–1.00) |" in page


def test_one_rule_alone(trees, capsys):
    evaluate(*trees, "--match", "distance")
    printed = capsys.readouterr().out
    assert "matched by distance" in printed
    assert "overlap" not in printed


def test_same_bytes_every_time(trees, tmp_path):
    for name in ("first", "second"):
        evaluate(*trees, "--out", tmp_path / name)
    for path in sorted((tmp_path / "first").iterdir()):
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()


@pytest.mark.parametrize(
    "options",
    [["--minimum-diameter", "-1"], ["--resamples", "many"], ["--level", "95"], ["--maximum-distance", "0"]],
)
def test_impossible_numbers_are_usage_errors(trees, capsys, options):
    with pytest.raises(SystemExit, match="2"):
        evaluate(*trees, *options)
    assert options[0] in capsys.readouterr().err


def test_errors_name_the_way_out(trees, tmp_path, capsys):
    assert evaluate(trees[0], tmp_path / "nowhere") == 18
    assert capsys.readouterr().err.startswith("mbseg failed: no sub-*_space-T2starw_seg-CMB_dseg.nii.gz")
    (tmp_path / "file").write_text("")
    assert evaluate(*trees, "--out", tmp_path / "file") == 73


def test_a_tree_can_have_the_name_of_a_command(trees, tmp_path, monkeypatch):
    trees[0].rename(tmp_path / "train")
    monkeypatch.chdir(tmp_path)
    assert evaluate("train", "result") == 1
