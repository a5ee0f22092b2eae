"""What the phase said arrives in tables and summary; without it the tables are, to the byte, what they were."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from mbseg_bids.imaging.grids import detection_grid
from mbseg_bids.interfaces.detection import WriteLesions
from mbseg_bids.settings import Settings

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])
SHAPE = (30, 30, 8)
FITS = {
    "1": {"moment": -30.0, "error": 1.0, "explained": 0.8, "sure": True},
    "2": {"moment": 25.0, "error": 1.0, "explained": 0.8, "sure": True},
}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write two lesions, with or without a phase; return tables (as text) and summary."""
    monkeypatch.chdir(tmp_path)
    nib.save(nib.Nifti1Image(np.ones(SHAPE, np.float32), AFFINE), tmp_path / "native.nii.gz")
    grid = detection_grid(SHAPE, AFFINE)
    labels = np.zeros(grid.shape, np.int32)
    labels[8:11, 8:11, 2], labels[18:21, 18:21, 5] = 1, 2
    for name in ("candidates", "survivors"):
        nib.save(nib.Nifti1Image(labels, grid.affine), tmp_path / f"{name}.nii.gz")
    nib.save(nib.Nifti1Image((labels > 0).astype(np.float32), grid.affine), tmp_path / "probability.nii.gz")
    one = {"region": "deep_gm", "probability_mean": 0.9, "probability_max": 0.9, "flags": [], "criteria": {}}
    one |= {"contrast_ratio": 2.0, "ratio_threshold": 1.4}
    evidence = {str(label): one | {"candidate": label} for label in (1, 2)}
    content = {"candidates": evidence, "survivors": evidence, "criteria": None}
    (tmp_path / "evidence.json").write_text(json.dumps(content))
    search = {"n_brain_voxels": 9, "n_searched_voxels": 6, "n_positive_voxels": 6, "highest_probability": 0.9}
    search |= {"n_mask_voxels": 6, "exhaustive": True, "weights": {"patch_size": 28}, "duration_s": 0.0}

    def run(phase=None):
        more = {}
        if phase is not None:
            (tmp_path / "phase.json").write_text(json.dumps(phase))
            more = {"phase": str(tmp_path / "phase.json")}
        outputs = WriteLesions(
            t2star=str(tmp_path / "native.nii.gz"),
            evidence=str(tmp_path / "evidence.json"),
            search=search,
            settings=Settings().as_dict()["detection"] | {"second_look": False},
            **{name: str(tmp_path / f"{name}.nii.gz") for name in ("probability", "candidates", "survivors")},
            **more,
        )
        made = outputs.run().outputs
        summary = json.loads(Path(made.result_json).read_text())
        return Path(made.cmb_dseg_tsv).read_text(), Path(made.candidates_tsv).read_text(), summary

    return run


def test_calcium_is_rejected_in_the_tables(write, tmp_path):
    _, _, summary = write({"facts": {"used": True}, "fits": FITS, "warnings": []})
    candidates = pd.read_csv(tmp_path / "candidates.tsv", sep="\t", keep_default_na=False)
    assert candidates["reason"].tolist() == ["diamagnetic", "n/a"]
    assert candidates["susceptibility_moment"].tolist() == [-30.0, 25.0]
    lesions = pd.read_csv(tmp_path / "cmb_dseg.tsv", sep="\t")
    assert lesions["susceptibility_moment"].tolist() == [25.0]
    assert summary["n_rejected_by_reason"] == {"diamagnetic": 1}
    assert summary["phase"] == {"used": True}


def test_a_phase_that_is_not_used_is_said_and_decides_nothing(write):
    lesions, candidates, summary = write({"facts": {"used": False}, "fits": {}, "warnings": ["It is noise."]})
    plain_lesions, plain_candidates, plain = write()
    assert summary["warnings"] == [*plain["warnings"], "It is noise."]
    assert "phase" not in plain
    for text, without in ((lesions, plain_lesions), (candidates, plain_candidates)):
        header, *rows = text.splitlines()
        assert header == without.splitlines()[0] + "\tsusceptibility_moment\tmoment_error"
        assert rows == [f"{row}\tn/a\tn/a" for row in without.splitlines()[1:]]
