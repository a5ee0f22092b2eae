"""Two small derivative trees with counts done by hand."""

import math

import numpy as np
import pytest
from derivative_trees import write_image, write_lesions

from mbseg_bids.errors import NothingSelectedError, UnreadableDataError
from mbseg_bids.evaluation.intervals import Bootstrap
from mbseg_bids.evaluation.trees import score_trees, spacing_name


@pytest.fixture
def trees(tmp_path):
    """Three scans: one hit and one miss; one false; and one that was never run."""
    truth, result = tmp_path / "truth", tmp_path / "result"
    two = {1: [(0, 0, 0)], 2: [(3, 3, 3)]}
    write_lesions(truth, "sub-01_ses-1", two, {1: "deep_gm", 2: "cerebral_wm"})
    write_lesions(result, "sub-01_ses-1", {1: [(0, 0, 0), (0, 0, 1)]}, {1: "deep_gm"})
    write_lesions(truth, "sub-02", {}, {})
    write_lesions(result, "sub-02_run-1", {1: [(1, 1, 1)]}, {1: "cortical_gm"})
    write_lesions(truth, "sub-03", two, {1: "deep_gm", 2: "cerebral_wm"})
    return truth, result


def row(frame, **where):
    """The one row of a table with these values; match, scans, spacing, size, region as a reader would expect them."""
    usual = {"match": "overlap", "scans": "all", "size": "counted", "region": "all"}
    usual |= {} if "participant_id" in frame else {"spacing": "all"}
    for column, value in (usual | where).items():
        if column in frame:
            frame = frame[frame[column] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def counts(found):
    return tuple(int(found[f"n_{name}"]) for name in ("scans", "truth", "predicted", "detected", "correct"))


def test_pooled_scores(trees):
    score = score_trees(*trees)
    assert score.missing == (("sub-03", "n/a"),)
    pooled = score.pooled()
    everything = row(pooled)
    assert counts(everything) == (2, 2, 2, 1, 1)
    assert (everything["n_missed"], everything["n_false"]) == (1, 1)
    assert everything[["sensitivity", "precision", "dice", "false_per_scan"]].tolist() == [0.5] * 4
    assert counts(row(pooled, region="deep_gm")) == (2, 1, 1, 1, 1)
    assert counts(row(pooled, region="cerebral_wm")) == (2, 1, 0, 0, 0)
    assert row(pooled, region="cortical_gm")["false_per_scan"] == 0.5
    assert counts(row(pooled, region="brainstem")) == (2, 0, 0, 0, 0)
    assert "unassigned" not in set(pooled["region"])
    assert counts(row(pooled, match="distance")) == (2, 2, 2, 1, 1)


def test_lesion_free_scans_apart(trees):
    pooled = score_trees(*trees).pooled()
    free, others = row(pooled, scans="lesion_free"), row(pooled, scans="with_lesions")
    assert counts(free) == (1, 0, 1, 0, 0)
    assert math.isnan(free["sensitivity"])
    assert free["false_per_scan"] == 1.0
    assert counts(others) == (1, 2, 1, 1, 1)
    assert others["false_per_scan"] == 0.0


def test_voxel_dice(trees):
    """Scan 1: 2 true voxels, 2 found, 1 common: 0.5. Scan 2: nothing common of 1: 0."""
    score = score_trees(*trees)
    found = row(score.pooled())
    assert found[["n_voxels_truth", "n_voxels_predicted", "n_voxels_common"]].tolist() == [2, 3, 1]
    assert found["voxel_dice"] == pytest.approx(2 / 5)
    assert found["voxel_dice_mean"] == pytest.approx(0.25)
    assert math.isnan(row(score.pooled(), region="deep_gm")["voxel_dice"])
    scans = score.scans()
    assert row(scans, participant_id="sub-01")["voxel_dice"] == 0.5
    assert row(scans, participant_id="sub-02")["voxel_dice"] == 0.0


def test_every_lesion_has_its_row(trees):
    lesions = score_trees(*trees, rules=["overlap"]).lesions
    shown = lesions[["participant_id", "segmentation", "index", "verdict", "partners", "region"]].values.tolist()
    assert shown == [
        ["sub-01", "truth", 1, "detected", "1", "deep_gm"],
        ["sub-01", "truth", 2, "missed", "n/a", "cerebral_wm"],
        ["sub-01", "result", 1, "correct", "1", "deep_gm"],
        ["sub-02", "result", 1, "false", "n/a", "cortical_gm"],
    ]
    assert lesions["volume_mm3"].tolist() == [8.0, 8.0, 16.0, 8.0]
    assert lesions["size_class"].tolist() == ["medium", "medium", "large", "medium"]
    assert lesions[["x_mm", "y_mm", "z_mm"]].values.tolist()[1:3] == [[6.0, 6.0, 6.0], [0.0, 0.0, 1.0]]


def test_size_classes_go_by_each_lesions_own_volume(trees):
    """The found lesion of 16 mm3 is large, the true one it covers, of 8 mm3, is medium."""
    pooled = score_trees(*trees).pooled()
    assert counts(row(pooled, size="medium")) == (2, 2, 1, 1, 0)
    assert counts(row(pooled, size="large")) == (2, 0, 1, 0, 1)
    assert counts(row(pooled, size="small")) == (2, 0, 0, 0, 0)


def test_lesions_of_exactly_the_smallest_size_count(trees):
    """Every true lesion has 8 mm3, a sphere of 2.4814 mm."""
    for limits in ({"minimum_volume": 8.0}, {"minimum_diameter": 2.4814}):
        assert counts(row(score_trees(*trees, **limits).pooled())) == (2, 2, 2, 1, 1)
    for limits in ({"minimum_volume": 8.1}, {"minimum_diameter": 2.49}, {"minimum_diameter": 2, "minimum_volume": 9}):
        score = score_trees(*trees, **limits)
        assert counts(row(score.pooled())) == (2, 0, 1, 0, 0)
        assert score.lesions["verdict"].tolist()[:3] == ["ignored", "ignored", "ignored"]
        assert counts(row(score.pooled(), size="any")) == (2, 2, 2, 1, 1)
        # The scan with two lesions too small to count is not a lesion-free one.
        assert counts(row(score.pooled(), scans="lesion_free")) == (1, 0, 1, 0, 0)


def test_voxel_sizes_apart(trees, tmp_path):
    truth, result = trees
    grid = {"spacing": (0.45, 0.45, 4.0)}
    write_lesions(truth, "sub-04", {1: [(0, 0, 0)]}, {1: "deep_gm"}, **grid)
    write_lesions(result, "sub-04", {1: [(0, 0, 0)]}, {1: "deep_gm"}, **grid)
    pooled = score_trees(truth, result).pooled()
    assert pooled["spacing"].drop_duplicates().tolist() == ["all", "0.45x0.45x4", "2x2x2"]
    assert counts(row(pooled, spacing="0.45x0.45x4")) == (1, 1, 1, 1, 1)
    assert counts(row(pooled, spacing="2x2x2")) == (2, 2, 2, 1, 1)


def test_spacing_has_one_name_whatever_the_orientation():
    assert spacing_name((3.0, 1.0, 0.98)) == spacing_name((1.0, 1.01, 3.0)) == "1x1x3"
    assert spacing_name((0.4492, 0.4492, 4.0)) == "0.45x0.45x4"


def test_one_participant_at_a_time_adds_up_to_all(trees, tmp_path):
    """Batch against single: the counts of each participant scored alone are those scored together."""
    truth, result = trees
    together = score_trees(truth, result).counts
    for participant in ("sub-01", "sub-02"):
        alone = tmp_path / f"alone-{participant}"
        alone.mkdir()
        (alone / participant).symlink_to(result / participant)
        single = score_trees(truth, alone).counts
        assert single["participant_id"].unique().tolist() == [participant]
        expected = together[together["participant_id"] == participant]
        assert single.values.tolist() == expected.values.tolist()


def test_intervals_are_the_same_whatever_the_participants_are_called(tmp_path):
    """Four participants, then the same ones in another order: identical rows."""
    hits = [2, 0, 1, 2]
    tables = []
    for order in ([0, 1, 2, 3], [3, 2, 0, 1]):
        trees = [tmp_path / f"{name}-{order[0]}" for name in ("truth", "result")]
        for name, who in enumerate(order):
            places = {1: [(0, 0, 0)], 2: [(3, 3, 3)]}
            write_lesions(trees[0], f"sub-{name}", places, {1: "deep_gm", 2: "deep_gm"})
            write_lesions(trees[1], f"sub-{name}", {k: places[k] for k in range(1, hits[who] + 1)}, {})
        tables.append(row(score_trees(*trees).pooled(Bootstrap(4000))))
    assert tables[0]["sensitivity"] == tables[1]["sensitivity"] == 5 / 8
    for end in ("sensitivity_low", "sensitivity_high"):
        assert tables[0][end] == pytest.approx(tables[1][end], abs=0.13)


def test_regions_come_from_a_region_map_where_no_table_has_them(tmp_path):
    """A reader's mask without a table: components are lesions, the result's region map says where they are."""
    truth, result = tmp_path / "truth", tmp_path / "result"
    write_lesions(truth, "sub-01", {1: [(0, 0, 0), (3, 3, 3)]}, ending="label-CMB_mask")
    write_lesions(result, "sub-01", {1: [(0, 0, 0)]}, {1: "deep_gm"})
    regions = np.zeros((4, 4, 4), np.uint8)
    regions[:2], regions[2:] = 2, 6
    write_image(result, "sub-01", "seg-regions_dseg", regions)
    pooled = score_trees(truth, result).pooled()
    assert counts(row(pooled)) == (1, 2, 1, 1, 1)
    assert counts(row(pooled, region="deep_gm")) == (1, 1, 1, 1, 1)
    assert counts(row(pooled, region="brainstem")) == (1, 1, 0, 0, 0)


def test_segmentation_is_preferred_to_mask(trees):
    truth, result = trees
    write_lesions(truth, "sub-02", {1: [(2, 2, 2)]}, ending="label-CMB_mask")
    assert counts(row(score_trees(truth, result).pooled())) == (2, 2, 2, 1, 1)


class TestRefuses:
    """What cannot be compared is an error that names the file and the way out."""

    def test_trees_without_segmentations(self, trees, tmp_path):
        truth, result = trees
        with pytest.raises(NothingSelectedError, match="nowhere"):
            score_trees(tmp_path / "nowhere", result)
        with pytest.raises(NothingSelectedError, match="nowhere"):
            score_trees(truth, tmp_path / "nowhere")

    def test_trees_that_share_no_scan(self, trees, tmp_path):
        write_lesions(tmp_path / "other", "sub-99", {}, {})
        with pytest.raises(NothingSelectedError, match=r"share no scan: sub-01 ses-1, sub-02, sub-03 .* sub-99"):
            score_trees(trees[0], tmp_path / "other")

    @pytest.mark.parametrize("change", ["moved", "cut"])
    def test_other_grids_before_anything_is_read(self, trees, change):
        truth, result = trees
        moved = np.diag([2.0, 2.0, 2.0, 1.0])
        moved[0, 3] = 1.0
        grid = {"affine": moved} if change == "moved" else {"shape": (4, 4, 3)}
        write_lesions(result, "sub-03", {}, {}, **grid)
        done = []
        with pytest.raises(UnreadableDataError, match="different grids"):
            score_trees(truth, result, progress=lambda *count: done.append(count))
        assert not done

    def test_two_segmentations_of_one_scan(self, trees):
        truth, result = trees
        write_lesions(result, "sub-02_run-2", {}, {})
        with pytest.raises(UnreadableDataError, match="two segmentations"):
            score_trees(truth, result)

    @pytest.mark.parametrize("value", [0.5, -1.0, math.nan])
    def test_labels_that_are_no_labels(self, trees, value):
        truth, result = trees
        data = np.zeros((4, 4, 4), np.float32)
        data[0, 0, 0] = value
        write_image(truth, "sub-02", "seg-CMB_dseg", data)
        with pytest.raises(UnreadableDataError, match="no label map"):
            score_trees(truth, result)

    def test_whole_numbers_stored_as_float_are_labels(self, trees):
        truth, result = trees
        data = np.zeros((4, 4, 4), np.float32)
        data[1, 1, 1] = 1
        write_image(truth, "sub-02", "seg-CMB_dseg", data)
        assert counts(row(score_trees(truth, result).pooled())) == (2, 3, 2, 2, 2)

    def test_truncated_image(self, trees):
        truth, result = trees
        path = next(result.glob("sub-01/**/*_dseg.nii.gz"))
        path.write_bytes(path.read_bytes()[:60])
        with pytest.raises(UnreadableDataError, match="cannot read"):
            score_trees(truth, result)

    def test_a_mask_that_calls_itself_a_segmentation(self, trees):
        truth, result = trees
        write_lesions(truth, "sub-04", {1: [(0, 0, 0), (3, 3, 3)]})
        write_lesions(result, "sub-04", {}, {})
        with pytest.raises(UnreadableDataError, match="2 separate pieces"):
            score_trees(truth, result)

    def test_a_table_without_labels(self, trees):
        truth, result = trees
        next(truth.glob("sub-01/**/*.tsv")).write_text("name\tregion\nCMB-001\tdeep_gm\n")
        with pytest.raises(UnreadableDataError, match="no column index"):
            score_trees(truth, result)
