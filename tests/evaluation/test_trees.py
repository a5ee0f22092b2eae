"""Two small derivative trees, and the command that compares them."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from mbseg_bids.cli import workbench
from mbseg_bids.errors import NothingSelectedError, UnreadableDataError
from mbseg_bids.evaluation.trees import score_trees


def write(tree, stem, voxels, regions=None, affine=None):
    """Write a label map of 4 x 4 x 4 voxels of 8 mm3: ``voxels`` maps a label to one voxel or several."""
    data = np.zeros((4, 4, 4), dtype=np.uint16)
    for label, places in voxels.items():
        for place in places:
            data[place] = label
    parts = stem.split("_")
    folder = tree.joinpath(*[p for p in parts if p.startswith(("sub-", "ses-"))], "anat")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}_space-T2starw_seg-CMB_dseg.nii.gz"
    nib.save(nib.Nifti1Image(data, np.diag([2.0, 2.0, 2.0, 1.0]) if affine is None else affine), path)
    if regions is not None:
        rows = [{"index": label, "name": f"CMB-{label:03d}", "region": region} for label, region in regions.items()]
        table = pd.DataFrame(rows, columns=["index", "name", "region"])
        table.to_csv(str(path).replace(".nii.gz", ".tsv"), sep="\t", index=False)


@pytest.fixture
def trees(tmp_path):
    """Three scans: one hit and one miss; one false; and one that was never run."""
    truth, result = tmp_path / "truth", tmp_path / "result"
    two = {1: [(0, 0, 0)], 2: [(3, 3, 3)]}
    write(truth, "sub-01_ses-1", two, {1: "deep_gm", 2: "cerebral_wm"})
    write(result, "sub-01_ses-1", {1: [(0, 0, 0), (0, 0, 1)]}, {1: "deep_gm"})
    write(truth, "sub-02", {}, {})
    write(result, "sub-02_run-1", {1: [(1, 1, 1)]}, {1: "cortical_gm"})
    write(truth, "sub-03", two, {1: "deep_gm", 2: "cerebral_wm"})
    return truth, result


def test_scores_of_trees(trees):
    score = score_trees(*trees)
    assert score.missing == (("sub-03", "n/a"),)
    pooled = score.pooled()
    assert pooled["all"].counts == (2, 2, 2, 1, 1)
    assert pooled["deep_gm"].counts == (2, 1, 1, 1, 1)
    assert pooled["cerebral_wm"].counts == (2, 1, 0, 0, 0)
    assert pooled["cortical_gm"].false_per_scan == 0.5
    first, second = score.scans
    assert first.lesions["verdict"].tolist() == ["detected", "missed"]
    assert first.lesions["volume_mm3"].tolist() == [8.0, 8.0]
    assert second.lesions[["verdict", "predicted_index", "region"]].values.tolist() == [["false", "1", "cortical_gm"]]


def test_command_prints_writes_and_reports_what_is_missing(trees, tmp_path, capsys):
    code = workbench.main(["evaluate", *map(str, trees), "--out", str(tmp_path / "out")])
    printed = capsys.readouterr()
    assert code == 1
    assert "no result for sub-03" in printed.err
    assert printed.out.splitlines()[0].split()[:4] == ["participant", "session", "region", "true"]
    scores = pd.read_csv(tmp_path / "out" / "scores.tsv", sep="\t")
    row = scores[(scores["participant_id"] == "all") & (scores["region"] == "all")].iloc[0]
    assert (row["sensitivity"], row["precision"], row["dice"], row["false_per_scan"]) == (0.5, 0.5, 0.5, 0.5)
    lesions = pd.read_csv(tmp_path / "out" / "lesions.tsv", sep="\t")
    assert lesions.groupby("participant_id").size().to_dict() == {"sub-01": 2, "sub-02": 1}


def test_lesions_of_exactly_the_smallest_volume_count(trees):
    """Every lesion of the truth has 8 mm3."""
    assert score_trees(*trees, minimum_volume=8.0).pooled()["all"].n_truth == 2
    ignored = score_trees(*trees, minimum_volume=8.1)
    assert ignored.pooled()["all"].counts == (2, 0, 1, 0, 0)
    assert ignored.scans[0].lesions["verdict"].tolist() == ["ignored", "ignored", "ignored"]


def test_refuses_what_cannot_be_compared(trees, tmp_path):
    truth, result = trees
    with pytest.raises(NothingSelectedError):
        score_trees(tmp_path / "nowhere", result)
    with pytest.raises(NothingSelectedError):
        score_trees(truth, tmp_path / "nowhere")
    moved = np.diag([2.0, 2.0, 2.0, 1.0])
    moved[0, 3] = 1.0
    write(result, "sub-03", {}, {}, affine=moved)
    with pytest.raises(UnreadableDataError, match="different grids"):
        score_trees(truth, result)
    write(result, "sub-02_run-2", {}, {})
    with pytest.raises(UnreadableDataError, match="two segmentations"):
        score_trees(truth, result)
