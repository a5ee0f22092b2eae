"""Phase of simulated scans: physics, how it is stored, and that all else stays as it is without."""

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from mbseg_bids.cli.simulate import PHASE_SCALES
from mbseg_bids.cli.workbench import main
from mbseg_bids.errors import UsageError
from mbseg_bids.imaging.phase import GYROMAGNETIC_RATIO, phase_in_radians, wrapped
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation.dataset import DatasetPlan, write_dataset
from mbseg_bids.simulation.phase import calcification_truth, feature_phase
from mbseg_bids.simulation.phase_files import SCALES, PhaseFormat, encoded
from mbseg_bids.simulation.protocol import Protocol
from mbseg_bids.simulation.susceptibility import Feature, Sphere, Vessel

SHAPE, CENTRE = (41, 41, 41), (20.0, 20.0, 20.0)
TISSUE = Volume(np.ones(SHAPE, np.float32), np.eye(4))
PROTOCOL = Protocol(field_strength=3.0, echo_time=20.0)
PLAN = {"participants": 1, "seed": 4, "lesions": (3, 3), "mimic_load": 0.05, "calcifications": (2, 2)}


def phase_of(*features):
    return feature_phase(features, TISSUE, np.eye(4), SHAPE, PROTOCOL)


@pytest.mark.parametrize("dchi", [1.0, -2.0])
def test_far_from_a_sphere_the_phase_is_that_of_a_dipole(dchi):
    radius = 1.0
    phase = phase_of(Feature("microbleed", (Sphere(CENTRE, radius, dchi),)))
    turn = GYROMAGNETIC_RATIO * 3.0 * 0.020 * dchi * 1e-6 / 3 * radius**3
    for distance in (5, 7, 9):
        assert phase[20, 20, 20 + distance] == pytest.approx(2 * turn / distance**3, rel=0.1)
        assert phase[20 + distance, 20, 20] == pytest.approx(-turn / distance**3, rel=0.1)


def test_where_the_fine_rendering_ends_the_phase_has_no_step():
    sphere = Sphere(CENTRE, 1.2, 1.5)
    line = phase_of(Feature("microbleed", (sphere,)))[20, 20, 20 + int(sphere.reach) - 1 : 33]
    assert (np.diff(line) < 0).all()
    assert (np.diff(line, 2) > -0.02).all()


def test_calcium_and_blood_of_one_kind_turn_it_alike_but_for_the_sign():
    blood, calcium = (phase_of(Feature("x", (Sphere(CENTRE, 1.0, dchi),))) for dchi in (1.5, -1.5))
    np.testing.assert_allclose(blood, -calcium, atol=1e-5)


def test_what_has_no_susceptibility_leaves_no_phase():
    assert not phase_of(Feature("perivascular_space", (Vessel(((5, 5, 5), (30, 30, 30)), 0.5, 0.0),))).any()


def test_only_calcium_is_in_its_truth():
    features = [
        Feature("microbleed", (Sphere((10.0, 10, 10), 1.2, 1.5),)),
        Feature("calcification", (Sphere((30.0, 30, 30), 1.2, -1.5),)),
        Feature("calcification", (Sphere((10.0, 30, 30), 0.2, -0.1),)),  # too small to be seen
    ]
    found, calcium = calcification_truth(features, TISSUE, np.eye(4), SHAPE, PROTOCOL)
    assert [calcium[number].sources[0].centre for number in found.numbers] == [(30, 30, 30)]
    assert found.lesions[30, 30, 30] == 1
    assert not found.lesions[:20].any()


