"""Two worlds of small trees, counts done by hand."""

from pathlib import Path

import pytest
from derivative_trees import write_lesions

from mbseg_bids.cli import workbench
from mbseg_bids.errors import UsageError
from mbseg_bids.evaluation.intervals import Bootstrap
from mbseg_bids.evaluation.tables import sidecar
from mbseg_bids.evaluation.worlds import World, parse_world, score_worlds, summary


@pytest.fixture
def worlds(tmp_path):
    """``home``: two of two found. ``away``: one of two, one false; and one false in a lesion-free scan."""
    thick = {"spacing": (2.0, 2.0, 5.0)}
    truth, result = tmp_path / "home" / "truth", tmp_path / "home" / "result"
    for tree in (truth, result):
        write_lesions(tree, "sub-01", {1: [(0, 0, 0)]}, {1: "deep_gm"})
        write_lesions(tree, "sub-02", {1: [(1, 1, 1)]}, {1: "deep_gm"}, **thick)
    home = World("home", truth, result)
    truth, result = tmp_path / "away" / "truth", tmp_path / "away" / "result"
    write_lesions(truth, "sub-01", {1: [(0, 0, 0)], 2: [(3, 3, 3)]}, {1: "deep_gm", 2: "deep_gm"})
    write_lesions(result, "sub-01", {1: [(0, 0, 0)], 2: [(0, 3, 0)]}, {1: "deep_gm", 2: "deep_gm"})
    write_lesions(truth, "sub-02", {}, {})
    write_lesions(result, "sub-02", {1: [(2, 2, 2)]}, {1: "deep_gm"})
    return [home, World("away", truth, result)]


def test_the_worst_world_comes_first_whatever_the_order(worlds):
    for order in (worlds, worlds[::-1]):
        scores, missing = score_worlds(order)
        assert list(dict.fromkeys(scores["world"])) == ["away", "home"]
        assert missing == {"home": (), "away": ()}


def test_each_world_has_its_row_and_thick_slices_another(worlds):
    table = summary(score_worlds(worlds, bootstrap=Bootstrap(resamples=50))[0])
    assert table[["world", "scans"]].to_numpy().tolist() == [["away", "all"], ["home", "all"], ["home", "thick_slices"]]
    away, home, thick = (row for _, row in table.iterrows())
    assert (away["n_truth"], away["n_detected"], away["n_false"], away["sensitivity"]) == (2, 1, 2, 0.5)
    assert away["precision"] == pytest.approx(1 / 3)
    assert away["false_per_free_scan"] == 1.0
    assert (home["sensitivity"], home["precision"]) == (1.0, 1.0)
    assert (thick["n_scans"], thick["n_truth"]) == (1, 1)
    assert home.isna()["false_per_free_scan"]
    assert away["false_per_free_scan_low"] < 1 < away["false_per_free_scan_high"]
    assert "false_per_free_scan" in sidecar(table)


def test_two_worlds_of_one_name_are_refused(worlds):
    with pytest.raises(UsageError, match="same name"):
        score_worlds([worlds[0], worlds[0]])


@pytest.mark.parametrize("text", ["", "name", "name=truth", "=truth,result", "name=truth,", "name=,result"])
def test_what_names_no_world_is_refused(text):
    with pytest.raises(UsageError, match="is no world"):
        parse_world(text)


def test_a_world_is_read_from_its_text():
    assert parse_world("other simulator=a/b,c d/e") == World("other simulator", Path("a/b"), Path("c d/e"))


def test_the_command_prints_and_writes_the_table(worlds, tmp_path, capsys):
    texts = [f"{world.name}={world.truth_tree},{world.result_tree}" for world in worlds]
    markdown = tmp_path / "worlds.md"
    code = workbench.main(
        ["evaluate", "worlds", *texts, "--out", str(tmp_path / "out"), "--markdown", str(markdown), "--resamples", "20"]
    )
    assert code == 0
    printed = capsys.readouterr().out
    assert printed.index("away") < printed.index("home")
    assert markdown.read_text().splitlines()[2].startswith("| away")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "worlds.tsv", "worlds.json", "scores.tsv", "scores.json"
    }  # fmt: skip
