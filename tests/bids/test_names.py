"""Names of images as they come in datasets: which is taken, which is not, and what is said."""

import json

import pytest

from mbseg_bids.bids.inputs import find_sessions, suggestion
from mbseg_bids.bids.names import merge_echoes
from mbseg_bids.errors import NothingSelectedError
from mbseg_bids.settings import InputSettings

TWO = ("sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T2w.nii.gz")
BIOBANK = ("part-mag_GRE", "part-phase_GRE", "coil-1_part-mag_GRE", "coil-1_part-phase_GRE", "swi", "minIP")


def session_of(make_dataset, *names, **options):
    (session,) = find_sessions(make_dataset(*TWO, *(f"sub-01/{name}.nii.gz" for name in names)), **options)
    return session


def t2star(session):
    return session.images["T2starw"].path.name.split(".")[0]


def test_magnitude_comes_before_swi_and_the_plan_says_so(make_dataset):
    session = session_of(make_dataset, *(f"swi/sub-01_{name}" for name in BIOBANK))
    assert t2star(session) == "sub-01_part-mag_GRE"
    reason = "preferred by its name to 1 other; T2* magnitude comes before susceptibility-weighted images"
    assert session.images["T2starw"].reason == reason
    (warning,) = session.warnings
    assert warning.startswith("phase: sub-01_part-phase_GRE.nii.gz is not used: no sidecar says")


def test_swi_is_taken_where_only_single_coils_have_a_magnitude(make_dataset):
    session = session_of(make_dataset, *(f"swi/sub-01_{name}" for name in BIOBANK[1:]))
    assert t2star(session) == "sub-01_swi"
    assert session.images["T2starw"].reason == "the only one; susceptibility-weighted, there is no T2* magnitude"


def test_single_coils_alone_are_no_image_and_it_is_said(make_dataset):
    session = session_of(make_dataset, *(f"swi/sub-01_{name}" for name in BIOBANK[1:4]))
    assert "sub-01_coil-1_part-mag_GRE.nii.gz is the image of one coil" in session.problem.remedy


def test_who_asks_for_swi_first_gets_it(make_dataset):
    asked = InputSettings(t2star_suffix=("swi", "GRE"))
    session = session_of(make_dataset, *(f"swi/sub-01_{name}" for name in BIOBANK), settings=asked)
    assert t2star(session) == "sub-01_swi"
    assert session.images["T2starw"].reason == "preferred by its name to 1 other"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("T1w", "UNIT1", "rec-denoised_UNIT1"), "sub-02_T1w"),
        (("UNIT1", "rec-denoised_UNIT1", "inv-1_MP2RAGE"), "sub-02_rec-denoised_UNIT1"),
        (("UNIT1",), "sub-02_UNIT1"),
        (("ce-gadolinium_T1w", "UNIT1"), "sub-02_UNIT1"),
    ],
)
def test_unit1_serves_where_there_is_no_t1w(make_dataset, names, expected):
    root = make_dataset(*(f"sub-02/anat/sub-02_{name}.nii.gz" for name in (*names, "T2starw")))
    (session,) = find_sessions(root)
    assert session.images["T1w"].path.name == f"{expected}.nii.gz"
    assert any("uniform image of an MP2RAGE" in warning for warning in session.warnings) == ("UNIT1" in expected)


@pytest.mark.parametrize("contrast", ["T1w", "T2starw"])
def test_contrast_agent_comes_last_and_is_warned_about(make_dataset, contrast):
    def taken(*names):
        others = {"T1w", "T2w", "T2starw"} - {contrast}
        root = make_dataset(*(f"sub-02/anat/sub-02_{name}.nii.gz" for name in (*names, *others)))
        return find_sessions(root)[0]

    alone = taken(f"ce-gd_{contrast}")
    assert alone.problem is None
    (warning,) = alone.warnings
    assert warning.startswith(f"{contrast}: sub-02_ce-gd_{contrast}.nii.gz was made with a contrast agent")
    both = taken(f"ce-gd_{contrast}", contrast)
    assert both.images[contrast].path.name == f"sub-02_{contrast}.nii.gz"
    assert both.warnings == ()


def test_even_swi_without_contrast_agent_comes_before_a_magnitude_with_it(make_dataset):
    assert t2star(session_of(make_dataset, "anat/sub-01_ce-gd_T2starw", "swi/sub-01_swi")) == "sub-01_swi"


@pytest.mark.parametrize(
    ("name", "filters"),
    [
        ("acq-hemo_T2w", {"suffix": "T2w", "acquisition": "hemo"}),
        ("FLASH", {"suffix": "FLASH"}),
        ("acq-swan_rec-norm_GRE2D", {"suffix": "GRE2D", "acquisition": "swan", "reconstruction": "norm"}),
        ("T2Star", {"suffix": "T2Star"}),
    ],
)
def test_a_t2star_under_another_name_is_named_with_a_filter_that_takes_it(make_dataset, name, filters):
    session = session_of(make_dataset, f"anat/sub-01_{name}")
    assert session.problem.what == "sub-01 has no T2starw"
    told = session.problem.remedy
    assert f"sub-01_{name}.nii.gz may be one" in told
    given = json.loads(told[told.index("{") : told.rindex("}") + 1])
    assert given == {"t2starw": filters}
    again = session_of(make_dataset, filters={"T2starw": given["t2starw"]})
    assert t2star(again) == f"sub-01_{name}"


@pytest.mark.parametrize("name", ["T2starmap", "acq-spgre_T1w", "acq-swi_minIP", "part-phase_FLASH", "acq-x_T2w"])
def test_nothing_else_is_named(make_dataset, name):
    assert "may be one" not in session_of(make_dataset, f"anat/sub-01_{name}").problem.remedy


def test_unknown_labels_are_answered_with_those_there_are(make_dataset):
    root = make_dataset(*(f"sub-{label}/ses-v1/anat/sub-{label}_ses-v1_T2starw.nii.gz" for label in ("01", "02")))
    with pytest.raises(NothingSelectedError, match=r"no participant sub-1 .*did you mean 01\? there are 01, 02\)"):
        find_sessions(root, participants=["1"])
    with pytest.raises(NothingSelectedError, match=r"ses-1 .*of sessions, there are v1\)"):
        find_sessions(root, sessions=["1"])
    with pytest.raises(NothingSelectedError, match=r"ses-V1 .*did you mean v1"):
        find_sessions(root, sessions=["V1"])


def test_many_labels_are_not_all_listed():
    known = [f"{n:03d}" for n in range(1, 41)]
    assert suggestion("7", known).startswith("did you mean 007? there are 001, 002")
    assert suggestion("7", known).endswith("010 and 30 more")
    assert suggestion("zz", known).startswith("there are 001")


def test_sentences_about_echoes_become_one():
    nine = [f"sub-01_echo-{n}_MEGRE.nii.gz covers only 21 mm" for n in range(1, 10)]
    assert merge_echoes([*nine, "other"]) == ["sub-01_echo-*_MEGRE.nii.gz covers only 21 mm", "other"]
    assert merge_echoes(nine[:1]) == nine[:1]
