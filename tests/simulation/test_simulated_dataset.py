import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from mbseg_bids.cli.workbench import main
from mbseg_bids.errors import CannotWriteError, MissingImageError, UnreadableDataError
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.simulation.cohort import draw_lesion_count
from mbseg_bids.simulation.dataset import DatasetPlan, write_dataset
from mbseg_bids.simulation.labelmaps import read_labelmap, read_labelmaps
from mbseg_bids.simulation.session import stored
from mbseg_bids.simulation.visits import VisitPlan


@pytest.fixture(scope="module")
def dataset(toy_head, tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "bids"
    plan = DatasetPlan(
        participants=2, sessions=(2, 1), seed=4, lesions=(4, 4), visits=VisitPlan(new=3), mimic_load=0.05
    )
    made = write_dataset(folder, [toy_head], plan)
    return folder, made


def truth_of(folder, entities):
    place = Path(*entities.split("_")) / "anat"
    stem = folder / "derivatives" / "truth" / place / f"{entities}_space-T2starw_seg-CMB_dseg"
    raw = folder / place / f"{entities}_T2starw.nii.gz"
    table = pd.read_csv(f"{stem}.tsv", sep="\t")
    return nib.load(f"{stem}.nii.gz"), nib.load(raw), table


def validator():
    found = Path(sys.executable).with_name("bids-validator-deno")
    if not found.is_file():
        pytest.skip("bids-validator-deno is not installed")
    return str(found)


@pytest.mark.parametrize("part", [".", "derivatives/truth"])
def test_passes_the_bids_validator(dataset, part):
    command = [validator(), "--json", str(dataset[0] / part)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    errors = [i for i in json.loads(done.stdout)["issues"]["issues"] if i.get("severity") == "error"]
    assert errors == []


def test_sessions_of_each_participant(dataset):
    folder, made = dataset
    assert made["participant_id"].tolist() == ["sub-01", "sub-01", "sub-02"]
    names = sorted(p.relative_to(folder).as_posix() for p in folder.glob("sub-*/**/*.nii.gz"))
    suffixes = ("T1w", "T2starw", "T2w")
    expected = [f"sub-01/ses-0{n}/anat/sub-01_ses-0{n}_{s}.nii.gz" for n in (1, 2) for s in suffixes]
    assert names == expected + [f"sub-02/anat/sub-02_{s}.nii.gz" for s in suffixes]
    assert pd.read_csv(folder / "sub-01" / "sub-01_sessions.tsv", sep="\t")["session_id"].tolist() == [
        "ses-01",
        "ses-02",
    ]


@pytest.mark.parametrize("entities", ["sub-01_ses-01", "sub-01_ses-02", "sub-02"])
def test_truth_lies_on_the_t2star_grid_and_is_dark_there(dataset, entities):
    truth, t2star, table = truth_of(dataset[0], entities)
    np.testing.assert_array_equal(truth.affine, t2star.affine)
    assert truth.shape == t2star.shape
    labels, image = np.asarray(truth.dataobj), t2star.get_fdata()
    assert np.unique(labels)[1:].tolist() == table["index"].tolist()
    white = np.median(image[image > np.percentile(image, 70)])
    assert np.median(image[labels > 0]) < 0.8 * white
    for row in table.itertuples():
        where = np.argwhere(labels == row.index).mean(axis=0)
        np.testing.assert_allclose((row.i, row.j, row.k), where, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose((row.x_mm, row.y_mm, row.z_mm), truth.affine[:3] @ [*where, 1], atol=0.01)


def test_later_sessions_keep_the_microbleeds(dataset):
    first, second = (set(truth_of(dataset[0], f"sub-01_ses-0{n}")[2]["source"]) for n in (1, 2))
    assert len(first & second) >= len(first) - 1  # one at the limit of visibility may be lost


def test_images_are_stored_as_scanners_store_them(dataset):
    folder, _ = dataset
    images = {s: nib.load(folder / "sub-02" / "anat" / f"sub-02_{s}.nii.gz") for s in ("T1w", "T2w", "T2starw")}
    for image in images.values():
        assert image.get_data_dtype() == np.int16
        assert image.header["sform_code"] == image.header["qform_code"] == 1
        assert not np.isin(image.dataobj.slope, (0, 1))
    assert nib.aff2axcodes(images["T2starw"].affine) == ("L", "A", "S")
    assert nib.aff2axcodes(images["T1w"].affine) == ("A", "S", "R")
    np.testing.assert_allclose(images["T2starw"].header.get_zooms(), (1, 1, 3), rtol=1e-5)
    metadata = json.loads((folder / "sub-02" / "anat" / "sub-02_T2starw.json").read_text())
    assert metadata["EchoTime"] == pytest.approx(0.022)


def test_the_command_line(toy_head, tmp_path, capsys):
    maps = tmp_path / "maps"
    maps.mkdir()
    nib.save(nib.Nifti1Image(toy_head.data, toy_head.affine), maps / "one.nii.gz")
    out = tmp_path / "bids"
    arguments = ["simulate", str(out), "--participants", "1", "--lesions", "0", "0", "--geometry", "0.9x0.9x5"]
    assert main([*arguments, "--labelmaps", str(maps)]) == 0
    assert "sub-01: 0 microbleeds" in capsys.readouterr().out
    truth, _, table = truth_of(out, "sub-01")
    assert table.empty
    assert not np.asarray(truth.dataobj).any()
    assert main([*arguments, "--labelmaps", str(maps)]) == CannotWriteError.exit_code  # not empty any more
    assert main([*arguments, "--labelmaps", str(tmp_path / "none")]) == MissingImageError.exit_code


@pytest.mark.parametrize("wrong", [["--participants", "0"], ["--sessions", "2", "0"], ["--lesions", "5", "2"]])
def test_impossible_wishes(wrong, tmp_path, capsys):
    assert main(["simulate", str(tmp_path / "x"), *wrong]) == 64
    assert "mbseg failed:" in capsys.readouterr().err


def test_label_maps_that_are_none(tmp_path):
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.int16), np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(UnreadableDataError, match="white matter"):
        read_labelmap(tmp_path / "a.nii.gz")
    (tmp_path / "a.nii.gz").write_bytes(b"not an image")
    with pytest.raises(UnreadableDataError, match="cannot read"):
        read_labelmaps(tmp_path)


def test_storing_keeps_every_voxel_in_its_place(rng):
    volume = Volume(rng.random((4, 5, 6)), np.array([[2.0, 0, 0, 5], [0, 3, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]]))
    moved = stored(volume, (1, 2, 0), (True, False, True))
    assert moved.shape == (5, 6, 4)
    # Voxel (i, j, k) is now at (4 - j, k, 3 - i).
    assert moved.data[4 - 1, 2, 3 - 3] == volume.data[3, 1, 2]
    np.testing.assert_allclose(moved.affine @ [3, 2, 0, 1], volume.affine @ [3, 1, 2, 1])


def test_counts_rise_with_age_and_hypertension(rng):
    def mean(age, hypertension):
        return np.mean([draw_lesion_count(age, hypertension, rng) for _ in range(6000)])

    assert mean(85, False) > 1.3 * mean(60, False)
    assert 2 * mean(70, False) < mean(70, True) < 3.2 * mean(70, False)
