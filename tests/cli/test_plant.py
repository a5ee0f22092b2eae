"""``mbseg plant`` from the command line."""

import json

import pandas as pd
import pytest
from planting_phantom import make_phantom, write_session

from mbseg_bids.cli.workbench import main
from mbseg_bids.planting import detect

FEW = ("--lesions", "3", "--repetitions", "1", "--sizes", "cohort")


@pytest.fixture
def output_dir(tmp_path):
    root = tmp_path / "out"
    write_session(root, "01", make_phantom())
    (root / "dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1.10.0"}))
    (root / ".bidsignore").write_text("figures\n")
    return root


@pytest.fixture
def darkness(monkeypatch):
    """A network that calls dark what is dark."""

    def classifier(model, metadata, stack, **options):
        return lambda voxels: (stack[0][tuple(voxels.T)] < 40).astype("float32")

    monkeypatch.setattr(detect, "classifier", classifier)
    monkeypatch.setattr(detect, "load_weights", lambda *args, **options: (None, None))


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_plant(output_dir, darkness, capsys, tmp_path):
    (output_dir / "sub-01.html").write_text("a report")
    assert main(["plant", str(output_dir), *FEW, "--markdown", str(tmp_path / "t.md")]) == 0
    out = output_dir / "planted"
    first = contents(out)
    assert set(first) == {
        *(f"{name}.{kind}" for name in ("planted", "planted_summary", "planted_curve") for kind in ("tsv", "json")),
        *("planted_curve.png", "planted_curve.svg", "planted.html"),
    }
    rows = pd.read_csv(out / "planted.tsv", sep="\t", keep_default_na=False)
    assert (rows["participant_id"] == "sub-01").all()
    assert set(json.loads(first["planted.json"])) == {*rows.columns, "PlantingSettings"}
    assert (output_dir / ".bidsignore").read_text().split() == ["figures", "planted"]
    assert 'href="planted/planted.html"' in (output_dir / "sub-01.html").read_text()
    assert (tmp_path / "t.md").read_text().splitlines()[
        2
    ] == "| scan | steps | planted | found | not planted per scan |"
    assert "1 of the 1 lesions of the run found again" in capsys.readouterr().err
    assert main(["plant", str(output_dir), *FEW, "--n-workers", "2"]) == 0
    assert contents(out) == first, "another number of workers, other bytes"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["nowhere"], 16, "no output folder"),
        (["out", "--participant-label", "77"], 18, "no finished session"),
        (["out", "--out", "out/other"], 64, "lies in the output folder"),
        (["out", "--weights", "nothing"], 64, "nothing"),
    ],
)
def test_what_is_refused(output_dir, monkeypatch, tmp_path, capsys, arguments, code, text):
    monkeypatch.chdir(tmp_path)
    assert main(["plant", *arguments]) == code
    assert text in capsys.readouterr().err


def test_no_room(output_dir, darkness, capsys):
    phantom = make_phantom()
    phantom.regions[:] = 0
    write_session(output_dir, "01", phantom)
    assert main(["plant", str(output_dir), *FEW]) == 18
    assert "no room" in capsys.readouterr().err
    assert not (output_dir / "planted").exists()


def test_a_session_that_fails_does_not_stop_the_others(output_dir, darkness, capsys):
    write_session(output_dir, "02", make_phantom())
    next((output_dir / "sub-02" / "anat").glob("*brain_mask.nii.gz")).unlink()
    assert main(["plant", str(output_dir), *FEW]) == 1
    assert "sub-02 has no" in capsys.readouterr().err
    assert "sub-02" in (output_dir / "planted" / "planted.html").read_text()
