"""The network of the second look: what it may and may not depend on, and its file."""

import numpy as np
import pytest
import torch

from mbseg_bids.detection.components import middle_voxels
from mbseg_bids.detection.lesion_network import (
    LesionNetwork,
    lesion_log_odds,
    load_lesion_network,
    save_lesion_network,
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


def test_a_file_gives_the_same_network_to_half_precision(network, stack, tmp_path):
    path = tmp_path / "network.safetensors"
    trained = LesionNetwork().to(memory_format=torch.channels_last)  # as training leaves it
    trained.load_state_dict(network.state_dict())
    sha256 = save_lesion_network(path, trained)
    voxels = np.array([[20, 20, 7]])
    found = lesion_log_odds(load_lesion_network(path, sha256), stack, voxels, 1.0)
    assert found == pytest.approx(lesion_log_odds(network, stack, voxels, 1.0), abs=0.02)


def test_another_file_is_refused(network, tmp_path):
    path = tmp_path / "network.safetensors"
    sha256 = save_lesion_network(path, network)
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(UnreadableDataError, match="not the file"):
        load_lesion_network(path, sha256)
    with pytest.raises(UnreadableDataError, match="cannot read"):
        load_lesion_network(tmp_path / "none.safetensors", sha256)


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "network.safetensors"
    sha256 = save_lesion_network(path, torch.nn.Linear(2, 1))
    with pytest.raises(UnreadableDataError, match="another network"):
        load_lesion_network(path, sha256)


def test_the_middle_of_a_component_is_a_voxel_of_it():
    labels = np.zeros((9, 9, 3), np.int32)
    labels[1:8, 1, 1] = labels[1, 1:8, 1] = labels[7, 1:8, 1] = 2  # open on one side: its centroid lies outside
    labels[4, 5, 0] = 5
    middles = middle_voxels(labels)
    assert set(middles) == {2, 5}
    assert labels[tuple(middles[2])] == 2
    assert tuple(middles[5]) == (4, 5, 0)
