import numpy as np
import pytest
import torch

from mbseg_bids.detection.network import resnet as network


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
    for stage in (model.layer1, model.layer2, model.layer3):  # so that no block is the identity but those of layer4
        for block in stage:
            torch.nn.init.constant_(block.bn3.weight, 0.5)
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


def test_a_new_network_has_twelve_blocks_that_change_nothing():
    model = network.build_network(seed=2).eval()
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected = model(x)
        left_out = network.leave_out_identity_blocks(model)
        torch.testing.assert_close(model(x), expected)
    assert len(left_out) == 12
    assert "layer1.0" not in left_out  # it projects
    assert network.leave_out_identity_blocks(model) == []


def test_putting_blocks_back_gives_the_whole_network_with_its_weights():
    model = network.build_network(seed=2).eval()
    network.leave_out_identity_blocks(model)
    with torch.no_grad():
        model.fc.bias.fill_(3.0)
    whole = network.put_back_blocks(model)
    assert whole.state_dict().keys() == network.build_network(seed=0).state_dict().keys()
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(whole(x), model(x))
    assert not whole.training


def test_a_trained_block_is_never_left_out():
    model = network.build_network(seed=2)
    with torch.no_grad():
        model.layer2[1].bn3.weight[0] = 0.1
        model.layer3[4].bn3.bias[5] = 0.1
    left_out = network.leave_out_identity_blocks(model)
    assert not {"layer2.1", "layer3.4"} & set(left_out)
    assert len(left_out) == 10


def test_layers_can_be_frozen_where_blocks_are_left_out():
    model = network.build_network(seed=2)
    network.leave_out_identity_blocks(model)
    network.freeze(model, 20)
    network.training_mode(model, 20)
    assert not model.layer1[0].conv3.weight.requires_grad
    assert model.layer2[0].conv1.weight.requires_grad
    assert not model.layer1[0].bn3.training
