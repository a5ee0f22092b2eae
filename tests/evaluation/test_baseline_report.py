import pandas as pd
import pytest

from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.evaluation.baseline_report import draw_figure, pool_patches, pool_scans, read_results, to_markdown


@pytest.fixture
def scans():
    rows = [
        ("a", "U-Net", 32, "1/16", 10, 8, 6, 9, 6, 50.0),
        ("b", "U-Net", 32, "1/16", 10, 2, 2, 3, 2, 50.0),
        ("a", "U-Net", 32, "1", 10, 8, 4, 4, 4, 1.0),
        ("a", "U-Net", 256, "1", 10, 8, 0, 0, 0, 0.5),
        ("a", "ResNet-50", 28, "n/a", 10, 8, 8, 10, 8, 40.0),
    ]
    names = ["scan", "network", "patch_size", "stride", "n_slices", "n_truth", "n_detected", "n_predicted"]
    table = pd.DataFrame(rows, columns=[*names, "n_correct", "cpu_seconds"])
    return table.assign(wall_seconds=table["cpu_seconds"] * 2, voxel_dice=0.5)


@pytest.fixture
def patches():
    return pd.DataFrame({"scan": ["a", "b"], "patch_size": [32, 32], "n_lesions": [8, 2], "n_found": [7, 2]})


def test_scans_are_pooled_by_network_window_and_stride(scans):
    table = pool_scans(scans)
    assert table["stride"].tolist() == ["n/a", "1", "1", "1/16"]
    assert table["patch_size"].tolist() == [28, 256, 32, 32]
    overlapping = table.iloc[3]
    assert (overlapping["n_scans"], overlapping["n_truth"]) == (2, 10)
    assert overlapping["sensitivity"] == pytest.approx(0.8)
    assert overlapping["precision"] == pytest.approx(8 / 12)
    assert overlapping["false_per_scan"] == pytest.approx(2)
    assert overlapping["seconds_per_slice"] == pytest.approx(5)


def test_what_evaluate_wrote_is_read_pooled_and_printed(scans, patches, tmp_path):
    for name, rows in (("one", scans[:3]), ("two", scans[3:])):
        (tmp_path / name).mkdir()
        rows.to_csv(tmp_path / name / "scans.tsv", sep="\t", index=False)
    patches.to_csv(tmp_path / "one" / "patches.tsv", sep="\t", index=False)
    read, of_patches = read_results([tmp_path / "one", tmp_path / "two"])
    pd.testing.assert_frame_equal(pool_scans(read), pool_scans(scans))
    by_patch = pool_patches(of_patches)
    assert by_patch["sensitivity"].tolist() == [0.9]
    text = to_markdown(pool_scans(read), by_patch)
    assert "| U-Net | 256 | 1 | 1 | 8 | 0 | 0.00 | n/a | 0.0 | 0.05 |" in text
    assert "| 32 | 10 | 9 | 0.90 |" in text
    assert draw_figure(pool_scans(read), by_patch).startswith(b"\x89PNG")


def test_a_picture_without_any_u_net_is_empty_but_there(scans, tmp_path):
    only = pool_scans(scans[scans["network"] == "ResNet-50"])
    assert draw_figure(only, pool_patches(pd.DataFrame(columns=["scan", "patch_size", "n_lesions", "n_found"])))


def test_a_folder_without_results_and_a_table_without_a_column_are_refused(scans, tmp_path):
    with pytest.raises(UnreadableDataError, match=r"scans\.tsv"):
        read_results([tmp_path])
    scans.drop(columns="n_truth").to_csv(tmp_path / "scans.tsv", sep="\t", index=False)
    with pytest.raises(UnreadableDataError, match="lacks n_truth"):
        read_results([tmp_path])
