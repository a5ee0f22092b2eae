"""The whole run on a simulated participant: simulate, segment, gather, compare with the truth; killed and resumed."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from mbseg_bids.imaging.labels import REGIONS

COMMAND = [sys.executable, "-c", "from mbseg_bids.cli.app import main; raise SystemExit(main())"]
WORKBENCH = [sys.executable, "-c", "from mbseg_bids.cli.workbench import main; raise SystemExit(main())"]
VALIDATOR = shutil.which("bids-validator-deno", path=os.pathsep.join([str(Path(sys.executable).parent), os.defpath]))
STEM = "sub-01/anat/sub-01_space-T2starw_"
COARSE = Path(__file__).parents[2] / "examples" / "coarse.toml"
LONG_ENOUGH = 1500

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("whole_run")]


def call(*command, **options):
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=LONG_ENOUGH, **options)


def participant_level(dataset, output, work, *options):
    return [*COMMAND, dataset, output, "participant", "-w", work, "--config-file", COARSE, *options]


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "bids"
    made = call(*WORKBENCH, "simulate", folder, "--participants", "1", "--lesions", "8", "8", "--seed", "11")
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture(scope="session")
def finished(dataset, tmp_path_factory):
    """Output of both levels, with two processes."""
    folder = tmp_path_factory.mktemp("run")
    run = call(*participant_level(dataset, folder / "out", folder / "work", "--n-cpus", "2"))
    assert run.returncode == 0, run.stderr[-4000:]
    group = call(*COMMAND, dataset, folder / "out", "group", "-w", folder / "work")
    assert group.returncode == 0, group.stderr[-4000:]
    return folder / "out"


def image(root, name):
    return nib.load(root / f"{STEM}{name}.nii.gz")


def voxels(root, name):
    return np.asarray(image(root, name).dataobj)


def table(root, name):
    return pd.read_csv(root / f"{STEM}{name}.tsv", sep="\t", keep_default_na=False)


@pytest.mark.skipif(VALIDATOR is None, reason="bids-validator-deno is not installed")
def test_input_and_output_are_valid_bids(dataset, finished):
    for root in (dataset, finished):
        issues = json.loads(call(VALIDATOR, "--format", "json", root).stdout)["issues"]["issues"]
        assert [issue for issue in issues if issue["severity"] == "error"] == []


def test_lesions_agree_with_the_truth(dataset, finished):
    """Most of the simulated lesions of at least 8 mm3 are found, and at most two are false.

    How many in general is for docs/results.md: this is one scan, and about whether the steps fit together.
    """
    truth, found = voxels(dataset / "derivatives/truth", "seg-CMB_dseg"), voxels(finished, "seg-CMB_dseg")
    lesions = table(dataset / "derivatives/truth", "seg-CMB_dseg")
    large = lesions.loc[lesions["volume_mm3"] >= 8, "index"]
    assert len(large) >= 2
    missed = [label for label in large if not (found[truth == label] > 0).any()]
    assert len(missed) <= len(large) / 4
    false = [label for label in np.unique(found[found > 0]) if not (truth[found == label] > 0).any()]
    assert len(false) <= 2


def test_native_grid_is_kept_to_the_bit(dataset, finished):
    scan = nib.load(dataset / "sub-01/anat/sub-01_T2starw.nii.gz").header
    for name in ("label-CMB_mask", "label-CMB_probseg", "seg-CMB_dseg", "seg-CMBcandidates_dseg", "seg-regions_dseg"):
        header = image(finished, name).header
        for field in ("srow_x", "srow_y", "srow_z", "qoffset_x", "quatern_b", "quatern_c", "quatern_d", "sform_code"):
            assert header[field].tobytes() == scan[field].tobytes(), (name, field)
        assert header.get_data_shape() == scan.get_data_shape()


def test_masks_and_tables_tell_the_same(finished):
    labels, lesions = voxels(finished, "seg-CMB_dseg"), table(finished, "seg-CMB_dseg")
    assert np.unique(labels[labels > 0]).tolist() == lesions["index"].tolist()
    assert [(labels == label).sum() for label in lesions["index"]] == lesions["n_voxels"].tolist()
    np.testing.assert_array_equal(voxels(finished, "label-CMB_mask") > 0, labels > 0)
    candidates = voxels(finished, "seg-CMBcandidates_dseg")
    assert (candidates[labels > 0] > 0).all()
    t1w = nib.load(finished / "sub-01/anat/sub-01_space-T1w_seg-CMB_dseg.nii.gz")
    assert set(np.unique(np.asarray(t1w.dataobj))) == {0, *lesions["index"]}  # none is lost on the way to T1w
    summary = json.loads((finished / "logs" / "sub-01_summary.json").read_text())
    assert all(check["passed"] for check in summary["anatomy"]["registration"].values())
    group = pd.read_csv(finished / "phenotype/microbleeds.tsv", sep="\t")
    assert group.loc[0, "participant_id"] == "sub-01"
    assert len(lesions) in group.loc[0].tolist()


def test_regions_agree_with_the_simulated_anatomy(dataset, finished):
    """Dice with the regions the head was made of, for those that a wrong registration or mirroring would spoil."""
    truth, found = voxels(dataset / "derivatives/truth", "seg-regions_dseg"), voxels(finished, "seg-regions_dseg")
    dice = {
        name: 2 * ((truth == label) & (found == label)).sum() / ((truth == label).sum() + (found == label).sum())
        for label, name in REGIONS.items()
    }
    assert dice["deep_gm"] > 0.7, dice
    assert dice["cerebral_wm"] > 0.75, dice
    assert dice["brainstem"] > 0.75, dice


def test_a_killed_run_resumes_to_the_same_bytes(dataset, finished, tmp_path):
    """The other run had two processes and was not disturbed; this one has one and is killed in the middle."""
    command = [*map(str, participant_level(dataset, tmp_path / "out", tmp_path / "work", "--n-cpus", "1"))]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as run:
        for line in run.stdout:
            if "prepare_t1w done" in line:
                os.killpg(run.pid, signal.SIGKILL)
                break
    assert run.returncode == -signal.SIGKILL
    assert not list((tmp_path / "out" / "logs").glob("*_done.json"))
    resumed = call(*command)
    assert resumed.returncode == 0, resumed.stderr[-4000:]
    names = sorted(p.relative_to(finished) for p in (finished / "sub-01").rglob("*") if p.suffix in (".gz", ".tsv"))
    assert len(names) > 15
    different = [
        str(name) for name in names if (finished / name).read_bytes() != (tmp_path / "out" / name).read_bytes()
    ]
    assert different == []
    again = call(*command)
    assert again.returncode == 0
    assert "earlier run" in again.stdout + again.stderr
