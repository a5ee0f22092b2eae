import subprocess
import sys
from fractions import Fraction

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from mbseg_bids.cli import workbench
from mbseg_bids.errors import UsageError
from mbseg_bids.learning.examples.labelled_scan import LabelledScan, load_scan, save_scan
from mbseg_bids.learning.unet.network import LAST_BLOCK, load_unet

SMALL = ["--features", "4", "8", "8", "--units", "1", "--device", "cpu"]
FEW = ["--steps", "2", "--batch-size", "4", "--patch-size", "16", "--validation-windows", "4"]


@pytest.fixture
def folder(tmp_path):
    """Two scans of even tissue with CSF on one side and lesions."""
    for name in ("a", "b"):
        shape = (30, 28, 2)
        brain = np.ones(shape, bool)
        tissue = np.full(shape, 3, np.uint8)
        tissue[:6] = 1
        lesions = np.zeros(shape, np.int32)
        lesions[15:18, 10:13, 0], lesions[20:23, 20:23, 1] = 1, 2
        levels = np.full((3, *shape), 150, np.uint8)
        levels[0][lesions > 0] = 20
        affine = np.diag([1.0, 1.0, 3.0, 1.0])
        scan = LabelledScan(name, levels, lesions, np.zeros(shape, np.uint8), tissue, tissue, brain, (1, 1, 3), affine)
        save_scan(tmp_path, scan)
    return tmp_path


def train(folder, task, out, *options):
    scans = [str(folder / "a.npz"), "--validation", str(folder / "b.npz")]
    return workbench.main(["baseline", "train", *scans, "--task", task, "--out", str(folder / out), *FEW, *options])


def test_csf_then_transfer_then_evaluation_then_report(folder, capsys):
    assert train(folder, "csf", "csf", *SMALL) == 0
    first = folder / "csf" / "unet-csf-16.safetensors"
    assert train(folder, "microbleed", "mb", "--init", str(first), "--learning-rate", "0.0", "--device", "cpu") == 0
    second = folder / "mb" / "unet-microbleed-16.safetensors"
    csf, found = load_unet(first)[0].state_dict(), load_unet(second)
    kept = [n for n in csf if not n.startswith(f"{LAST_BLOCK}.") and "running" not in n and "num_batches" not in n]
    assert kept
    assert all(found[0].state_dict()[name].equal(csf[name]) for name in kept)
    assert found[1].task == "microbleed"
    assert found[1].training["settings"]["rotations"] == 19

    out = folder / "results"
    arguments = ["--unet", str(second), "--strides", "1", "1/4", "--out", str(out), "--device", "cpu"]
    assert workbench.main(["baseline", "evaluate", str(folder), *arguments]) == 0
    rows = pd.read_csv(out / "scans.tsv", sep="\t")
    assert rows["stride"].tolist() == ["1", "1/4"] * 2
    assert rows["n_truth"].tolist() == [2] * 4
    assert pd.read_csv(out / "patches.tsv", sep="\t")["n_lesions"].tolist() == [2, 2]
    assert workbench.main(["baseline", "report", str(out), "--out", str(folder / "report")]) == 0
    assert (folder / "report" / "baseline.png").stat().st_size > 1000
    assert "| U-Net | 16 | 1/4 | 2 | 4 |" in (folder / "report" / "baseline.md").read_text()

    assert workbench.main(["baseline", "csf", str(folder / "b.npz"), "--unet", str(second), "--out", str(out)]) == 64
    assert "trained on microbleed" in capsys.readouterr().err
    arguments = ["--unet", str(first), "--out", str(out), "--slices", "0:1", "--device", "cpu"]
    assert workbench.main(["baseline", "csf", str(folder / "b.npz"), *arguments]) == 0
    table = pd.read_csv(out / "csf.tsv", sep="\t")
    assert table["true_volume"].tolist() == [round(6 * 28 * 3 / 1000, 4)]
    assert (out / "b_csf.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--patch-size", "17"], "multiple of 2"),
        (["--init", "a.npz"], "--features"),
        (["--rotations", "-1"], "negative"),
        (["--features", "4", "8"], "no U-Net"),
    ],
)
def test_options_that_make_no_sense_are_usage_errors(folder, capsys, options, message):
    assert train(folder, "csf", "x", *SMALL, *options) == 64
    assert message in capsys.readouterr().err