@pytest.fixture(scope="module")
def smooth():
    """Radians over several turns, and a magnitude unlike it."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in (30, 28, 12)], indexing="ij")
    return (9 * x + 4 * y**2 - 3 * z).astype(np.float32), (1 + 0.2 * np.cos(7 * y)).astype(np.float32)


def test_the_command_line_knows_every_scale():
    assert tuple(SCALES) == PHASE_SCALES


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("scale", PHASE_SCALES)
def test_what_is_stored_reads_back(smooth, scale, sign):
    radians, magnitude = smooth
    how = PhaseFormat(scale, sign)
    values = encoded(radians, how)
    read, name = phase_in_radians(values, magnitude, how.units)
    assert name == SCALES[scale]
    # Scales from zero up begin at half a turn.
    offset = np.pi if scale == "siemens-unsigned" else 0
    assert np.abs(wrapped(read - sign * radians - offset)).max() < 0.003


def test_an_unwrapped_phase_reads_back(smooth):
    radians, magnitude = smooth
    values = encoded(radians, PhaseFormat("radians", -1, unwrapped=True))
    assert np.ptp(values) > 4 * np.pi
    read, _ = phase_in_radians(values, magnitude, "rad")
    assert np.abs(wrapped(read + radians)).max() < 1e-4


def test_integers_stay_in_the_range_of_their_scanner(smooth):
    ranges = {"siemens": (-4096, 4095), "siemens-unsigned": (0, 4095), "16-bit": (-32768, 32767)}
    for scale, (low, high) in ranges.items():
        values = encoded(smooth[0], PhaseFormat(scale))
        assert values.dtype == np.int16
        assert low <= values.min() < values.max() <= high
        assert np.ptp(values.astype(int)) > 0.95 * (high - low)


@pytest.mark.parametrize("wrong", [{"scale": "degrees"}, {"sign": 0}, {"unwrapped": True}])
def test_impossible_formats(wrong):
    with pytest.raises(UsageError):
        PhaseFormat(**wrong)


@pytest.fixture(scope="module")
def pair(toy_head, tmp_path_factory):
    """The same dataset without and with a phase."""
    folder = tmp_path_factory.mktemp("phase")
    for name, phase in (("without", None), ("with", PhaseFormat("siemens"))):
        write_dataset(folder / name, [toy_head], DatasetPlan(**PLAN, phase=phase))
    return folder / "without", folder / "with"


def content(path):
    return gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()


def names(root):
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_a_phase_changes_nothing_else(pair):
    without, with_it = pair
    new = {name for name in names(with_it) - names(without) if "calcification" not in name}
    assert new == {
        f"sub-01/anat/sub-01_part-{part}_T2starw.{end}" for part in ("mag", "phase") for end in ("nii.gz", "json")
    }
    assert names(without) - names(with_it) == {f"sub-01/anat/sub-01_T2starw.{end}" for end in ("nii.gz", "json")}
    for name in sorted(names(without) & names(with_it)):
        if not (name.startswith("derivatives") and name.endswith(".json")):  # these name the T2* image
            assert content(without / name) == content(with_it / name), name
    plain, magnitude = (
        nib.load(root / "sub-01" / "anat" / f"sub-01_{name}.nii.gz").get_fdata()
        for root, name in ((without, "T2starw"), (with_it, "part-mag_T2starw"))
    )
    assert np.abs(plain - magnitude).max() < 1e-4 * plain.max()


def test_calcifications_are_in_the_truth(pair):
    stem = pair[1] / "derivatives" / "truth" / "sub-01" / "anat" / "sub-01_space-T2starw_seg-calcification_dseg"
    labels = nib.load(f"{stem}.nii.gz")
    table = pd.read_csv(f"{stem}.tsv", sep="\t")
    assert len(table) >= 2
    assert (table["dchi_ppm"] < 0).all()
    assert np.unique(np.asarray(labels.dataobj))[1:].tolist() == table["index"].tolist()
    described = json.loads(Path(f"{stem}.json").read_text())
    assert set(table) <= set(described) | {"index", "name"}
    magnitude = nib.load(pair[1] / "sub-01" / "anat" / "sub-01_part-mag_T2starw.nii.gz")
    np.testing.assert_array_equal(labels.affine, magnitude.affine)
    assert described["Sources"] == ["bids:raw:sub-01/anat/sub-01_part-mag_T2starw.nii.gz"]


def test_the_phase_has_units_and_the_grid_of_the_magnitude(pair):
    folder = pair[1] / "sub-01" / "anat"
    phase, magnitude = (nib.load(folder / f"sub-01_part-{part}_T2starw.nii.gz") for part in ("phase", "mag"))
    assert (phase.shape, phase.get_data_dtype()) == (magnitude.shape, np.int16)
    assert phase.dataobj.slope == 1
    metadata = json.loads((folder / "sub-01_part-phase_T2starw.json").read_text())
    assert metadata["Units"] == "arbitrary"
    assert metadata["EchoTime"] == pytest.approx(0.022)


def test_with_a_phase_it_is_valid_bids(pair):
    validator = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent))
    if validator is None:
        pytest.skip("bids-validator-deno is not installed")
    for root in (pair[1], pair[1] / "derivatives" / "truth"):
        done = subprocess.run([validator, "--json", root], capture_output=True, text=True, check=False)
        issues = json.loads(done.stdout)["issues"]["issues"]
        assert [issue for issue in issues if issue.get("severity") == "error"] == []


@pytest.mark.parametrize(
    "wrong", [["--phase", "--phase-unwrapped"], ["--calcifications", "3", "1"], ["--calcifications", "-1", "1"]]
)
def test_impossible_wishes(wrong, tmp_path, capsys):
    assert main(["simulate", str(tmp_path / "x"), *wrong]) == UsageError.exit_code
    assert "mbseg failed:" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
