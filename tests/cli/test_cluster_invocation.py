"""How schedulers call the app: BABS (DataLad clones, one participant a job, a log that is searched), SLURM arrays."""

import json
import os
import re
from pathlib import Path

import pytest
import yaml

from mbseg_bids import __version__
from mbseg_bids.bids.validation import read_description
from mbseg_bids.cli import app
from mbseg_bids.cli.parser import build_parser

EXAMPLES = Path(__file__).parents[2] / "examples"

THREE = [f"sub-01/anat/sub-01_{contrast}.nii.gz" for contrast in ("T1w", "T2w", "T2starw")]


def annexed(root):
    """Replace images by links into ``.git/annex``, as in a clone made by DataLad."""
    for path in sorted(root.glob("sub-*/**/*.nii.gz")):
        key = f"MD5E-s{path.stat().st_size}--{path.name}"
        kept = root / ".git" / "annex" / "objects" / key[-4:] / key / key
        kept.parent.mkdir(parents=True)
        path.rename(kept)
        kept.chmod(0o444)
        path.symlink_to(os.path.relpath(kept, path.parent))
    return root


@pytest.fixture
def job(make_dataset, tmp_path, monkeypatch):
    """A job's folder with a clone of the input; the job stands in it and names everything relative to it."""
    folder = tmp_path / "job"
    others = [name.replace("01", "02") for name in THREE]
    annexed(
        make_dataset(*THREE, "sub-01/anat/sub-01_acq-thick_T2starw.nii.gz", *others, root=folder / "inputs/data/BIDS")
    )
    monkeypatch.chdir(folder)
    filters = {
        "bold": {"datatype": "func", "suffix": "bold"},
        "fmap": {"datatype": "fmap"},
        "flair": {"suffix": "FLAIR"},
        "t1w": {"datatype": "anat", "suffix": "T1w"},
        "t2starw": {"datatype": "anat", "acquisition": "thick"},
    }
    (folder / "filter.json").write_text(json.dumps(filters))
    return folder


CALL = (
    "inputs/data/BIDS",
    "outputs",
    "participant",
    "--participant-label",
    "sub-01",
    "--bids-filter-file",
    "filter.json",
)


def test_babs_call_on_a_datalad_clone(run, job, fake_parts):
    code, last = run(*CALL)
    assert (code, last) == (0, "mbseg-bids finished: 1 session done")
    assert fake_parts == ["01"]
    assert sorted(path.name for path in (job / "outputs").glob("sub-*")) == ["sub-01", "sub-01.html"]
    mask = json.loads((job / "outputs/sub-01/anat/sub-01_space-T2starw_label-CMB_mask.json").read_text())
    assert mask["SpatialReference"] == "bids:raw:sub-01/anat/sub-01_acq-thick_T2starw.nii.gz"  # not the annex's key
    assert read_description(job / "outputs")["DatasetLinks"]["raw"] == "../inputs/data/BIDS"


def test_the_line_to_search_logs_for(job, capsys):
    """``mbseg-bids failed:`` begins one line of a failed job's log, the last, and none of a good one's."""
    assert app.main([*CALL, "--dry-run", "-w", "work"]) == 0
    assert "mbseg-bids failed:" not in capsys.readouterr().err
    absent = [argument.replace("sub-01", "sub-77") for argument in CALL]
    assert app.main([*absent, "-w", "work"]) == 18
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("mbseg-bids failed: ") for line in lines] == [False] * (len(lines) - 1) + [True]


def test_tasks_of_an_array_share_an_output_folder(run, job, fake_parts, tmp_path):
    """Each task names its participant and has its own work folder; the group level then has every one once."""
    for label in ("sub-01", "sub-02", "sub-01"):  # the first is submitted again
        code, _ = run("inputs/data/BIDS", "outputs", "participant", "--participant-label", label, work=tmp_path / label)
        assert code == 0
    assert fake_parts == ["01", "02", "01"]
    assert run("inputs/data/BIDS", "outputs", "group")[0] == 0
    table = (job / "outputs/phenotype/microbleeds.tsv").read_text().splitlines()
    assert [row.split("\t")[0] for row in table] == ["participant_id", "sub-01", "sub-02"]


def test_the_babs_configuration_has_options_that_exist():
    config = yaml.safe_load((EXAMPLES / "babs" / "mbseg.yaml").read_text())
    options = {option for action in build_parser()._actions for option in action.option_strings}
    given = config["bids_app_args"]
    assert {key for key in given if key.startswith("-")} <= options
    assert {value for key, value in given.items() if key.endswith("_FLAG")} <= options
    assert config["zip_foldernames"] == {"mbseg": __version__.replace(".", "-")}
    assert config["alert_log_messages"] == {"stderr": ["mbseg-bids failed:"]}


def test_versions_in_the_container_recipes_are_that_of_the_package():
    root = EXAMPLES.parent
    assert f"\nARG VERSION={__version__}\n" in (root / "Dockerfile").read_text()
    recipe = (root / "singularity.def").read_text()
    assert set(re.findall(r"(?:version |mbseg-bids[: ])(\d+\.\d+\.\d+)", recipe)) == {__version__}


def test_images_hold_what_is_needed_and_no_more():
    """What the Dockerfile copies from the checkout is let through by .dockerignore."""
    root = EXAMPLES.parent
    copied = set()
    for line in re.findall(r"^COPY (?!--from)(.*)$", (root / "Dockerfile").read_text(), re.MULTILINE):
        copied |= set(line.split()[:-1])
    let_through = {line[1:] for line in (root / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == let_through
    assert all((root / name).exists() for name in copied)
