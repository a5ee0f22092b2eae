import numpy as np
import pytest

from mbseg_bids.errors import UnreadableDataError, UsageError
from mbseg_bids.learning.examples.labelled_scan import from_case, load_scan, save_scan, scan_files


def test_a_scan_comes_back_from_its_file(make_scan, tmp_path):
    scan = make_scan("a_b")
    read = load_scan(save_scan(tmp_path, scan))
    assert (read.name, read.spacing) == ("a_b", scan.spacing)
    for name in ("levels", "lesions", "mimics", "tissue", "regions", "brain", "affine"):
        np.testing.assert_array_equal(getattr(read, name), getattr(scan, name))
    assert read.brain.dtype == bool


def test_a_case_is_stored_to_a_255th(make_scan):
    case = make_scan().as_case()
    case.stack[:] = np.random.default_rng(0).uniform(0, 100, case.stack.shape)
    np.testing.assert_allclose(from_case(case, "x").stack, case.stack, atol=100 / 255 / 2 + 1e-4)


def test_targets_lie_in_the_brain(make_scan):
    scan = make_scan()
    assert (scan.target("csf") == ((scan.tissue == 1) & scan.brain)).all()
    assert (scan.target("microbleed") == (scan.lesions > 0)).all()
    with pytest.raises(ValueError, match="csf and microbleed"):
        scan.target("vein")


def test_slices_stay_where_they_are_in_the_world(make_scan):
    scan = make_scan(shape=(30, 30, 6))
    some = scan.slices(slice(1, 6, 2))
    assert some.levels.shape == (3, 30, 30, 3)
    assert some.spacing == (1.0, 1.0, 6.0)
    np.testing.assert_array_equal(some.lesions[:, :, 2], scan.lesions[:, :, 5])
    np.testing.assert_allclose(some.affine @ [4, 5, 2, 1], scan.affine @ [4, 5, 5, 1])
    with pytest.raises(UsageError, match="slices 0 to 5"):
        scan.slices(slice(6, 9))


def test_files_that_are_no_scans_are_refused(make_scan, tmp_path):
    (tmp_path / "text.npz").write_text("no scan")
    np.savez(tmp_path / "other.npz", stack=np.zeros((3, 2, 2, 2), np.uint8))
    objects = {name: np.array([{}], dtype=object) for name in ("stack", "lesions", "mimics", "tissue", "regions")}
    np.savez(tmp_path / "pickle.npz", **objects, brain=0, spacing=0, affine=0)
    for name in ("text", "other", "pickle", "missing"):
        with pytest.raises(UnreadableDataError, match=f"{name}.npz"):
            load_scan(tmp_path / f"{name}.npz")
    path = save_scan(tmp_path, make_scan("grids"))
    with np.load(path) as file:
        arrays = dict(file) | {"brain": np.ones((2, 2, 2), bool)}
    np.savez(path, **arrays)
    with pytest.raises(UnreadableDataError, match="different grids"):
        load_scan(path)


def test_folders_stand_for_their_scans(make_scan, tmp_path):
    for name in ("b", "a"):
        save_scan(tmp_path / "scans", make_scan(name))
    assert [p.name for p in scan_files([tmp_path / "scans", tmp_path / "c.npz"])] == ["a.npz", "b.npz", "c.npz"]
    with pytest.raises(UsageError, match=r"no \.npz scans"):
        scan_files([tmp_path])
