"""From files of a dataset to what the phase says of two candidates, blood and calcium, among veins."""

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nipype.interfaces.base import isdefined
from phase_scene import scene

from mbseg_bids.imaging.grids import detection_grid, to_detection_grid
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.interfaces.phase import JudgeByPhase
from mbseg_bids.simulation.phase_files import SCALES, PhaseFormat, encoded

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
        outputs = interface.run().outputs
        run.local = outputs.local_phase
        return json.loads(Path(outputs.phase).read_text())

    return run


def signs(result):
    return {label: (np.sign(fit["moment"]), fit["sure"]) for label, fit in result["fits"].items()}


RIGHT = {"1": (-1, True), "2": (1, True)}


FORMATS = [PhaseFormat(scale, sign) for scale in SCALES for sign in (1, -1)]
FORMATS += [PhaseFormat("radians", sign, unwrapped=True) for sign in (1, -1)]


@pytest.mark.parametrize("how", FORMATS, ids=str)
def test_every_way_to_store_it_gives_the_same_decision(made, judge, how):
    # Over several turns from end to end, so that unwrapped is not the same as wrapped.
    slope = 12 * np.linspace(-1, 1, made.signal[0].shape[0])[:, None, None]
    radians = slope + np.angle(made.signal[0] * np.exp(-1j * slope))
    result = judge(encoded(radians, how), units=how.units)
    assert signs(result) == RIGHT
    assert result["facts"]["sign"] == how.sign
    assert result["facts"]["scales"] == [SCALES[how.scale]]
    assert result["warnings"] == []


@pytest.mark.parametrize("flip", [1, -1])
def test_the_local_phase_is_bright_where_the_field_is_stronger(made, judge, flip):
    judge(np.float32(flip * np.angle(made.signal[0])))
    image = nib.load(judge.local)
    local = np.asarray(image.dataobj)
    np.testing.assert_array_equal(image.affine, made.affine)
    for place, kind in ((BLOOD, 1), (CALCIUM, -1)):
        i, j, k = np.rint((np.array(place) + SIZE / 2) / (1, 1, 2) - 0.5).astype(int)
        poles, equator = local[i, j, [k - 3, k + 3]], local[[i - 5, i + 5], j, k]  # 6 mm and 5 mm away
        assert (kind * poles > 0.1).all()
        assert (kind * equator < 0).all()


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
    assert not isdefined(judge.local)
    (warning,) = result["warnings"]
    assert "part0.nii.gz is not used" in warning
    assert re.search(why, warning)


def test_a_phase_that_lies_elsewhere_is_not_used(made, judge):
    moved = made.affine.copy()
    moved[:3, 3] += 3
    assert "does not lie where" in judge(np.float32(np.angle(made.signal[0])), where=moved)["warnings"][0]
