import re

import numpy as np
import pytest

from mbseg_bids.cli import workbench
from mbseg_bids.detection.network import weights as w
from mbseg_bids.detection.network.resnet import build_network
from mbseg_bids.detection.network.self_test import self_test_patches


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    w.save_weights(folder / "trial.safetensors", build_network(seed=4), w.WeightsMetadata("trial", input_size=32))
    w.write_manifest(folder, "trial")
    return folder


@pytest.fixture
def installed(made, tmp_path, monkeypatch):
    for file in made.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(w, "WEIGHTS_FOLDER", tmp_path)
    return tmp_path


def test_the_list_says_what_a_user_must_know(installed, capsys):
    assert workbench.main(["weights", "list"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    found = dict(zip(header.split("\t"), row.split("\t"), strict=True))
    assert found == {
        "name": "trial (default)",
        "task": "microbleed",
        "MB": f"{(installed / 'trial.safetensors').stat().st_size / 1e6:.1f}",
        "patch_mm": "28",
        "input_px": "32",
        "licence": "Apache-2.0",
        "sha256": w.sha256(installed / "trial.safetensors"),
    }


def test_whole_weights_answer_the_fixed_patch_alike(installed, capsys):
    assert workbench.main(["weights", "verify"]) == 0
    by_name = capsys.readouterr().out
    assert workbench.main(["weights", "verify", str(installed / "trial.safetensors")]) == 0
    assert by_name.split("; ")[1:] == capsys.readouterr().out.split("; ")[1:]
    assert "whole" in by_name


def test_a_damaged_file_is_code_65_and_the_others_are_still_looked_at(installed, tmp_path, capsys):
    path = installed / "trial.safetensors"
    (tmp_path / "copy").mkdir()
    good = tmp_path / "copy" / "good.safetensors"
    good.write_bytes(path.read_bytes())
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)
    assert workbench.main(["weights", "verify", "trial", str(good)]) == 65
    shown = capsys.readouterr()
    assert "trial: DAMAGED" in shown.err
    assert "good.safetensors: whole" in shown.out


def test_weights_that_answer_no_number_are_damaged(installed, capsys):
    path = installed / "nan.safetensors"
    model = build_network(seed=4)
    model.fc.bias.data.fill_(float("nan"))
    w.save_weights(path, model, w.WeightsMetadata("nan", input_size=32))
    assert workbench.main(["weights", "verify", str(path)]) == 65
    assert "nan" in capsys.readouterr().err


def test_an_unknown_name_is_a_usage_error(installed, capsys):
    assert workbench.main(["weights", "verify", "elsewhere"]) == 64


def test_the_weights_of_the_package_tell_a_microbleed_from_white_matter(capsys):
    assert workbench.main(["weights", "verify", "--self-test"]) == 0
    answer = re.search(r"microbleed (\S+), white matter (\S+): as it should be", capsys.readouterr().out)
    dot, background = map(float, answer.groups())
    assert dot > 0.8
    assert background < 0.05


def test_whole_weights_that_have_learned_nothing_are_code_65_also_by_the_old_name_of_the_option(installed, capsys):
    assert workbench.main(["weights", "verify", "--classify"]) == 65
    assert "WRONG" in (said := capsys.readouterr().err)
    assert "warning: --classify is now called --self-test; the next release knows the new name only" in said


def test_the_known_microbleed_is_dark_in_the_middle_and_darkest_on_t2star():
    dot, background = self_test_patches(28)
    loss = 1 - dot / background
    assert [np.unravel_index(channel.argmax(), channel.shape) for channel in loss] == [(14, 14)] * 3
    assert loss[0].max() > 2 * loss[1].max() > 4 * loss[2].max() > 0.4
    assert np.ptp(background, axis=(1, 2)).max() == 0
