import numpy as np
import pytest

from mbseg_bids.cli import workbench
from mbseg_bids.detection.weights import load_weights
from mbseg_bids.learning.patch_set import KINDS, PatchSet


@pytest.fixture
def folder(tmp_path, rng):
    """Two patch sets of each stage from ten participants."""
    for stage, kinds in {"csf": ("csf", "tissue"), "microbleed": ("lesion", "background", "candidate")}.items():
        n = 60
        of_kind = np.array([KINDS[k] for k in kinds], np.uint8)[np.arange(n) % len(kinds)]
        volumes = np.where(of_kind == KINDS["lesion"], 9.0, 0.0).astype(np.float32)
        images = rng.integers(0, 255, (n, 3, 42, 42)).astype(np.uint8)
        PatchSet(images, of_kind, np.arange(n, dtype=np.int32) // 6, volumes).save(tmp_path / f"a_{stage}.npz")
    return tmp_path


OPTIONS = ["--steps", "2", "--batch-size", "4", "--input-size", "32", "--device", "cpu"]


def test_both_stages_write_weights_that_say_how_they_were_made(folder, capsys):
    assert workbench.main(["train", "csf", str(folder), "--out", str(folder / "one"), *OPTIONS]) == 0
    stage_one = folder / "one" / "csf.safetensors"
    arguments = ["train", "microbleed", str(folder), "--init", str(stage_one), "--out", str(folder / "two"), *OPTIONS]
    assert workbench.main(arguments) == 0
    csf, _ = load_weights(stage_one)
    model, metadata = load_weights(folder / "two" / "microbleed.safetensors")
    assert (metadata.task, metadata.input_size, metadata.training["settings"]["frozen_layers"]) == ("microbleed", 32, 5)
    assert metadata.training["settings"]["augmentation"]["rotations"] == 19
    assert model.conv1.weight.equal(csf.conv1.weight)  # frozen
    assert not model.fc.weight.equal(csf.fc.weight)  # new
    assert "validation: accuracy" in capsys.readouterr().out
    assert (folder / "two" / "log.csv").is_file()


def test_no_patches_is_a_usage_error(tmp_path, capsys):
    assert workbench.main(["train", "csf", str(tmp_path), "--out", str(tmp_path / "x")]) == 64
    assert "mbseg train sample" in capsys.readouterr().err


def test_a_label_map_that_is_none_is_refused(tmp_path, capsys):
    path = tmp_path / "labels.nii.gz"
    path.write_text("no image")
    assert workbench.main(["train", "simulate", str(path), "--out", str(tmp_path / "sets")]) == 65
    assert "label map" in capsys.readouterr().err