def test_a_scan_cannot_train_and_validate(folder, capsys):
    scan = str(folder / "a.npz")
    out = str(folder / "x")
    arguments = ["baseline", "train", scan, "--validation", str(folder), "--task", "csf", "--out", out]
    assert workbench.main(arguments) == 64
    assert "both in the training and in the validation" in capsys.readouterr().err


def test_no_network_no_scans_no_such_slices(folder, capsys):
    out = ["--out", str(folder / "x")]
    assert workbench.main(["baseline", "evaluate", str(folder), *out]) == 64
    assert "--unet FILE" in capsys.readouterr().err
    assert train(folder, "csf", "csf", *SMALL) == 0
    weights = ["--unet", str(folder / "csf" / "unet-csf-16.safetensors")]
    (folder / "empty").mkdir()
    assert workbench.main(["baseline", "csf", str(folder / "empty"), *weights, *out]) == 64
    assert "mbseg baseline sample" in capsys.readouterr().err
    assert workbench.main(["baseline", "csf", str(folder / "a.npz"), *weights, *out, "--slices", "7:9"]) == 64
    assert "slices 0 to 1" in capsys.readouterr().err


def test_without_monai_the_command_says_what_to_install(folder, capsys, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "monai"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "monai", None)
    assert train(folder, "csf", "csf", *SMALL) == 64
    assert "mbseg-bids[baseline]" in capsys.readouterr().err


def test_nothing_heavy_is_imported_before_the_arguments_are_parsed():
    code = (
        "import sys; from mbseg_bids.cli.workbench import build_parser; build_parser('baseline');"
        "print([m for m in ('monai', 'torch', 'numpy', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_strides_and_slices_are_read_as_written():
    parser = workbench.build_parser("baseline")
    args = parser.parse_args(["baseline", "evaluate", "x", "--out", "y", "--strides", "1", "1/16", "--slices", "3:9"])
    assert args.strides == [Fraction(1), Fraction(1, 16)]
    assert args.slices == slice(3, 9)
    for wrong in (["--strides", "2"], ["--strides", "0"], ["--strides", "1/0"], ["--slices", "3"], ["--slices", "a:b"]):
        with pytest.raises(UsageError):
            parser.parse_args(["baseline", "evaluate", "x", "--out", "y", *wrong])


def test_sample_writes_scans_that_are_read_without_pickle(folder, monkeypatch, capsys):
    asked = []

    def simulate(labels, participant, seed, **options):
        asked.append((participant, seed, options))
        return load_scan(folder / "a.npz").as_case(), None

    monkeypatch.setattr("mbseg_bids.learning.examples.simulated.simulate", simulate)
    labelmap, out = folder / "labels.nii.gz", folder / "scans"
    nib.save(nib.Nifti1Image(np.full((4, 4, 4), 2, np.int16), np.eye(4)), labelmap)
    arguments = [
        "baseline",
        "sample",
        str(labelmap),
        "--out",
        str(out),
        "--lesions",
        "3",
        "--scans",
        "2",
        "--seed",
        "5",
    ]
    assert workbench.main(arguments) == 0
    assert asked == [(1, 5, {"n_lesions": 3}), (1, 6, {"n_lesions": 3})]
    scan = load_scan(out / "participant-001_scan-006.npz")
    np.testing.assert_array_equal(scan.levels, load_scan(folder / "a.npz").levels)
    with np.load(out / "participant-001_scan-006.npz", allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file.files)
    assert workbench.main(["baseline", "sample", str(folder / "a.npz"), "--out", str(out)]) == 65
    assert "cannot read" in capsys.readouterr().err
