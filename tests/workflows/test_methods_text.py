"""What the workflows say of themselves: beside the nodes, and only of what this session has."""

import re
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from mbseg_bids.bids.boilerplate import REFERENCES
from mbseg_bids.bids.inputs import Session
from mbseg_bids.bids.phase_files import EchoFiles, PhaseFiles
from mbseg_bids.bids.selection import Selected
from mbseg_bids.cli.planning import SessionPlan
from mbseg_bids.settings import AnatomySettings, DetectionSettings, OutputSettings, Settings
from mbseg_bids.workflows.base import _describe, init_session_wf, paragraphs


@pytest.fixture
def text(tmp_path):
    def describe(contrasts=("T1w", "T2w", "T2starw"), settings=None, reasons=None, echoes=1, reused=(), **session):
        images = {}
        for contrast in contrasts:
            paths = [
                tmp_path / f"{contrast}{number}.nii.gz" for number in range(echoes if contrast == "T2starw" else 1)
            ]
            for path in paths:
                nib.save(nib.Nifti1Image(np.zeros((3, 3, 3), np.float32), np.eye(4)), path)
            images[contrast] = Selected(tuple(paths), (reasons or {}).get(contrast, "the only one"), None)
        roles = {}
        for role in reused:
            roles[role] = tmp_path / f"{role}.nii.gz"
            roles[role].write_bytes(b"0")
        plan = SessionPlan(
            Session("01", None, images, **session), "0" * 64, {"warnings": [], "inputs": {"T2starw": {}}}, roles
        )
        workflow = init_session_wf(
            plan=plan, bids_dir=tmp_path, output_dir=tmp_path / "out", settings=settings or Settings(), hide={}
        )
        said = paragraphs(workflow)
        assert workflow.get_node("finish").inputs.facts["methods"] == said
        return "\n".join(said)

    return describe


def test_the_text_of_a_plain_session(text):
    said = text()
    assert said.startswith(
        "Images were taken from a BIDS dataset (Gorgolewski 2016). The network saw T1w, T2w and T2*."
    )
    assert "T1w and T2w were registered rigidly to the T2*-weighted image, and the T1w to the template MNI152" in said
    assert "Brain mask, tissues and regions were computed" in said
    assert "at least 1.2 times (in deep grey matter 1.4 times)" in said
    assert "a probability of at least 0.4 that it is a microbleed (definite from 0.8)" in said
    assert "brought to the space of the T1w" in said
    assert "brought to template space" in said
    assert "phase" not in said
    assert said.index("N4") < said.index("ResNet-50") < said.index("rating sheets")


def test_every_citation_has_a_reference(text):
    cited = set(re.findall(r"([A-Z]\w+ (?:19|20)\d\d)", text()))
    assert cited
    assert cited <= set(REFERENCES)


@pytest.mark.parametrize(
    ("contrasts", "said", "unsaid"),
    [
        (
            ("T2w", "T2starw"),
            ["There was no T1w", "Without a T1w, the brain was outlined on the T2w"],
            "space of the T1w",
        ),
        (("T1w", "T2starw"), ["There was no T2w", "T1w was registered rigidly"], "Without a T1w"),
        (("T2starw",), ["There was no T2w and T1w", "the T2* image was registered to the template"], "rigidly"),
    ],
)
def test_says_what_was_missing_and_what_was_done_instead(text, contrasts, said, unsaid):
    found = text(contrasts)
    assert all(words in found for words in said), found
    assert unsaid not in found


def test_says_where_inputs_were_not_the_plain_ones(text):
    found = text(reasons={"T1w": "from ses-1, as this session has none; the only one"}, echoes=3)
    assert "The T2*-weighted image was the mean of several echoes." in found
    assert "The T1w came from another session of the participant." in found


def test_says_what_was_reused(text):
    assert "Existing results were reused: the anatomical segmentation (aseg);" in text(
        reused=["aseg", "t1w_aseg_space"]
    )


def test_says_what_the_settings_change(text):
    method = DetectionSettings(second_look=False, reader_criteria=False, exhaustive=True, maximum_diameter=8)
    settings = replace(
        Settings(), detection=method, anatomy=AnatomySettings(registration="coarse"), outputs=OutputSettings(())
    )
    found = text(settings=settings)
    assert "classified every brain voxel from" in found
    assert "deformably (2 mm)" in found
    assert "equal-sphere diameter above 8 mm" in found
    assert not any(words in found for words in ("additive", "Greenberg", "brought to"))


def test_speaks_of_the_phase_where_there_is_one(text, tmp_path):
    files = [tmp_path / name for name in ("T2starw0.nii.gz", "phase.nii.gz")]
    for path in files:
        Path(path).write_bytes(b"0")
    phase = PhaseFiles((EchoFiles(files[0], (files[1],), 0.02),), 3.0)
    assert "A dipole was fitted to the unwrapped phase" in text(phase=phase)


def test_plain_files_are_no_dataset(text, tmp_path):
    session = Session("01", None, {"T2starw": Selected((tmp_path / "a.nii",), "given by name", None)}, title="a")
    assert _describe(session, plain=True).startswith("The network saw T2*. There was no")
