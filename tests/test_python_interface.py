"""``mbseg_bids.segment``: what goes in, what comes out, and how it fails. Anatomy and detection are stand-ins."""

import gc
import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

import mbseg_bids
from mbseg_bids import Segmentation, errors, segmentation
from mbseg_bids.settings import DetectionSettings, Settings


@pytest.fixture
def t2star(save_image, tmp_path):
    return save_image(tmp_path / "in" / "scan.nii.gz")


def test_images_tables_and_summary(commands, t2star):
    found = mbseg_bids.segment(t2star)
    assert found.n_lesions == len(found.lesions) == len(found.candidates) == 1
    assert found.lesions.loc[0, "region"] == "deep_gm"
    for image in (found.mask, found.labels, found.candidate_labels, found.probability, found.brain, found.regions):
        np.testing.assert_array_equal(image.affine, nib.load(t2star).affine)
        assert image.shape == nib.load(t2star).shape
    assert np.argwhere(found.mask.get_fdata()).tolist() == [[2, 3, 1], [2, 3, 2]]
    assert "no T2w" in found.warnings[0]
    assert found.methods.startswith("# Methods")
    assert found.report().read_text().startswith("<!DOCTYPE html>")


def test_images_outlive_the_temporary_folder(commands, t2star):
    found = mbseg_bids.segment(t2star)
    folder, mask = found.folder, found.mask
    assert folder.is_dir()
    del found
    gc.collect()
    assert not folder.exists()
    assert mask.get_fdata().sum() == 2


def test_saved_results_are_read_again(commands, t2star, tmp_path):
    found = mbseg_bids.segment(t2star)
    copies = found.save(tmp_path / "kept")
    assert {path.name for path in copies} == {path.name for path in found.folder.iterdir()}
    again = Segmentation.read(tmp_path / "kept", "scan")
    assert again.lesions.equals(found.lesions)
    assert again.report(tmp_path / "page.html").read_bytes() == found.report().read_bytes()
    assert [path.name for path in again.save(tmp_path / "twice")] == [path.name for path in copies]
    with pytest.raises(errors.UsageError, match="has no results of other"):
        Segmentation.read(tmp_path / "kept", "other")


def test_saving_takes_no_files_of_other_scans(commands, t2star, save_image, tmp_path):
    mbseg_bids.segment(t2star).save(tmp_path / "kept")
    mbseg_bids.segment(save_image(tmp_path / "scan_2.nii.gz")).save(tmp_path / "kept")
    copies = Segmentation.read(tmp_path / "kept", "scan").save(tmp_path / "alone")
    assert not [path for path in copies if path.name.startswith("scan_2")]


def test_results_of_another_scan_are_not_written_over(commands, t2star, save_image, tmp_path):
    mbseg_bids.segment(t2star).save(tmp_path / "kept")
    another = mbseg_bids.segment(save_image(tmp_path / "another" / "scan.nii.gz"))
    with pytest.raises(errors.CannotWriteError, match="results of another scan"):
        another.save(tmp_path / "kept")


@pytest.mark.parametrize("kind", [np.int16, np.uint8, bool, np.float32, np.float64, np.float16])
def test_an_image_in_memory_is_the_same_as_its_file(commands, tmp_path, rng, kind):
    """Also where a header scales integers: the values that nibabel gives are those that are segmented."""
    values = rng.integers(0, 2 if kind is bool else 100, (8, 9, 5)).astype(kind)
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    of_nifti = kind not in (bool, np.float16)
    image = nib.Nifti1Image(values, affine) if of_nifti else nib.spatialimages.SpatialImage(values, affine)
    path = segmentation._as_file(image, "t2star", tmp_path)
    assert path.name == "t2star.nii"
    np.testing.assert_array_equal(np.asanyarray(nib.load(path).dataobj), values)
    np.testing.assert_array_equal(nib.load(path).affine, affine)


def test_scaled_integers_in_memory_are_written_as_what_they_mean(tmp_path, rng):
    scaled = nib.Nifti1Image(rng.normal(100, 20, (8, 9, 5)), np.eye(4))
    scaled.header.set_data_dtype(np.int16)
    nib.save(scaled, tmp_path / "scaled.nii.gz")
    loaded = nib.load(tmp_path / "scaled.nii.gz")
    path = segmentation._as_file(loaded, "t2star", tmp_path)
    assert path.name == "scaled.nii"
    np.testing.assert_array_equal(nib.load(path).get_fdata(), loaded.get_fdata())


def test_settings_and_device_reach_the_command(commands, t2star):
    found = mbseg_bids.segment(t2star, settings=Settings(detection=DetectionSettings(ratio_threshold=1.3)))
    assert found.summary["settings"]["detection"]["ratio_threshold"] == 1.3
    mbseg_bids.segment(t2star, device="cpu")
    assert commands[-1][-2:] == ["--device", "cpu"]


def test_errors_are_those_of_the_command(commands, t2star, tmp_path):
    with pytest.raises(errors.UnreadableDataError, match=r"none\.nii\.gz cannot be read") as caught:
        mbseg_bids.segment(tmp_path / "none.nii.gz")
    assert caught.value.remedy == "restore the file"
    with pytest.raises(errors.UsageError, match="t1w is a ndarray"):
        mbseg_bids.segment(t2star, t1w=np.zeros((3, 3, 3)))


@pytest.mark.parametrize(
    ("code", "last", "kind", "what"),
    [
        (65, "mbseg failed: a (b) is broken (restore it)", errors.UnreadableDataError, "a (b) is broken"),
        (1, "mbseg failed: x (see the log)", errors.MbsegError, "x"),
        (1, "Traceback", errors.MbsegError, "Traceback"),
        (-9, "", errors.TemporaryError, "the process was stopped by signal 9"),
        (3, "", errors.MbsegError, "exit code 3"),
    ],
)
def test_the_kind_of_an_error_follows_from_the_exit_code(code, last, kind, what):
    error = segmentation._error(code, last)
    assert (type(error), error.what) == (kind, what)


def test_a_process_of_its_own_says_why_it_failed(tmp_path, caplog):
    caplog.set_level("INFO", "mbseg")
    with pytest.raises(errors.UnreadableDataError, match=r"none\.nii\.gz cannot be read"):
        segmentation._run(["segment", str(tmp_path / "none.nii.gz"), "-o", str(tmp_path / "out")])
    assert caplog.messages[-1].startswith("mbseg failed: none.nii.gz cannot be read")


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, json; from mbseg_bids import segment, Segmentation; "
        "print(json.dumps([m for m in ('numpy', 'nibabel', 'pandas', 'torch', 'nipype') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_the_package_has_no_other_names():
    assert set(mbseg_bids.__all__) <= set(dir(mbseg_bids))
    with pytest.raises(AttributeError, match="no attribute 'no_such'"):
        _ = mbseg_bids.no_such
