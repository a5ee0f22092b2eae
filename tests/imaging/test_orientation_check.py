"""A head that lies otherwise than its header says is told by how it fits the template."""

import numpy as np
import pytest
from head_phantom import rigid

from mbseg_bids.imaging.orientation_check import _quarter_turns, find_pose
from mbseg_bids.imaging.template import load_template
from mbseg_bids.imaging.volume import Volume


@pytest.fixture(scope="module")
def brains():
    """The template, and as the person's image the same brain smaller, tilted by 12 degrees and elsewhere."""
    template = load_template().brain
    coarse = Volume(template.data[::3, ::3, ::3], template.affine @ np.diag([3.0, 3.0, 3.0, 1.0]))
    moved = rigid((12, 5, -8), (40, -20, 60)) @ np.diag([0.85, 0.85, 0.85, 1.0]) @ coarse.affine
    return coarse, Volume(coarse.data, moved)


def test_the_poses_are_the_rotations_of_a_cube():
    turns = _quarter_turns()
    assert len({turn.tobytes() for turn in turns}) == 24
    assert all(np.linalg.det(turn) == pytest.approx(1) for turn in turns)


def test_an_upright_head_is_not_doubted(brains):
    template, head = brains
    pose = find_pose(head, template)
    assert not pose.doubtful
    assert pose.correlation == pose.best > 0.7
    np.testing.assert_array_equal(pose.turn, np.eye(3))


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ((1, 2), "back to front and upside down"),
        ((0, 2), "right to left and upside down"),
        ((0, 1), "right to left and back to front"),
        ((2,), "upside down"),  # a mirrored head: nothing but left and right tells it from a turned one
    ],
)
def test_a_turned_head_is_told(brains, axes, words):
    template, head = brains
    pose = find_pose(head.with_data(np.flip(head.data, axes).copy()), template)
    assert pose.doubtful
    assert words in pose.sentence
    assert f"{pose.best:.2f} instead of {pose.correlation:.2f}" in pose.sentence


def test_exchanged_axes_are_told(brains):
    """Slices taken for rows: the head lies on its side."""
    template, head = brains
    pose = find_pose(Volume(np.ascontiguousarray(head.data.transpose(0, 2, 1)), head.affine), template)
    assert pose.doubtful


@pytest.mark.parametrize("part", [slice(0, 30), slice(30, None)])
def test_half_a_head_is_no_reason_to_doubt(brains, part):
    """What is left of it fits the template badly in every pose."""
    template, head = brains
    half = np.zeros_like(head.data)
    half[:, :, part] = head.data[:, :, part]
    assert not find_pose(head.with_data(half), template).doubtful


def test_the_storage_order_of_voxels_does_not_matter(brains):
    """Turned data with a header that says so are an upright head."""
    template, head = brains
    flipped = head.affine @ np.diag([1.0, -1.0, -1.0, 1.0])
    flipped[:3, 3] = head.affine[:3] @ [0, head.shape[1] - 1, head.shape[2] - 1, 1]
    pose = find_pose(Volume(np.flip(head.data, (1, 2)).copy(), flipped), template)
    assert not pose.doubtful


def test_the_turn_brings_the_head_upright(brains):
    template, head = brains
    turned = head.with_data(np.flip(head.data, (1, 2)).copy())
    pose = find_pose(turned, template)
    back = np.eye(4)
    back[:3, :3] = pose.turn
    again = Volume(turned.data, back @ turned.affine)
    assert not find_pose(again, template).doubtful
