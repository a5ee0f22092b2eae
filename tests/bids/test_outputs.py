import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from mbseg_bids.bids.files import hide_folders, write_bytes
from mbseg_bids.bids.outputs import (
    NATIVE_OUTPUTS,
    PHASE_OUTPUTS,
    T1W_OUTPUTS,
    derivative_path,
    name_in_scans,
    output_path,
    sidecar_of,
    template_outputs,
    write_dataset_files,
)
from mbseg_bids.clinical.bombs import bombs_sheet
from mbseg_bids.clinical.mars import mars_sheet
from mbseg_bids.errors import CannotWriteError
from mbseg_bids.imaging.quality_ranges import judge_quality, training_ranges

ALL = [*NATIVE_OUTPUTS, *PHASE_OUTPUTS, *T1W_OUTPUTS, *template_outputs("MNI152NLin2009aSym")]
RAW = Path("/data/raw")
IMAGES = {
    "T1w": (RAW / "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",),
    "T2w": (RAW / "sub-01/ses-2/anat/sub-01_ses-2_T2w.nii.gz",),
    "T2starw": tuple(RAW / f"sub-01/ses-2/anat/sub-01_ses-2_echo-{n}_part-mag_MEGRE.nii.gz" for n in (1, 2)),
}


def test_names_have_their_entities_in_the_order_of_the_standard():
    path = derivative_path("01", "a", suffix="mask", label="CMB", space="T2starw")
    assert path == Path("sub-01/ses-a/anat/sub-01_ses-a_space-T2starw_label-CMB_mask.nii.gz")
    path = derivative_path("01", None, suffix="dseg", desc="x", seg="CMB", extension=".tsv")
    assert path == Path("sub-01/anat/sub-01_seg-CMB_desc-x_dseg.tsv")
    with pytest.raises(ValueError, match="unknown entity colour"):
        derivative_path("01", None, suffix="mask", colour="red")


def test_the_names_of_the_results_are_those_that_are_documented():
    names = {output_path(output, "01", None).name.removeprefix("sub-01_") for output in ALL}
    page = (Path(__file__).parents[2] / "docs" / "outputs.md").read_text()
    for name in names:
        assert name.replace("MNI152NLin2009aSym", "<template>").split(".")[0] in page, name
    assert len(names) == len(ALL)


def test_sidecars_name_sources_and_reference_by_uri():
    outputs = {output.name: output for output in ALL}
    mask = sidecar_of(outputs["mask"], IMAGES, RAW)
    assert mask["Type"] == "Lesion"
    assert mask["SpatialReference"] == "bids:raw:sub-01/ses-2/anat/sub-01_ses-2_echo-1_part-mag_MEGRE.nii.gz"
    assert mask["Sources"] == [
        "bids:raw:sub-01/ses-2/anat/sub-01_ses-2_echo-1_part-mag_MEGRE.nii.gz",
        "bids:raw:sub-01/ses-2/anat/sub-01_ses-2_echo-2_part-mag_MEGRE.nii.gz",
        "bids:raw:sub-01/ses-2/anat/sub-01_ses-2_T2w.nii.gz",
        "bids:raw:sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",
    ]
    in_t1w = sidecar_of(outputs["mask_in_t1w"], IMAGES, RAW)
    assert in_t1w["SpatialReference"] == "bids:raw:sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz"
    in_template = sidecar_of(outputs["mask_in_template"], IMAGES, RAW)
    assert in_template["SpatialReference"].endswith("/mni_icbm152_nlin_sym_09a_nifti.zip")
    assert sidecar_of(outputs["t1w"], IMAGES, RAW)["SkullStripped"] is False


def test_a_phase_adds_its_columns_its_reason_and_its_source_and_nothing_else():
    from mbseg_bids.data.columns import describe_columns
    from mbseg_bids.detection.rules.criteria import DIAMAGNETIC

    phase = RAW / "sub-01/ses-2/anat/sub-01_ses-2_echo-2_part-phase_MEGRE.nii.gz"
    for output in ALL:
        without, given = sidecar_of(output, IMAGES, RAW), sidecar_of(output, IMAGES, RAW, phase=[phase])
        if output in PHASE_OUTPUTS:
            assert given["Sources"] == [*without["Sources"], f"bids:raw:{phase.relative_to(RAW)}"]
            assert given["Units"] == "rad"
            continue
        if output.table not in ("lesions", "candidates"):
            assert given == without
            continue
        assert set(given) - set(without) == set(describe_columns("phase"))
        assert given["Sources"] == [*without["Sources"], f"bids:raw:{phase.relative_to(RAW)}"]
        if output.table == "candidates":
            assert set(given["reason"]["Levels"]) - set(without["reason"]["Levels"]) == {DIAMAGNETIC}


