import json

import pytest

from mbseg_bids.bids.phase_files import find_phase

SIDECAR = {"MagneticFieldStrength": 3, "EchoTime": 0.02, "Units": "rad"}


@pytest.fixture
def dataset(tmp_path):
    """Make empty images with a sidecar each; return their paths."""

    def make(*names, **sidecar):
        folder = tmp_path / "sub-01" / "anat"
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            (folder / f"sub-01_{name}.nii.gz").touch()
            content = {k: v for k, v in (SIDECAR | sidecar).items() if v is not None}
            (folder / f"sub-01_{name}.json").write_text(json.dumps(content))
        return [folder / f"sub-01_{name}.nii.gz" for name in names]

    return make


@pytest.mark.parametrize(
    ("magnitude", "phase"),
    [
        ("T2starw", "part-phase_T2starw"),
        ("part-mag_T2starw", "part-phase_T2starw"),
        ("acq-fl_run-2_part-mag_T2starw", "acq-fl_run-2_part-phase_T2starw"),
        ("acq-fl_part-mag_run-2_T2starw", "acq-fl_run-2_part-phase_T2starw"),
    ],
)
def test_the_phase_of_the_same_acquisition_is_found(dataset, tmp_path, magnitude, phase):
    (chosen, expected) = dataset(magnitude, phase)
    dataset("acq-other_part-phase_T2starw", "run-3_part-phase_T2starw", "part-phase_MEGRE")
    found = find_phase([chosen], tmp_path)
    assert found.paths == (expected,)
    assert (found.field_strength, found.echoes[0].echo_time, found.echoes[0].units) == (3, 0.02, "rad")
    assert not found.problem


@pytest.mark.parametrize("other", ["acq-b_part-phase_T2starw", "run-2_part-phase_T2starw", "part-phase_MEGRE", "T1w"])
def test_the_phase_of_another_acquisition_is_not_taken(dataset, tmp_path, other):
    chosen, _ = dataset("T2starw", other)
    assert find_phase([chosen], tmp_path) is None


def test_each_echo_has_its_own(dataset, tmp_path):
    chosen = dataset("echo-1_part-mag_MEGRE", "echo-2_part-mag_MEGRE", "echo-3_part-mag_MEGRE")
    phases = dataset("echo-1_part-phase_MEGRE", "echo-3_part-phase_MEGRE")
    found = find_phase(chosen[1:], tmp_path)
    assert found.paths == (phases[1],)
    assert found.echoes[0].magnitude == chosen[2]


def test_a_magnitude_of_another_reconstruction_has_the_phase_of_its_acquisition(dataset, tmp_path):
    chosen, phase = dataset("rec-norm_echo-1_part-mag_GRE", "echo-1_part-phase_GRE")
    assert find_phase([chosen], tmp_path).paths == (phase,)
    (own,) = dataset("rec-norm_echo-1_part-phase_GRE")
    assert find_phase([chosen], tmp_path).paths == (own,)


def test_the_phase_of_another_reconstruction_is_not_taken(dataset, tmp_path):
    chosen, _ = dataset("rec-norm_part-mag_GRE", "rec-filtered_part-phase_GRE")
    assert find_phase([chosen], tmp_path) is None


def test_real_and_imaginary_part_go_together(dataset, tmp_path):
    (chosen, real) = dataset("part-mag_T2starw", "part-real_T2starw")
    assert find_phase([chosen], tmp_path) is None
    (imaginary,) = dataset("part-imag_T2starw")
    assert find_phase([chosen], tmp_path).paths == (real, imaginary)
    (phase,) = dataset("part-phase_T2starw")
    assert find_phase([chosen], tmp_path).paths == (phase,)


@pytest.mark.parametrize("missing", ["EchoTime", "MagneticFieldStrength"])
def test_what_no_sidecar_says_is_named(dataset, tmp_path, missing):
    chosen, _ = dataset("T2starw", "part-phase_T2starw", **{missing: None})
    found = find_phase([chosen], tmp_path)
    assert found.paths == ()
    assert found.problem == f"sub-01_part-phase_T2starw.nii.gz is not used: no sidecar says {missing}"


def test_the_frequency_of_the_scanner_tells_the_field(dataset, tmp_path):
    chosen, _ = dataset("T2starw", "part-phase_T2starw", MagneticFieldStrength=None, ImagingFrequency=63.87)
    assert find_phase([chosen], tmp_path).field_strength == pytest.approx(1.5, abs=0.001)


def test_the_sidecar_of_the_magnitude_serves_where_the_phase_has_none(dataset, tmp_path):
    chosen, phase = dataset("part-mag_T2starw", "part-phase_T2starw")
    phase.with_name("sub-01_part-phase_T2starw.json").unlink()
    assert find_phase([chosen], tmp_path).echoes[0].echo_time == 0.02
