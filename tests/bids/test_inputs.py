import json

import numpy as np
import pytest

from mbseg_bids.bids.inputs import check_sessions, find_sessions, read_filters
from mbseg_bids.bids.sidecars import sidecar
from mbseg_bids.errors import (
    InvalidDatasetError,
    MissingImageError,
    NothingSelectedError,
    UnreadableDataError,
    UsageError,
)
from mbseg_bids.settings import InputSettings

FULL = ("T1w", "T2w", "T2starw")


def names(session="", participant="01", contrasts=FULL):
    folder = f"sub-{participant}/" + (f"ses-{session}/" if session else "")
    stem = f"sub-{participant}" + (f"_ses-{session}" if session else "")
    return [f"{folder}anat/{stem}_{contrast}.nii.gz" for contrast in contrasts]


def chosen(session):
    return {contrast: image.path.name for contrast, image in session.images.items()}


def test_a_session_with_its_three_images_can_run(make_dataset):
    (session,) = find_sessions(make_dataset(*names()))
    assert session.problem is None
    assert session.label == "sub-01"
    assert chosen(session) == {contrast: f"sub-01_{contrast}.nii.gz" for contrast in FULL}


def test_sessions_are_sorted_and_selected_by_label(make_dataset):
    root = make_dataset(*names("b", "02"), *names("a", "02"), *names("a", "01"))
    assert [s.label for s in find_sessions(root)] == ["sub-01_ses-a", "sub-02_ses-a", "sub-02_ses-b"]
    assert [s.label for s in find_sessions(root, participants=["02"])] == ["sub-02_ses-a", "sub-02_ses-b"]
    assert [s.label for s in find_sessions(root, sessions=["b"])] == ["sub-02_ses-b"]


@pytest.mark.parametrize("missing", FULL)
def test_a_missing_contrast_that_is_required_is_named(make_dataset, missing):
    root = make_dataset(*names(contrasts=[c for c in FULL if c != missing]))
    (session,) = find_sessions(root, settings=InputSettings(required=("T1w", "T2w")))
    assert isinstance(session.problem, MissingImageError)
    assert session.problem.what == f"sub-01 has no {missing}"
    assert ("--require-contrasts" in session.problem.remedy) == (missing != "T2starw")


@pytest.mark.parametrize(
    ("have", "missing", "said"),
    [
        (("T1w", "T2starw"), ("T2w",), ["no T2w: the network saw T2* and T1w only"]),
        (("T2w", "T2starw"), ("T1w",), ["no T1w: the network saw T2* and T2w only", "CSF come from T2w, regions from"]),
        (("T2starw",), ("T2w", "T1w"), ["no T1w and no T2w: the network saw T2* only", "CSF come from T2*, regions"]),
    ],
)
def test_a_session_runs_on_the_contrasts_it_has_and_says_so(make_dataset, have, missing, said):
    (session,) = find_sessions(make_dataset(*names(contrasts=have)))
    assert session.problem is None
    assert session.missing == missing
    assert set(session.contrasts) == set(have)
    assert len(session.warnings) == len(said)
    for sentence, part in zip(session.warnings, said, strict=True):
        assert part in sentence


def test_a_whole_session_warns_of_nothing_and_t2star_is_always_needed(make_dataset):
    root = make_dataset(*names(), *names(participant="02", contrasts=("T1w", "T2w")))
    whole, without = find_sessions(root)
    assert whole.warnings == ()
    assert whole.missing == ()
    assert without.problem.what == "sub-02 has no T2starw"


def test_t1w_of_another_session_serves_and_the_reason_says_so(make_dataset):
    root = make_dataset(*names("1"), *names("2", contrasts=FULL[1:]))
    second = find_sessions(root)[1]
    assert second.problem is None
    assert second.images["T1w"].path.name == "sub-01_ses-1_T1w.nii.gz"
    assert second.images["T1w"].reason == "from ses-1, as this session has none; the only one"


def test_t2w_of_another_session_does_not_serve(make_dataset):
    root = make_dataset(*names("1"), *names("2", contrasts=("T1w", "T2starw")))
    assert find_sessions(root)[1].missing == ("T2w",)


