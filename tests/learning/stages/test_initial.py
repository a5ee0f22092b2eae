import hashlib

import pytest
import torch

from mbseg_bids.detection.network.resnet import build_network, imagenet_weights
from mbseg_bids.detection.network.weights import WeightsMetadata, save_weights
from mbseg_bids.errors import UnreadableDataError, UsageError
from mbseg_bids.learning.stages.initial import IMAGENET_MEAN, IMAGENET_SD, fold_normalisation, starting_network


def test_the_cache_that_lacks_imagenet_weights_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UsageError) as error:
        starting_network("imagenet")
    assert str(tmp_path / "hub" / "checkpoints" / "resnet50-0676ba61.pth") in error.value.what
    assert imagenet_weights().url in error.value.remedy


def test_a_damaged_file_in_the_cache_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub" / "checkpoints" / "resnet50-0676ba61.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half a download")
    with pytest.raises(UnreadableDataError, match="damaged"):
        starting_network("imagenet")


def test_a_file_of_torchvision_gives_its_features_and_a_new_last_layer(tmp_path):
    natural = build_network(1000, seed=3)
    torch.save(natural.state_dict(), tmp_path / "natural.pth")
    start = starting_network(str(tmp_path / "natural.pth"))
    assert start.model.fc.out_features == 2
    assert torch.equal(start.model.layer3[2].conv2.weight, natural.layer3[2].conv2.weight)
    assert not start.keeps_last_layer("microbleed")


def test_folding_replaces_normalisation():
    model = build_network(seed=1).eval()
    with torch.no_grad():
        model.bn1.running_mean.normal_(generator=torch.Generator().manual_seed(1))
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    mean, sd = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_SD))
    with torch.inference_mode():
        expected = model.bn1(model.conv1((image - mean) / sd))
    fold_normalisation(model)
    with torch.inference_mode():
        found = model.bn1(model.conv1(image))
    torch.testing.assert_close(found[:, :, 2:-2, 2:-2], expected[:, :, 2:-2, 2:-2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("content", ["text", "other network"])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "some.pth"
    if content == "text":
        path.write_text("no weights")
    else:
        torch.save(torch.nn.Linear(3, 2).state_dict(), path)
    with pytest.raises(UnreadableDataError, match=r"some\.pth"):
        starting_network(str(path))


def test_weights_of_the_same_task_keep_their_last_layer(tmp_path):
    path = tmp_path / "mine.safetensors"
    digest = save_weights(path, build_network(seed=5), WeightsMetadata("mine", "microbleed", input_size=48)).sha256
    start = starting_network(str(path))
    assert start.keeps_last_layer("microbleed")
    assert not start.keeps_last_layer("csf")
    assert start.source == f"mine, SHA-256 {digest}"
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_unknown_word_lists_what_there_is():
    with pytest.raises(UsageError, match="default"):
        starting_network("imagnet")
