"""The network of the candidate classifier: what it may and may not depend on, and its file."""

import hashlib

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mbseg_bids.detection.candidates.network import (
    LesionEnsemble,
    LesionNetwork,
    lesion_log_odds,
    load_lesion_networks,
    save_lesion_networks,
)
from mbseg_bids.errors import UnreadableDataError


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    return LesionNetwork().eval()


@pytest.fixture(scope="module")
def stack():
    return np.random.default_rng(0).uniform(0, 100, (3, 41, 41, 15)).astype(np.float32)


def test_turning_or_mirroring_the_scan_changes_nothing(network, stack):
    middle = np.array([[20, 20, 7]])
    expected = lesion_log_odds(network, stack, middle, 2.0)
    turned = np.ascontiguousarray(np.rot90(stack, axes=(1, 2)))
    mirrored = np.ascontiguousarray(stack[:, ::-1])
    assert lesion_log_odds(network, turned, middle, 2.0) == pytest.approx(expected, abs=1e-5)
    assert lesion_log_odds(network, mirrored, middle, 2.0) == pytest.approx(expected, abs=1e-5)
    darker = stack.copy()
    darker[0, 17:24, 17:24] = 0
    assert lesion_log_odds(network, darker, middle, 2.0) != pytest.approx(expected, abs=1e-4)


def test_a_candidate_depends_on_no_other(network, stack):
    voxels = np.array([[20, 20, 7], [3, 30, 1], [38, 4, 14]])
    together = lesion_log_odds(network, stack, voxels, 1.0)
    alone = [lesion_log_odds(network, stack, voxel[None], 1.0)[0] for voxel in voxels[::-1]]
    np.testing.assert_array_equal(together[::-1], alone)
    assert lesion_log_odds(network, stack, np.empty((0, 3), int), 1.0).shape == (0,)


def test_slice_distance_matters(network, stack):
    with torch.inference_mode():
        squares = torch.rand(1, 15, 24, 24)
        thin, thick = (float(network(squares, torch.tensor([s]))) for s in (1.0, 5.0))
    assert thin != thick


def test_an_ensemble_answers_with_the_mean_of_its_members(network, stack):
    torch.manual_seed(4)
    other, voxels = LesionNetwork(), np.array([[20, 20, 7], [3, 30, 1]])
    both, one, two = (
        lesion_log_odds(n, stack, voxels, 2.0) for n in (LesionEnsemble([network, other]), network, other)
    )
    assert both == pytest.approx((one + two) / 2, abs=1e-6)
    assert one != pytest.approx(two, abs=1e-4)


def test_a_file_gives_the_same_networks_to_half_precision(network, stack, tmp_path):
    path = tmp_path / "network.safetensors"
    torch.manual_seed(4)
    members = [network, LesionNetwork().to(memory_format=torch.channels_last)]  # the second as training leaves it
    loaded = load_lesion_networks(path, save_lesion_networks(path, members))
    assert len(loaded.members) == 2
    voxels = np.array([[20, 20, 7]])
    expected = lesion_log_odds(LesionEnsemble(members), stack, voxels, 1.0)
    assert lesion_log_odds(loaded, stack, voxels, 1.0) == pytest.approx(expected, abs=0.02)


def test_another_file_is_refused(network, tmp_path):
    path = tmp_path / "network.safetensors"
    sha256 = save_lesion_networks(path, [network])
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(UnreadableDataError, match="not the file"):
        load_lesion_networks(path, sha256)
    with pytest.raises(UnreadableDataError, match="cannot read"):
        load_lesion_networks(tmp_path / "none.safetensors", sha256)


@pytest.mark.parametrize("name", ["members.0.weight", "weight"])
def test_weights_of_another_network_are_refused(name, tmp_path):
    path = tmp_path / "network.safetensors"
    save_file({name: torch.zeros(2)}, path)
    with pytest.raises(UnreadableDataError, match="another network"):
        load_lesion_networks(path, hashlib.sha256(path.read_bytes()).hexdigest())


def test_an_ensemble_of_none_is_refused():
    with pytest.raises(ValueError, match="needs a network"):
        LesionEnsemble([])