@pytest.mark.parametrize(
    "name",
    [
        "anat/sub-01_T2starw",
        "anat/sub-01_acq-swi_T2starw",
        "anat/sub-01_part-mag_T2starw",
        "anat/sub-01_swi",
        "anat/sub-01_SWI",
        "swi/sub-01_swi",
        "swi/sub-01_part-mag_GRE",
        "anat/sub-01_T2star",
    ],
)
def test_every_known_name_of_a_t2star_image_is_found(make_dataset, name):
    root = make_dataset(*names(contrasts=("T1w", "T2w")), f"sub-01/{name}.nii.gz")
    (session,) = find_sessions(root)
    assert session.problem is None
    assert session.images["T2starw"].path.name == name.split("/")[1] + ".nii.gz"


@pytest.mark.parametrize(
    "name", ["part-phase_T2starw", "acq-mIP_T2starw", "rec-minip_swi", "part-imag_MEGRE", "T2starmap", "acq-x_T2w"]
)
def test_phase_projections_and_maps_are_never_the_t2star_image(make_dataset, name):
    (session,) = find_sessions(make_dataset(*names(contrasts=("T1w", "T2w")), f"sub-01/anat/sub-01_{name}.nii.gz"))
    assert session.problem.what == "sub-01 has no T2starw"


def test_a_t2star_scan_called_t2w_is_not_taken_for_a_t2w(make_dataset):
    (session,) = find_sessions(make_dataset(*names(contrasts=("T1w",)), "sub-01/anat/sub-01_acq-hemo_T2w.nii.gz"))
    assert session.problem.what == "sub-01 has no T2starw"
    assert session.missing == ("T2starw", "T2w")


def test_a_filter_takes_precedence_over_names_and_resolution(make_dataset):
    hemo, fine = "sub-01/anat/sub-01_acq-hemo_T2w.nii.gz", "sub-01/anat/sub-01_acq-fine_T1w.nii.gz"
    root = make_dataset(*names(), hemo, fine, spacing={fine: (0.5, 0.5, 1)})
    filters = {"T2starw": {"suffix": "T2w", "acquisition": "hemo"}, "T1w": {"acquisition": None}}
    (session,) = find_sessions(root, filters=filters)
    assert chosen(session) == {
        "T1w": "sub-01_T1w.nii.gz",
        "T2w": "sub-01_T2w.nii.gz",
        "T2starw": "sub-01_acq-hemo_T2w.nii.gz",
    }
    assert session.images["T2starw"].reason == "the only one the filter selects"


def test_the_name_of_the_t2star_image_can_be_asked_for(make_dataset):
    root = make_dataset(*names(), "sub-01/anat/sub-01_acq-swi_T2starw.nii.gz", "sub-01/swi/sub-01_swi.nii.gz")
    for asked, expected in (("acq-swi_T2starw", "sub-01_acq-swi_T2starw"), ("swi", "sub-01_swi")):
        (session,) = find_sessions(root, settings=InputSettings(t2star_suffix=(asked,)))
        assert session.images["T2starw"].path.name == expected + ".nii.gz"


def test_contrast_enhanced_t1w_comes_last(make_dataset):
    enhanced = "sub-01/anat/sub-01_ce-gadolinium_T1w.nii.gz"
    root = make_dataset(*names(), enhanced, spacing={enhanced: (0.5, 0.5, 0.5)})
    assert chosen(find_sessions(root)[0])["T1w"] == "sub-01_T1w.nii.gz"


def test_echoes_of_one_acquisition_are_one_image(make_dataset):
    echoes = [f"sub-01/anat/sub-01_echo-{n}_part-{part}_MEGRE.nii.gz" for n in (1, 2, 3) for part in ("mag", "phase")]
    root = make_dataset(*names(contrasts=("T1w", "T2w")), *echoes)
    for n, seconds in ((1, 0.005), (2, 0.015), (3, 0.025)):
        (root / f"sub-01/anat/sub-01_echo-{n}_part-mag_MEGRE.json").write_text(json.dumps({"EchoTime": seconds}))
    (session,) = find_sessions(root)
    assert [p.name for p in session.images["T2starw"].paths] == [
        "sub-01_echo-2_part-mag_MEGRE.nii.gz",
        "sub-01_echo-3_part-mag_MEGRE.nii.gz",
    ]


