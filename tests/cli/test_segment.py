"""``mbseg segment`` on plain files: the same run as on a dataset, under the names of the files."""

import json

import nibabel as nib
import numpy as np
import pytest

from mbseg_bids.cli import app, workbench

SAME = ("label-CMB_mask.nii.gz", "seg-CMB_dseg.nii.gz", "seg-CMB_dseg.tsv", "label-CMB_probseg.nii.gz")


@pytest.fixture
def scans(save_image, tmp_path):
    """Three plain files, each in a folder of its own, and a function that takes a copy of them into a dataset."""
    paths = {c: save_image(tmp_path / f"from {c}" / f"p7_{c}.nii.gz") for c in ("t2star", "t2w", "t1w")}
    paths["t2star"].with_name("p7_t2star.json").write_text(json.dumps({"EchoTime": 0.02, "PatientName": "Doe"}))
    return paths


@pytest.fixture
def segment(scans, tmp_path, fake_parts, capsys):
    def call(*options, t2star=None, out=tmp_path / "out"):
        arguments = ["segment", t2star or scans["t2star"], "-o", out, "--n-cpus", "1", *options]
        code = workbench.main([*map(str, arguments)])
        return code, capsys.readouterr().err.strip().splitlines()[-1]

    return call


def others(scans):
    return "--t2w", scans["t2w"], "--t1w", scans["t1w"]


def test_results_bear_the_name_of_the_file(scans, segment, tmp_path):
    out = tmp_path / "out"
    code, said = segment(*others(scans))
    assert (code, said) == (0, f"mbseg segment finished: 1 microbleed, 1 warning; report: {out / 'p7_t2star.html'}")
    names = {path.name for path in out.iterdir()}
    assert {f"p7_t2star_space-T2starw_{name}" for name in SAME} <= names
    assert {"p7_t2star_summary.json", "p7_t2star_methods.md", "p7_t2star_desc-preproc_T1w.nii.gz"} <= names
    assert all(name.startswith("p7_t2star") for name in names)
    summary = json.loads((out / "p7_t2star_summary.json").read_text())
    assert summary["title"] == "p7_t2star"
    assert {contrast: image["path"] for contrast, image in summary["inputs"].items()} == {
        "T1w": "p7_t1w.nii.gz", "T2w": "p7_t2w.nii.gz", "T2starw": "p7_t2star.nii.gz"
    }  # fmt: skip
    assert summary["inputs"]["T2starw"]["metadata"] == {"EchoTime": 0.02}
    sidecar = json.loads((out / "p7_t2star_space-T2starw_label-CMB_mask.json").read_text())
    assert sidecar["SpatialReference"] == "p7_t2star.nii.gz"
    assert sidecar["Sources"] == ["p7_t2star.nii.gz", "p7_t2w.nii.gz", "p7_t1w.nii.gz"]


def test_no_output_names_a_folder_of_this_machine(scans, segment, tmp_path):
    segment(*others(scans))
    for path in (tmp_path / "out").iterdir():
        if not path.name.endswith(".gz"):
            assert str(tmp_path) not in path.read_text(), path


def test_images_and_tables_are_those_of_a_run_on_a_dataset(scans, segment, make_dataset, tmp_path, fake_parts):
    root = make_dataset(root=tmp_path / "bids") if not (tmp_path / "bids").exists() else tmp_path / "bids"
    anat = root / "sub-01" / "anat"
    anat.mkdir(parents=True)
    for key, contrast in (("t2star", "T2starw"), ("t2w", "T2w"), ("t1w", "T1w")):
        (anat / f"sub-01_{contrast}.nii.gz").write_bytes(scans[key].read_bytes())
    work = tmp_path / "work"
    assert app.main([*map(str, (root, tmp_path / "app", "participant", "-w", work, "--n-cpus", "1"))]) == 0
    segment(*others(scans))
    made = sorted((tmp_path / "app" / "sub-01" / "anat").iterdir())
    plain = {path.name.removeprefix("p7_t2star"): path for path in (tmp_path / "out").glob("p7_t2star_*")}
    assert {path.name.removeprefix("sub-01") for path in made} <= set(plain)
    for path in made:
        if path.suffix != ".json":  # these name the source files
            assert path.read_bytes() == plain[path.name.removeprefix("sub-01")].read_bytes(), path.name


def test_contrasts_that_are_missing_are_said(segment, tmp_path):
    code, said = segment()
    assert (code, "3 warnings" in said) == (0, True)
    summary = json.loads((tmp_path / "out" / "p7_t2star_summary.json").read_text())
    assert summary["missing_contrasts"] == ["T2w", "T1w"]
    assert not list((tmp_path / "out").glob("*space-T1w*"))


def test_a_second_run_replaces_what_the_first_has_made(scans, segment, tmp_path):
    segment(*others(scans))
    assert list((tmp_path / "out").glob("*space-T1w*"))
    assert segment()[0] == 0
    assert not list((tmp_path / "out").glob("*space-T1w*"))


def test_a_scan_of_the_same_name_is_not_written_over_another(scans, segment, save_image, tmp_path):
    segment(*others(scans))
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    another = save_image(tmp_path / "another person" / "p7_t2star.nii.gz")
    code, said = segment(t2star=another)
    assert code == 73
    assert "holds results of another file called p7_t2star.nii.gz (give another folder, or remove them)" in said
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_work_folder_keeps_what_is_finished(scans, segment, tmp_path, monkeypatch):
    segment("-w", tmp_path / "work")

    def never(*args, **options):
        raise AssertionError("computed again")

    monkeypatch.setattr("mbseg_bids.cli.participant._run_workflow", never)
    assert segment("-w", tmp_path / "work")[0] == 0


def test_of_a_failure_there_is_the_report_and_its_exit_code(scans, segment, tmp_path):
    image = nib.load(scans["t2star"])
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) * np.float32(100), image.affine), scans["t2star"])
    code, said = segment()
    assert code == 65
    assert said == "mbseg failed: sub-p7t2star: the T2* image is too bright (scan again)"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["p7_t2star.html"]


@pytest.mark.parametrize(
    ("name", "options", "code", "said"),
    [
        ("scan.mgz", [], 64, "scan.mgz is no NIfTI file by its name (give a file that ends in .nii.gz or .nii)"),
        ("none.nii.gz", [], 65, "none.nii.gz cannot be read"),
        (None, ["--t2w", "{t2star}"], 64, "one file is given for two contrasts"),
        (None, ["--device", "gpu"], 64, "the value of --device cannot be used (one of: auto, cpu, cuda)"),
        (None, ["--t1w", "{phase}"], 65, "phase.nii.gz has no value above zero"),
    ],
)
def test_bad_input_is_one_line(scans, segment, save_image, tmp_path, name, options, code, said):
    phase = save_image(tmp_path / "phase.nii.gz", data=np.linspace(-3, 0, 360, dtype=np.float32).reshape(8, 9, 5))
    options = [option.format(t2star=scans["t2star"], phase=phase) for option in options]
    found, line = segment(*options, t2star=tmp_path / name if name else None)
    assert found == code
    assert line.startswith(f"mbseg failed: {said}")
