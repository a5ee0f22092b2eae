import numpy as np
import pytest
import torch

from mbseg_bids.detection import network


@pytest.fixture(scope="module")
def model():
    return network.build_network(seed=3)


@pytest.mark.parametrize(
    ("n_layers", "expected"),
    [
        (0, []),
        (1, []),
        (5, ["conv1", "bn1"]),
        (10, ["conv1", "bn1", "layer1.0.conv1", "layer1.0.bn1", "layer1.0.conv2", "layer1.0.bn2"]),
    ],
)
def test_frozen_modules_follow_the_layer_list_of_matlab(n_layers, expected):
    assert network.frozen_modules(n_layers) == expected


def test_fifteen_and_twenty_layers_add_what_the_paper_counts():
    fifteen = set(network.frozen_modules(15)) - set(network.frozen_modules(10))
    twenty = set(network.frozen_modules(20)) - set(network.frozen_modules(15))
    assert fifteen == {"layer1.0.conv3", "layer1.0.bn3", "layer1.0.downsample.0", "layer1.0.downsample.1"}
    assert twenty == {"layer1.1.conv1", "layer1.1.bn1"}


def test_the_list_has_all_177_layers_and_every_weight_of_the_network(model):
    names = network.frozen_modules(177)
    assert len(network.matlab_layers()) == 177
    assert sum(p.numel() for p in network.frozen_parameters(model, 177)) == sum(p.numel() for p in model.parameters())
    assert len(names) == len(set(names))


def test_a_wrong_number_of_layers_is_refused():
    with pytest.raises(ValueError, match="0 to 177"):
        network.frozen_modules(178)


def test_a_training_step_moves_neither_frozen_weights_nor_frozen_statistics():
    model = network.build_network(seed=1)
    network.freeze(model, 5)
    network.training_mode(model, 5)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(torch.rand(4, 3, 32, 32)).square().sum().backward()
    optimiser.step()
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    frozen = {k for k in before if k.startswith(("conv1.", "bn1."))}
    assert frozen
    assert not moved & frozen
    assert {"layer1.0.conv1.weight", "layer1.0.bn1.running_mean", "fc.weight"} <= moved


def test_the_seed_decides_the_weights_and_leaves_the_global_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, two = network.build_network(seed=9), network.build_network(seed=9)
    assert torch.rand(1) == expected
    assert torch.equal(one.conv1.weight, two.conv1.weight)
    assert not torch.equal(one.conv1.weight, network.build_network(seed=10).conv1.weight)


def test_folded_batch_norms_give_the_same_logits():
    model = network.build_network(seed=2)
    model.train()
    with torch.no_grad():
        for _ in range(3):  # statistics other than 0 and 1
            model(torch.rand(8, 3, 32, 32))
    model.eval()
    x = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(network.fuse_batch_norms(model)(x), model(x), rtol=1e-3, atol=1e-4)
    assert isinstance(model.bn1, torch.nn.BatchNorm2d)  # the original stays as it was


def test_resizing_keeps_a_constant_patch_and_its_scale():
    patch = torch.full((2, 3, 28, 28), 0.25)
    resized = network.to_network_input(patch, 64)
    assert resized.shape == (2, 3, 64, 64)
    np.testing.assert_allclose(resized.numpy(), 0.25)
