"""A reviewed result in a whole output folder: still a valid dataset, and both levels go on with it."""

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
from review_session import judge, write_review

from mbseg_bids.cli import app, workbench
from mbseg_bids.reports.session_files import SessionKey

VALIDATOR = shutil.which("bids-validator-deno", path=os.pathsep.join([str(Path(sys.executable).parent), os.defpath]))
CONTRASTS = ("T1w", "T2w", "T2starw")
KEY = SessionKey("01", "1")
STEM = "sub-01/ses-1/anat/sub-01_ses-1_space-T2starw_"


@pytest.fixture
def reviewed(make_dataset, tmp_path, fake_parts):
    """Output of both levels for a participant, one lesion rejected and one added."""
    root = make_dataset(*[f"sub-01/ses-1/anat/sub-01_ses-1_{c}.nii.gz" for c in CONTRASTS])
    out = tmp_path / "out"
    options = ["-w", str(tmp_path / "work"), "--n-cpus", "1"]
    assert app.main([str(root), str(out), "participant", *options]) == 0
    said = [judge("CMB-001", "reject", key=KEY), judge("ADDED-1", voxel=(5, 5, 3), key=KEY)]
    review = write_review(tmp_path / "review.tsv", out, said)
    assert workbench.main(["review", "page", str(out)]) == 0
    assert workbench.main(["review", "apply", str(out), str(review)]) == 0
    assert app.main([str(root), str(out), "group", "--reviewed", *options]) == 0
    return root, out, options


def test_the_folder_is_valid_and_the_group_counts_what_the_reader_left(reviewed, tmp_path):
    _, out, _ = reviewed
    lesions = pd.read_csv(out / f"{STEM}seg-CMB_desc-reviewed_dseg.tsv", sep="\t", keep_default_na=False)
    assert lesions["name"].tolist() == ["CMB-002"]
    assert lesions["color"].tolist() == ["#FF5A36"]
    labels = np.asarray(nib.load(out / f"{STEM}seg-CMB_desc-reviewed_dseg.nii.gz").dataobj)
    assert set(np.unique(labels)) == {0, 2}
    assert labels[5, 5, 3] == 2 or lesions["origin"][0] == "added_grown"
    for ending in (".lut", ".ctbl", ".label"):
        assert "CMB-002" in (out / f"{STEM}seg-CMB_desc-reviewed_dseg{ending}").read_text()
        assert "CMB-001" in (out / f"{STEM}seg-CMB_dseg{ending}").read_text()
    row = pd.read_csv(out / "phenotype" / "microbleeds.tsv", sep="\t").iloc[0]
    assert (row["n_total"], row["result"], row["reader"]) == (1, "reviewed", "R")
    assert (out / "review" / "niivue.js").stat().st_size < 3_000_000
    assert str(tmp_path) not in (out / "review" / "sub-01.html").read_text()
    if VALIDATOR is None:
        pytest.skip("bids-validator-deno is not installed")
    done = subprocess.run([VALIDATOR, "--format", "json", out], capture_output=True, text=True, check=False)
    issues = json.loads(done.stdout)["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []
    unknown = [issue for issue in issues if "reviewed" in json.dumps(issue) and "UNUSED" not in issue["code"]]
    assert [issue for issue in unknown if issue["code"] == "TSV_ADDITIONAL_COLUMNS_UNDEFINED"] == []