def test_every_column_of_the_tables_is_described():
    from mbseg_bids.data.columns import describe_columns

    outputs = {output.name: output for output in ALL}
    for name, table in (("dseg", "lesions"), ("candidates", "candidates")):
        sidecar = sidecar_of(outputs[name], IMAGES, RAW)
        for column in (*describe_columns(table), *describe_columns("places")):
            assert sidecar[column]["Description"], column
    for name, rows in (("mars", mars_sheet([])), ("bombs_table", bombs_sheet([]))):
        sidecar = sidecar_of(outputs[name], IMAGES, RAW)
        assert all(sidecar[column]["Description"] for column in rows[0])
        assert {row["place"] for row in rows} == set(sidecar["place"]["Levels"])
        assert "doi:10." in sidecar["Description"]


def test_the_table_of_quality_lies_beside_the_folder_of_the_image_that_it_names():
    outputs = {output.name: output for output in ALL}
    for session, folder in ((None, "sub-01"), ("a", "sub-01/ses-a")):
        table = output_path(outputs["quality"], "01", session)
        assert table.parent == Path(folder)
        assert table.parent / name_in_scans(outputs["t2star"], "01", session) == output_path(
            outputs["t2star"], "01", session
        )
    sidecar = sidecar_of(outputs["quality"], IMAGES, RAW)
    assert all(column["Description"] for column in sidecar.values())


def test_dataset_description_links_to_the_input_without_naming_the_machine(tmp_path):
    out = tmp_path / "raw" / "derivatives" / "mbseg"
    write_dataset_files(out, tmp_path / "raw", {"DatasetDOI": "doi:10.1/x", "License": "CC0", "Authors": ["A", "B"]})
    description = json.loads((out / "dataset_description.json").read_text())
    assert description["DatasetLinks"] == {"raw": "../.."}
    assert description["SourceDatasets"] == [{"URL": "https://doi.org/10.1/x", "DOI": "doi:10.1/x"}]
    assert description["Authors"] == ["A", "B"]
    assert description["GeneratedBy"][0]["Name"] == "mbseg-bids"
    assert str(tmp_path) not in json.dumps(description)


def test_code_url_is_the_one_that_the_package_names(tmp_path, monkeypatch):
    from email.message import Message

    said = Message()
    monkeypatch.setattr("mbseg_bids.bids.outputs.package.metadata", lambda name: said)
    write_dataset_files(tmp_path, tmp_path / "raw", {})
    path = tmp_path / "dataset_description.json"
    assert "CodeURL" not in json.loads(path.read_text())["GeneratedBy"][0]
    said["Project-URL"] = "Source, https://example.org/code"
    write_dataset_files(tmp_path, tmp_path / "raw", {})
    assert json.loads(path.read_text())["GeneratedBy"][0]["CodeURL"] == "https://example.org/code"


def test_native_outputs_lie_on_the_t2star_grid():
    """The writer compares them with the scan to the bit."""
    assert all(output.native for output in NATIVE_OUTPUTS if output.extension == ".nii.gz")


def test_a_history_that_the_user_keeps_is_left_alone(tmp_path):
    (tmp_path / "CHANGES").write_text("mine")
    write_dataset_files(tmp_path, tmp_path / "raw", {})
    assert (tmp_path / "CHANGES").read_text() == "mine"


def test_writing_leaves_no_half_file_behind(tmp_path):
    write_bytes(tmp_path / "a" / "b.txt", b"x")
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.txt"]
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWriteError):
        write_bytes(tmp_path / "file" / "b.txt", b"x")


VALIDATOR = shutil.which("bids-validator-deno", path=os.pathsep.join([str(Path(sys.executable).parent), os.defpath]))