def test_the_phase_beside_the_magnitude_goes_with_the_session(make_dataset):
    phase = "sub-01/anat/sub-01_part-phase_T2starw"
    root = make_dataset(*names(), f"{phase}.nii.gz")
    (root / f"{phase}.json").write_text(json.dumps({"EchoTime": 0.02}))
    (session,) = find_sessions(root)
    assert session.phase is None
    assert any("MagneticFieldStrength" in warning for warning in session.warnings)
    (root / f"{phase}.json").write_text(json.dumps({"EchoTime": 0.02, "MagneticFieldStrength": 3}))
    (session,) = find_sessions(root)
    assert session.phase.paths == (root / f"{phase}.nii.gz",)
    assert check_sessions([session], root)[0].phase == session.phase
    (ignored,) = find_sessions(root, settings=InputSettings(use_phase=False))
    assert ignored.phase is None
    assert not any("phase" in warning for warning in ignored.warnings)


def test_only_the_participants_asked_for_are_indexed(make_dataset, monkeypatch):
    import bids.layout.index as index

    root = make_dataset(*names(participant="01"), *names(participant="010"), *names(participant="02"))
    seen = []
    original = index.BIDSLayoutIndexer._index_file
    monkeypatch.setattr(
        index.BIDSLayoutIndexer, "_index_file", lambda self, f, e: seen.append(f.name) or original(self, f, e)
    )
    find_sessions(root, participants=["01"])
    assert {name.split("_")[0] for name in seen if name.startswith("sub-")} == {"sub-01"}


def test_an_index_on_disk_holds_everybody_and_is_used_again(make_dataset, tmp_path):
    root, database = make_dataset(*names(participant="01"), *names(participant="02")), tmp_path / "db"
    find_sessions(root, participants=["01"], database_dir=database)
    for path in root.glob("sub-02/anat/*"):  # if the index is used, it still knows them
        path.rename(path.with_suffix(".gone"))
    (session,) = find_sessions(root, participants=["02"], database_dir=database)
    assert session.label == "sub-02"


def test_an_empty_dataset_is_invalid_and_an_unknown_participant_selects_nothing(make_dataset):
    with pytest.raises(InvalidDatasetError, match="no participant"):
        find_sessions(make_dataset())
    root = make_dataset(*names())
    with pytest.raises(NothingSelectedError, match="sub-77"):
        find_sessions(root, participants=["77"])
    with pytest.raises(NothingSelectedError, match="ses-x"):
        find_sessions(root, sessions=["x"])


def test_filter_file_ignores_keys_of_other_apps(tmp_path):
    path = tmp_path / "filter.json"
    path.write_text(json.dumps({"bold": {"task": "rest"}, "t1w": {"acquisition": "a"}, "T2starw": {"run": 1}}))
    assert read_filters(path) == {"T1w": {"acquisition": "a"}, "T2starw": {"run": 1}}
    path.write_text("[1, 2]")
    with pytest.raises(UsageError, match="filter file"):
        read_filters(path)


def test_checking_finds_the_damage_and_leaves_good_sessions_alone(make_dataset):
    root = make_dataset(*names(participant="01"), *names(participant="02"))
    path = root / "sub-01/anat/sub-01_T2w.nii.gz"
    path.write_bytes(path.read_bytes()[:-200])
    first, second = check_sessions(find_sessions(root))
    assert isinstance(first.problem, UnreadableDataError)
    assert "sub-01_T2w.nii.gz is truncated" in first.problem.what
    assert second.problem is None


