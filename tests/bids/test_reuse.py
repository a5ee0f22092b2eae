import pytest

from mbseg_bids.bids.reuse import check_reuse_folders, find_reusable, without_t1w
from mbseg_bids.errors import UsageError


@pytest.fixture
def touch(tmp_path):
    def make(name):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return path

    return make


def test_nothing_to_reuse(tmp_path):
    assert find_reusable("01", None, {"x": tmp_path}, tmp_path) == {}


def test_smriprep_names_are_found_in_t1w_space_only(tmp_path, touch):
    aseg = touch("smriprep/sub-01/anat/sub-01_desc-aseg_dseg.nii.gz")
    t1w = touch("smriprep/sub-01/anat/sub-01_desc-preproc_T1w.nii.gz")
    touch("smriprep/sub-01/anat/sub-01_space-MNI152NLin2009cAsym_desc-brain_mask.nii.gz")
    found = find_reusable("01", None, {"smriprep": tmp_path / "smriprep"})
    assert found == {"aseg": aseg, "t1w_aseg_space": t1w}


def test_the_session_is_preferred_to_the_participant(tmp_path, touch):
    touch("d/sub-01/anat/sub-01_desc-brain_mask.nii.gz")
    of_session = touch("d/sub-01/ses-2/anat/sub-01_ses-2_desc-brain_mask.nii.gz")
    assert find_reusable("01", "2", {"d": tmp_path / "d"})["brain_mask"] == of_session


def test_the_first_derivatives_win_and_aseg_keeps_its_own_t1w(tmp_path, touch):
    first = touch("a/sub-01/anat/sub-01_desc-aseg_dseg.nii.gz")
    touch("b/sub-01/anat/sub-01_desc-aseg_dseg.nii.gz")
    touch("b/sub-01/anat/sub-01_desc-preproc_T1w.nii.gz")
    mask = touch("b/sub-01/anat/sub-01_label-WMH_mask.nii.gz")
    found = find_reusable("01", None, {"a": tmp_path / "a", "b": tmp_path / "b"})
    assert found == {"aseg": first, "wmh_mask": mask}


def test_freesurfer_subjects_by_any_of_their_names(tmp_path, touch):
    for name in ("sub-01_ses-2", "sub-01", "01"):
        aseg, t1w = touch(f"fs{name}/{name}/mri/aseg.mgz"), touch(f"fs{name}/{name}/mri/T1.mgz")
        assert find_reusable("01", "2", {}, tmp_path / f"fs{name}") == {"aseg": aseg, "t1w_aseg_space": t1w}


def test_real_freesurfer_subject(shared_data):
    found = find_reusable("subjA", None, {}, shared_data / "freesurfer")
    assert found["aseg"].name == "aparc.a2009s+aseg.mgz"
    assert found["t1w_aseg_space"].name == "norm.mgz"


def test_folders_must_exist(tmp_path):
    with pytest.raises(UsageError, match="--derivatives x"):
        check_reuse_folders({"x": tmp_path / "no"}, None)
    with pytest.raises(UsageError, match="--fs-subjects-dir"):
        check_reuse_folders({}, tmp_path / "no")


def test_without_a_t1w_only_an_aseg_that_brings_its_t1w_is_reused(tmp_path):
    files = {role: tmp_path / role for role in ("aseg", "t1w_aseg_space", "brain_mask", "wmh_mask")}
    kept, (warning,) = without_t1w(files)
    assert kept == {role: files[role] for role in ("aseg", "t1w_aseg_space")}
    assert warning.endswith("where it lies: brain_mask, wmh_mask")
    assert without_t1w({"aseg": files["aseg"]})[0] == {}
    assert without_t1w({}) == ({}, [])