@pytest.mark.skipif(VALIDATOR is None, reason="bids-validator-deno is not installed")
def test_a_whole_tree_passes_the_bids_validator(tmp_path, make_dataset, save_image):
    """Every file this app can write, for participants with and without sessions, through its own writers."""
    from fake_workflows import CANDIDATE_ROW, ROW

    from mbseg_bids.interfaces.bids import FinishSession, WriteDerivative

    out, raw = tmp_path / "out", make_dataset()
    write_dataset_files(out, raw, {"License": "CC0"})
    image = save_image(tmp_path / "image.nii.gz", data=(np.indices((8, 9, 5)).sum(axis=0) > 12).astype(np.uint8))
    tables = {}
    for name, row in (("dseg_table", ROW), ("candidates_table", CANDIDATE_ROW)):
        tables[name] = tmp_path / f"{name}.tsv"
        tables[name].write_text("\t".join(row) + "\n" + "\t".join(map(str, row.values())) + "\n")
    for name, rows in (("mars_table", mars_sheet([])), ("bombs_table", bombs_sheet([]))):
        tables[name] = tmp_path / f"{name}.tsv"
        pd.DataFrame(rows).to_csv(tables[name], sep="\t", index=False)
    ranges, names = training_ranges(), {output.name: output for output in ALL}
    for participant, session in (("01", None), ("02", "a")):
        tables["quality"] = tmp_path / f"quality{participant}.tsv"
        table = judge_quality({"t2star_snr": 1.0}, ranges, weights_sha256=ranges["weights"]["sha256"])
        tables["quality"].write_text(table.as_table(name_in_scans(names["t2star"], participant, session)))
        folder = raw / f"sub-{participant}" / (f"ses-{session}" if session else "") / "anat"
        images = {contrast: (folder / f"{contrast}.nii.gz",) for contrast in ("T1w", "T2w", "T2starw")}
        for output in ALL:
            path = output_path(output, participant, session).as_posix()
            node = WriteDerivative(in_file=str(tables.get(output.name, image)), output_dir=str(out), path=path)
            if output.extension != ".tsv" or output.table:
                node.inputs.metadata = sidecar_of(output, images, raw)
            if output.table == "regions":
                node.inputs.table = "index\tname\n1\tcortical_gm\n"
            node.run()
        label = f"sub-{participant}" + (f"_ses-{session}" if session else "")
        FinishSession(output_dir=str(out), label=label, fingerprint="x", facts={"warnings": []}).run()
        (out / f"sub-{participant}.html").write_text("<!DOCTYPE html>")
    (out / "logs" / "CITATION.md").write_text("text\n")
    done = subprocess.run([VALIDATOR, "--format", "json", out], capture_output=True, text=True, check=False)
    issues = json.loads(done.stdout)["issues"]["issues"]
    errors = [issue for issue in issues if issue["severity"] == "error"]
    assert errors == []
    unexpected = {i["code"] for i in issues} - {"TOO_FEW_AUTHORS", "SIDECAR_KEY_RECOMMENDED"}
    assert unexpected == set()


def test_a_file_off_the_grid_is_refused_and_bytes_do_not_depend_on_the_time(tmp_path, save_image, monkeypatch):
    from mbseg_bids.interfaces.bids import WriteDerivative, require_same_grid

    image = save_image(tmp_path / "a.nii.gz")
    moved = nib.load(image)
    nib.save(nib.Nifti1Image(moved.get_fdata(), moved.affine + 1e-6 * np.eye(4)), tmp_path / "b.nii.gz")
    with pytest.raises(ValueError, match="not on the grid"):
        require_same_grid(tmp_path / "b.nii.gz", image)
    require_same_grid(image, image)
    contents = []
    for seconds in (0, 1e9):
        monkeypatch.setattr("time.time", lambda seconds=seconds: seconds)
        WriteDerivative(in_file=str(image), output_dir=str(tmp_path / "out"), path="x.nii.gz").run()
        contents.append((tmp_path / "out" / "x.nii.gz").read_bytes())
    assert contents[0] == contents[1]
    assert np.array_equal(nib.load(tmp_path / "out" / "x.nii.gz").get_fdata(), nib.load(image).get_fdata())


def test_folders_of_the_machine_are_replaced_the_longest_first():
    folders = {"/data": "<bids_dir>", "/data/derivatives/x": "<output_dir>"}
    content = {"a": ["/data/sub-01", ("/data/derivatives/x/logs", 3)], "b": None}
    assert hide_folders(content, folders) == {"a": ["<bids_dir>/sub-01", ["<output_dir>/logs", 3]], "b": None}
