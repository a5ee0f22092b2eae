"""The command line of ``mbseg evaluate``: what it prints, writes and refuses."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from derivative_trees import write_lesions, write_table

from mbseg_bids.cli import workbench
from mbseg_bids.detection.network.resnet import build_network
from mbseg_bids.detection.network.weights import WeightsMetadata, save_weights
from mbseg_bids.learning.examples.patch_set import KINDS, PatchSet


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
    assert evaluate(*trees, *options) == 64
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


def test_agreement_of_two_readers(trees, tmp_path, capsys):
    assert evaluate("agreement", *trees, "--out", tmp_path / "out", "--resamples", 50) == 1
    printed = capsys.readouterr()
    assert "only in one tree: sub-03" in printed.err
    table = pd.read_csv(tmp_path / "out" / "agreement.tsv", sep="\t").iloc[0]
    assert (table["positive_agreement"], table["n_both"]) == (0.5, 2)
    assert set(json.loads((tmp_path / "out" / "agreement.json").read_text())) == {*table.index, "EvaluationSettings"}


def test_calibration_writes_tables_and_figure(trees, tmp_path, capsys):
    for name in ("sub-01", "sub-02"):
        image = write_lesions(trees[1], name, {1: [(0, 0, 0)]}, ending="seg-CMBcandidates_dseg")
        row = {"index": 1, "region": "deep_gm", "lesion_probability": 0.8, "reason": "n/a"}
        write_table(image, pd.DataFrame([row]))
    out = tmp_path / "out"
    assert evaluate("calibration", *trees, "--out", out, "--resamples", 50) == 0
    assert "expected calibration error" in capsys.readouterr().out
    measures = pd.read_csv(out / "calibration.tsv", sep="\t").set_index("measure")["value"]
    assert measures["expected_calibration_error"] == pytest.approx(0.3)
    assert measures["brier_score"] == pytest.approx((0.04 + 0.64) / 2)
    for name in ("calibration", "calibration_bins", "calibration_candidates"):
        columns = pd.read_csv(out / f"{name}.tsv", sep="\t").columns
        assert set(json.loads((out / f"{name}.json").read_text())) == {*columns, "EvaluationSettings"}
    assert (out / "calibration.png").read_bytes().startswith(b"\x89PNG")
    assert b"Share that are microbleeds" in (out / "calibration.svg").read_bytes()

    # The sweep over the same probabilities: both candidates kept up to 0.8, one of them right.
    thresholds = ["--ratio", "--probability", "--lesion-probability", 0.5, 0.8, 0.85]
    assert evaluate("sweep", *trees, "--out", out, *thresholds, "--resamples", 50) == 0
    swept = pd.read_csv(out / "sweep.tsv", sep="\t").query("region == 'all'").set_index("threshold")
    assert swept["n_detected"].to_dict() == {t: int(t <= 0.8) for t in swept.index}
    assert b"Similarity index" in (out / "sweep_lesion_probability.svg").read_bytes()
    assert not (out / "sweep_ratio_threshold.svg").exists()


def test_sweep_refuses_impossible_thresholds(trees, capsys):
    assert evaluate("sweep", *trees, "--probability", "1.2") == 64
    assert evaluate("sweep", *trees, "--probability", "--ratio", "--lesion-probability") == 64
    assert evaluate("sweep", *trees, "--ratio", "1.2", "--probability") == 66
    assert "desc-preproc_T2starw" in capsys.readouterr().err


@pytest.fixture(scope="module")
def tiny_weights(tmp_path_factory):
    """Weights of an untrained network that takes patches of 4 voxels."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(path, build_network(), WeightsMetadata("tiny", patch_size=4, input_size=32))
    return path


def patch_set(path, kinds, size=8):
    n = len(kinds)
    patches = np.random.default_rng(0).integers(0, 255, (n, 3, size, size)).astype(np.uint8)
    numbers = np.array([KINDS[kind] for kind in kinds], np.uint8)
    PatchSet(patches, numbers, np.arange(n) % 3, np.where(numbers == KINDS["lesion"], 8, 0)).save(path)
    return path


def test_patches_through_a_network(tiny_weights, tmp_path, capsys):
    patch_set(tmp_path / "sets" / "one.npz", ["lesion", "lesion", "mimic"])
    patch_set(tmp_path / "sets" / "two.npz", ["background", "lesion", "mimic"])
    out = tmp_path / "out"
    assert evaluate("patches", tmp_path / "sets", "--weights", tiny_weights, "--out", out) == 0
    table = pd.read_csv(out / "patches.tsv", sep="\t").set_index(["measure", "patches"])
    assert table["n_patches"].to_dict() == {
        ("accuracy", "all"): 6,
        ("sensitivity", "all"): 3,
        ("sensitivity", "medium"): 3,
        ("specificity", "all"): 3,
        ("specificity", "background"): 1,
        ("specificity", "mimic"): 2,
        ("balanced_accuracy", "all"): 6,
        ("auc", "all"): 6,
    }
    accuracy = table.loc[("accuracy", "all")]
    assert accuracy["value"] == pytest.approx(accuracy["n_right"] / 6)
    described = json.loads((out / "patches.json").read_text())
    assert described["EvaluationSettings"]["weights"] == "tiny"
    assert set(table.reset_index().columns) <= set(described)


def test_patches_that_cannot_be_scored(tiny_weights, tmp_path, capsys):
    one_class = patch_set(tmp_path / "negatives.npz", ["mimic", "background"])
    small = patch_set(tmp_path / "small.npz", ["mimic", "lesion"], size=3)
    (tmp_path / "empty").mkdir()
    for path, code, text in (
        (one_class, 65, "one class is missing"),
        (small, 65, "too small"),
        (tmp_path / "empty", 66, "no .npz patch set"),
        (tmp_path / "nowhere.npz", 65, "cannot read patches"),
    ):
        assert evaluate("patches", path, "--weights", tiny_weights) == code
        assert text in capsys.readouterr().err