def test_an_image_without_orientation_is_warned_about(make_dataset, save_image):
    import nibabel as nib

    root = make_dataset(*names())
    path = root / "sub-01/anat/sub-01_T2starw.nii.gz"
    image = nib.Nifti1Image(np.random.default_rng(0).normal(100, 20, (8, 8, 4)).astype(np.float32), None)
    nib.save(image, path)
    (session,) = check_sessions(find_sessions(root))
    assert any("states no orientation" in warning for warning in session.warnings)


def test_metadata_are_inherited_and_the_nearest_wins(make_dataset):
    root = make_dataset(*names())
    (root / "T1w.json").write_text(json.dumps({"EchoTime": 1, "Manufacturer": "a"}))
    (root / "sub-01/anat/sub-01_T1w.json").write_text(json.dumps({"EchoTime": 2}))
    (root / "sub-01/anat/sub-01_acq-x_T1w.json").write_text(json.dumps({"EchoTime": 3}))
    assert sidecar(root / names()[0], root) == {"EchoTime": 2, "Manufacturer": "a"}


@pytest.mark.parametrize(
    ("tree", "n_images"), [("ds004332", {"T1w", "T2w", "T2starw"}), ("qmri_megre", {"T2starw"}), ("qmri_qsm", None)]
)
def test_real_names_are_understood(shared_data, tree, n_images):
    sessions = find_sessions(shared_data / "sidecars" / tree)
    for session in sessions:
        images = {contrast: image.path.name for contrast, image in session.images.items()}
        assert n_images is None or set(images) == n_images
        assert "phase" not in images.get("T2starw", "")


def test_real_multi_echo_takes_the_echoes_with_t2star_contrast(shared_data):
    (session,) = find_sessions(shared_data / "sidecars" / "qmri_megre")
    times = [sidecar(p, shared_data / "sidecars" / "qmri_megre")["EchoTime"] for p in session.images["T2starw"].paths]
    assert len(times) > 1
    assert all(0.010 <= time <= 0.045 for time in times)


def test_real_scans_lack_a_contrast_and_it_is_named(shared_data):
    sessions = {s.label: s for s in find_sessions(shared_data / "real")}
    assert sessions["sub-philips"].missing == ("T2w",)
    problems = {label: s.problem.what for label, s in sessions.items() if s.problem is not None}
    assert "sub-philips" not in problems
    assert problems["sub-cstar"] == "sub-cstar has no T2starw"
    assert problems["sub-oms01_ses-2"] == "sub-oms01_ses-2 has no T2starw"


def test_echoes_of_a_slab_are_told_of_once(make_dataset, save_image):
    root = make_dataset(*names(contrasts=("T1w", "T2w")))
    for echo in range(1, 10):
        path = root / f"sub-01/anat/sub-01_echo-{echo}_part-mag_MEGRE.nii.gz"
        save_image(path, shape=(40, 40, 7), spacing=(4.0, 4.0, 3.0))
    (session,) = check_sessions(find_sessions(root))
    (warning,) = [warning for warning in session.warnings if "covers only" in warning]
    assert warning.startswith("sub-01_echo-*_part-mag_MEGRE.nii.gz covers only 21 mm")


@pytest.mark.parametrize(("thickness", "others", "runs"), [(21, (), False), (21, ("T1w",), True), (90, (), True)])
def test_a_slab_without_an_image_of_the_whole_brain_is_refused_with_the_reason(
    make_dataset, save_image, thickness, others, runs
):
    root = make_dataset()
    save_image(root / "sub-01/anat/sub-01_T2starw.nii.gz", shape=(40, 40, thickness // 3), spacing=(4.0, 4.0, 3.0))
    for contrast in others:
        save_image(root / f"sub-01/anat/sub-01_{contrast}.nii.gz", shape=(40, 40, 40), spacing=(4.0, 4.0, 4.0))
    (session,) = check_sessions(find_sessions(root))
    assert (session.problem is None) == runs
    if not runs:
        assert isinstance(session.problem, UnreadableDataError)
        assert session.problem.what.startswith("sub-01_T2starw.nii.gz covers only 21 mm, too little to find brain")
        assert session.problem.remedy == "add a T1w or T2w of the whole brain"
