"""The whole cases spoil what they say, and their table says what they expect. The App itself runs in whole.py only."""

import nibabel as nib
import numpy as np
import pytest
from cases_whole import CONTRASTS, FINE, WHOLE_CASES, ball, masked_phase, upside_down
from place import Ran
from table import WHOLE_MARKS, rows_of, write_rows
from whole import HEAD, TABLE, WholePlace, faults

from mbseg_bids.bids.image_checks import inspect_image

CHANGED = {
    "intact": set(),
    "floats_of_millions": {"T2starw"},
    "all_upside_down": set(CONTRASTS),
    "t2star_upside_down": {"T2starw"},
    "noise": set(CONTRASTS),
    "ball_of_water": set(CONTRASTS),
    "upper_half_only": {"T2starw"},
    "t1w_of_another": {"T1w"},
    "t1w_named_t2w": {"T1w", "T2w"},
    "t1w_named_t2starw": {"T1w", "T2starw"},
    "t2w_named_t2starw": {"T2w", "T2starw"},
    "phase_with_dark_air": {"T2starw"},
}
"""Images of sub-01 that a case replaces."""


@pytest.fixture
def make_place(tmp_path, make_dataset):
    """Return a function that makes the place of a case from two participants of noise, each image unlike the others."""
    names = [f"sub-{who}/anat/sub-{who}_{contrast}.nii.gz" for who in ("01", "02") for contrast in CONTRASTS]
    base = make_dataset(*names, root=tmp_path / "base")
    return lambda case: WholePlace(tmp_path / "at", base, case)


def values(place):
    return {contrast: place.load(contrast).get_fdata() for contrast in CONTRASTS}


@pytest.mark.parametrize("name", WHOLE_CASES)
def test_a_case_replaces_its_images_and_no_others(name, make_place):
    before = values(make_place("intact"))
    place = make_place(name)
    WHOLE_CASES[name].build(place)
    after = values(place)
    changed = {c for c in CONTRASTS if before[c].shape != after[c].shape or not np.array_equal(before[c], after[c])}
    assert changed == CHANGED[name]
    assert sorted(p.name for p in (place.raw / "sub-01/anat").glob("*.nii.gz")) == sorted(
        f"sub-01_{contrast}.nii.gz" for contrast in CONTRASTS
    )
    assert not (place.raw / "sub-02").exists()


def test_half_of_the_slices_stay_where_they_were(make_place):
    whole = make_place("intact").load("T2starw")
    last_slice = whole.get_fdata()[..., -1]  # now: the next place has the same paths
    place = make_place("upper_half_only")
    WHOLE_CASES["upper_half_only"].build(place)
    half = place.load("T2starw")
    top = [image.affine @ [0, 0, image.shape[2] - 1, 1] for image in (whole, half)]
    np.testing.assert_allclose(*top)
    np.testing.assert_array_equal(half.get_fdata()[..., -1], last_slice)


def test_swapped_images_have_each_others_values(make_place):
    before = values(make_place("intact"))
    place = make_place("t1w_named_t2w")
    WHOLE_CASES["t1w_named_t2w"].build(place)
    after = values(place)
    np.testing.assert_array_equal(after["T1w"], before["T2w"])
    np.testing.assert_array_equal(after["T2w"], before["T1w"])


@pytest.mark.parametrize(("stored", "turned"), [("RAS", (1, 2)), ("PSR", (0, 1)), ("LIA", (1, 2)), ("SLP", (0, 2))])
def test_upside_down_turns_about_left_to_right_however_voxels_are_stored(stored, turned):
    image = nib.Nifti1Image(np.arange(24.0).reshape(2, 3, 4), np.eye(4))
    change = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(stored))
    image = image.as_reoriented(change)
    assert "".join(nib.aff2axcodes(image.affine)) == stored
    data = image.get_fdata()
    np.testing.assert_array_equal(upside_down(data, image.affine), np.flip(data, turned))


def test_the_ball_has_its_radius_in_millimetres(rng):
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    made = ball((60, 60, 30), affine, rng, radius=50.0)
    assert np.count_nonzero(made > 500) * 20 == pytest.approx(4 / 3 * np.pi * 50**3, rel=0.03)


def test_phase_with_dark_air_is_not_seen_by_reading_alone(tmp_path, rng):
    """Otherwise the case would not try what is behind the reading."""
    index = np.indices((40, 40, 40)) - 19.5
    magnitude = 100.0 * (np.linalg.norm(index, axis=0) < 18) + rng.random((40, 40, 40))
    phase = masked_phase(magnitude, rng)
    assert phase.min() == 0
    assert 4000 < phase.max() <= 4095
    path = tmp_path / "sub-01_T2starw.nii.gz"
    nib.save(nib.Nifti1Image(phase.astype(np.float32), np.diag([4.0, 4.0, 4.0, 1.0])), path)
    assert inspect_image(path, "T2starw") == []


@pytest.mark.parametrize(
    ("name", "code", "said", "fault"),
    [
        ("intact", 0, ["All checks passed"], ""),
        ("intact", 0, ["Look before use: 1 warning", "something"], "noticed what is not there"),
        ("intact", 65, ["All checks passed"], "exit code 65"),
        ("noise", 0, ["Do not use", "T1w to T2* registration failed its check (...)"], ""),
        ("noise", 65, ["mbseg-bids failed: no brain was found on the T1w image (look)"], "does not say"),
        ("t1w_of_another", 0, ["All checks passed"], "nothing was noticed"),
        ("upper_half_only", 0, ["Look before use: 1 warning", "something"], "does not say"),
    ],
)
def test_what_is_not_as_expected_is_found(name, code, said, fault, make_place):
    ran = Ran(code, "", "mbseg-bids finished: 1 session done\n", make_place(name))
    found = faults(WHOLE_CASES[name], ran, said)
    assert bool(found) is bool(fault)
    assert fault in " ".join(found)


def test_rows_are_written_between_their_marks_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"above\n{WHOLE_MARKS[0]}\nold\n{WHOLE_MARKS[1]}\nbelow\n")
    write_rows(page, WHOLE_MARKS, HEAD, ["| `noise` | x |"])
    assert rows_of(page, WHOLE_MARKS) == {"noise": "| `noise` | x |"}
    text = page.read_text()
    assert "old" not in text
    assert text.startswith("above\n")
    assert text.endswith("below\n")
    with pytest.raises(ValueError, match="no place"):
        write_rows(page, ("<!-- no -->", "<!-- such -->"), HEAD, [])


def test_the_table_says_what_the_cases_expect():
    rows = rows_of(TABLE, WHOLE_MARKS)
    assert set(rows) == set(WHOLE_CASES)
    for name, line in rows.items():
        case = WHOLE_CASES[name]
        said, code = (cell.strip() for cell in line.strip("| ").split(" | ")[2:4])
        assert case.says.replace("T2*", "T2\\*") in said, "docs/robustness.md is out of date: make robustness-whole"
        assert ("All checks passed" in said) is (case.outcome == FINE), name
        assert code == "0" or said.startswith("mbseg-bids failed:"), name
