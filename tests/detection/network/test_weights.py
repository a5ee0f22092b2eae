import json

import pytest
import torch

from mbseg_bids.contrasts import CHANNELS
from mbseg_bids.detection.network import weights as w
from mbseg_bids.detection.network.resnet import build_network, identity_blocks
from mbseg_bids.errors import UnreadableDataError, UsageError


def trained_network():
    """A network each block of which does something."""
    model = build_network(seed=4)
    for name in identity_blocks(model):
        torch.nn.init.constant_(model.get_submodule(name).bn3.weight, 0.1)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    metadata = w.WeightsMetadata(name="trial", input_size=64, training={"steps": 3})
    w.save_weights(folder / "trial.safetensors", trained_network(), metadata)
    w.write_manifest(folder, "trial")
    return folder


@pytest.fixture
def copy(folder, tmp_path, monkeypatch):
    """A folder of its own for tests that damage it, standing for that of the package."""
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(w, "WEIGHTS_FOLDER", tmp_path)
    return tmp_path


def test_the_same_network_gives_the_same_file(folder, tmp_path):
    metadata = w.WeightsMetadata(name="trial", input_size=64, training={"steps": 3})
    hashes = {w.save_weights(tmp_path / f"{n}.safetensors", trained_network(), metadata).sha256 for n in range(3)}
    assert hashes == {w.sha256(folder / "trial.safetensors")}


def test_a_round_trip_keeps_the_network_to_half_precision(folder):
    original = trained_network().state_dict()
    model, metadata = w.load_weights(folder / "trial.safetensors")
    assert not model.training
    for name, value in model.state_dict().items():
        expected = original[name].half().float() if original[name].ndim > 1 else original[name]
        assert torch.equal(value, expected.to(value.dtype)), name
    assert (metadata.name, metadata.patch_size, metadata.input_size) == ("trial", 28, 64)
    assert metadata.channels == CHANNELS
    assert metadata.training == {"steps": 3}
    assert (folder / "trial.safetensors").stat().st_size < 48e6


def test_default_and_name_find_the_same_file(copy):
    assert w.load_weights("default")[1] == w.load_weights("trial")[1]
    assert w.load_weights()[1].sha256 == json.loads((copy / "manifest.json").read_text())["weights"]["trial"]["sha256"]


def test_one_changed_byte_is_refused(copy):
    path = copy / "trial.safetensors"
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)
    for name in ("default", path):
        with pytest.raises(UnreadableDataError, match="damaged"):
            w.load_weights(name)


def test_a_truncated_file_is_refused_without_a_manifest(copy):
    (copy / "manifest.json").unlink()
    path = copy / "trial.safetensors"
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(UnreadableDataError, match="cannot read"):
        w.load_weights(path)


def test_weights_of_the_first_stage_find_no_microbleeds(tmp_path):
    path = tmp_path / "csf.safetensors"
    w.save_weights(path, build_network(seed=4), w.WeightsMetadata(name="csf", task="csf"))
    assert w.load_weights(path)[1].task == "csf"
    with pytest.raises(UsageError, match="mbseg train microbleed"):
        w.load_weights(path, task="microbleed")


def test_a_missing_file_of_the_manifest_is_named(copy):
    (copy / "trial.safetensors").unlink()
    with pytest.raises(UnreadableDataError, match=r"trial\.safetensors"):
        w.load_weights()


def test_a_broken_manifest_is_refused(copy):
    (copy / "manifest.json").write_text('{"default": "trial", "weights": {"trial": {}}}')
    with pytest.raises(UnreadableDataError, match="manifest"):
        w.load_weights()


def test_an_unknown_name_lists_the_known(copy):
    with pytest.raises(UsageError, match="default, trial"):
        w.load_weights("elsewhere")


def test_another_network_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    w.save_weights(path, torch.nn.Sequential(torch.nn.Linear(4, 2)), w.WeightsMetadata(name="other"))
    with pytest.raises(UnreadableDataError, match="not of a ResNet-50"):
        w.load_weights(path)


def test_a_file_without_metadata_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"fc.weight": torch.zeros(2, 2048)}, tmp_path / "bare.safetensors")
    with pytest.raises(UnreadableDataError, match="metadata"):
        w.load_weights(tmp_path / "bare.safetensors")


def test_blocks_that_learned_nothing_are_not_written(tmp_path):
    model = build_network(seed=7).eval()
    torch.nn.init.constant_(model.layer2[1].bn3.bias, 0.2)
    path = tmp_path / "small.safetensors"
    w.save_weights(path, model, w.WeightsMetadata(name="small"))
    assert path.stat().st_size < 20e6
    loaded, _ = w.load_weights(path)
    assert len(identity_blocks(loaded)) == 11
    patches = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(patches), model(patches), atol=2e-2, rtol=2e-2)  # half precision


def test_a_block_that_is_there_in_part_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    path = tmp_path / "part.safetensors"
    w.save_weights(path, trained_network(), w.WeightsMetadata(name="part"))
    with w.safe_open(path, framework="pt") as file:
        header = file.metadata()
    tensors = load_file(path)
    del tensors["layer3.2.conv2.weight"]
    save_file(tensors, path, metadata=header)
    with pytest.raises(UnreadableDataError, match="not of a ResNet-50"):
        w.load_weights(path)
