"""From files of a dataset to what the phase says of two candidates, blood and calcium, among veins."""

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from phase_scene import scene

from mbseg_bids.imaging.grids import detection_grid, to_detection_grid
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.interfaces.phase import JudgeByPhase

SIZE = 60
BLOOD, CALCIUM = (12, 8, 5), (-11, -9, -6)


@pytest.fixture(scope="module")
def made():
    rng = np.random.default_rng(1)
    veins = [(rng.uniform(-25, 25, 3), rng.normal(size=3), rng.uniform(1, 2), 0.4) for _ in range(8)]
    return scene([(BLOOD, 4, 1.2), (CALCIUM, 4, -2.0)], veins, size=SIZE, voxel=(1, 1, 2))


@pytest.fixture
def judge(made, tmp_path, monkeypatch):
    """Run the interface on parts given as arrays; return its JSON."""
    monkeypatch.chdir(tmp_path)
    signal, affine = made.signal[0], made.affine

    def save(name, data, where=affine):
        nib.save(nib.Nifti1Image(data, where), f"{name}.nii.gz")
        return str(tmp_path / f"{name}.nii.gz")

    labels = np.zeros(signal.shape, np.int32)
    index = np.stack(np.indices(signal.shape), -1)
    for label, place in enumerate((CALCIUM, BLOOD), start=1):
        middle = (np.array(place) + SIZE / 2) / (1, 1, 2) - 0.5
        labels[np.linalg.norm((index - middle) * (1, 1, 2), axis=-1) < 2.2] = label
    grid = detection_grid(signal.shape, affine)
    on_grid = to_detection_grid(Volume(labels.astype(np.float32), affine), grid, order=0)
    detection = save("labels", on_grid.data.astype(np.int32), on_grid.affine)

    def run(*parts, units="", where=affine):
        interface = JudgeByPhase(
            magnitudes=[save("mag", np.abs(signal).astype(np.float32))],
            parts=[[save(f"part{n}", part, where) for n, part in enumerate(parts)]],
            echo_times=[0.02],
            units=[units],
            field_strength=3.0,
            t2star=save("t2star", np.abs(signal).astype(np.float32)),
            brain=save("brain", np.ones(signal.shape, np.uint8)),
            candidates=detection,
            survivors=detection,
        )
        return json.loads(Path(interface.run().outputs.phase).read_text())

    return run


def signs(result):
    return {label: (np.sign(fit["moment"]), fit["sure"]) for label, fit in result["fits"].items()}


RIGHT = {"1": (-1, True), "2": (1, True)}


@pytest.mark.parametrize("flip", [1, -1])
def test_calcium_is_told_from_blood_in_either_convention(made, judge, flip):
    stored = np.rint(flip * np.angle(made.signal[0]) / np.pi * 4095).astype(np.int16)
    result = judge(stored)
    assert signs(result) == RIGHT
    assert result["facts"]["sign"] == flip
    assert result["facts"]["n_sure_diamagnetic"] == result["facts"]["n_sure_paramagnetic"] == 1
    assert result["warnings"] == []


def test_real_and_imaginary_part_say_the_same(made, judge):
    signal = made.signal[0]
    assert signs(judge(np.float32(signal.real), np.float32(signal.imag))) == RIGHT


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda s: np.float32(np.random.default_rng(0).uniform(-np.pi, np.pi, s.shape)), "is noise"),
        (lambda s: np.float32(np.abs(s)), "is a magnitude"),
        (lambda s: np.float32(np.angle(s))[:, :, :-1], "60 x 60 x 29 voxels, the T2\\* image 60 x 60 x 30"),
        (lambda s: s.astype(np.complex64), "complex"),
    ],
)
def test_what_is_no_phase_is_not_used_and_said_so(made, judge, make, why):
    result = judge(make(made.signal[0]))
    assert result["fits"] == {}
    assert result["facts"] == {"used": False}
    (warning,) = result["warnings"]
    assert "part0.nii.gz is not used" in warning
    assert re.search(why, warning)


def test_a_phase_that_lies_elsewhere_is_not_used(made, judge):
    moved = made.affine.copy()
    moved[:3, 3] += 3
    assert "does not lie where" in judge(np.float32(np.angle(made.signal[0])), where=moved)["warnings"][0]
