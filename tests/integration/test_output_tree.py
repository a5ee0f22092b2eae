"""Both levels with stand-ins for anatomy and detection; reports, tables and validation are the real ones."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import fake_workflows
import pytest

from mbseg_bids.cli import app

VALIDATOR = shutil.which("bids-validator-deno", path=os.pathsep.join([str(Path(sys.executable).parent), os.defpath]))
CONTRASTS = ("T1w", "T2w", "T2starw")


@pytest.fixture
def finished(make_dataset, tmp_path, monkeypatch):
    """Output of both levels for two participants, one with two sessions."""
    from mbseg_bids.workflows import base

    for name in ("init_anatomy_wf", "init_detection_wf", "init_lesions_in_space_wf"):
        monkeypatch.setattr(base, name, getattr(fake_workflows, name))
    names = [f"sub-01/ses-{s}/anat/sub-01_ses-{s}_{c}.nii.gz" for s in ("1", "2") for c in CONTRASTS]
    root = make_dataset(*names, *[f"sub-02/anat/sub-02_{c}.nii.gz" for c in CONTRASTS])
    out = tmp_path / "out"
    options = ["-w", str(tmp_path / "work"), "--n-cpus", "1"]
    assert app.main([str(root), str(out), "participant", *options]) == 0
    assert app.main([str(root), str(out), "group", *options]) == 0
    return out


@pytest.mark.skipif(VALIDATOR is None, reason="bids-validator-deno is not installed")
def test_the_whole_output_is_valid_and_travels(finished, tmp_path):
    done = subprocess.run([VALIDATOR, "--format", "json", finished], capture_output=True, text=True, check=False)
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []
    assert sorted(p.name for p in finished.glob("sub-*.html")) == ["sub-01.html", "sub-02.html"]
    rows = (finished / "phenotype" / "microbleeds.tsv").read_text().splitlines()
    assert len(rows) == 4
    for path in finished.rglob("*"):
        if path.suffix in (".html", ".json", ".tsv", ".md", ".log", ".toml"):
            assert str(tmp_path) not in path.read_text(), path
