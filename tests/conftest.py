"""Fixtures shared by all tests."""

import contextlib
import io
import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

os.environ.setdefault("NO_ET", "1")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20220826)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of scans and label maps too large to be kept here; tests that need it skip without it."""
    folder = Path(os.environ.get("MBSEG_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no shared test data: set MBSEG_TEST_DATA to its folder")
    return folder


@pytest.fixture
def save_image(rng):
    """Return a function that writes a small image of noise, with a sidecar if given metadata."""

    def save(path: Path, shape=(8, 9, 5), spacing=(1.0, 1.0, 2.0), data=None, metadata=None) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        values = rng.normal(100, 20, shape).astype(np.float32) if data is None else data
        image = nib.Nifti1Image(values, np.diag([*spacing, 1.0]))
        image.header.set_xyzt_units("mm", "sec")
        nib.save(image, path)
        if metadata is not None:
            path.with_name(path.name.split(".")[0] + ".json").write_text(json.dumps(metadata))
        return path

    return save


@pytest.fixture
def make_dataset(tmp_path, save_image):
    """Return a function that makes a BIDS dataset of small images from their paths within it."""

    def make(*names: str, root: Path = tmp_path / "raw", spacing=None) -> Path:
        root.mkdir(parents=True, exist_ok=True)
        description = {"Name": "test", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
        (root / "dataset_description.json").write_text(json.dumps(description))
        (root / "README").write_text(
            "A dataset of noise, made by a test to be read by a program and nobody else.\n" * 3
        )
        for name in names:
            save_image(root / name, spacing=(spacing or {}).get(name, (1.0, 1.0, 2.0)))
        return root

    return make


@pytest.fixture
def fake_parts(monkeypatch):
    """Anatomy, detection and reports that take no time."""
    import fake_workflows

    from mbseg_bids.workflows import base

    for name in ("init_anatomy_wf", "init_detection_wf", "init_lesions_in_space_wf"):
        monkeypatch.setattr(base, name, getattr(fake_workflows, name))
    reported = []

    def report(output_dir, participant):
        reported.append(participant)
        (output_dir / f"sub-{participant}.html").write_text("<!DOCTYPE html><title>report</title>\n")

    monkeypatch.setattr("mbseg_bids.cli.participant.build_individual_report", report, raising=False)
    return reported


@pytest.fixture
def commands(monkeypatch, fake_parts):
    """Run the command in this process, where the stand-ins are; return what it was called with."""
    from mbseg_bids import segmentation
    from mbseg_bids.cli import workbench

    called = []

    def run(arguments):
        called.append(arguments)
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            code = workbench.main([*arguments, "--n-cpus", "1"])
        if code:
            raise segmentation._error(code, said.getvalue().strip().splitlines()[-1])

    monkeypatch.setattr(segmentation, "_run", run)
    return called
