"""Known displacements are recovered; wrong ones are caught."""

import numpy as np
import pytest
from head_phantom import centred_affine, rigid, scan

from mbseg_bids.imaging.registration import is_slab, register_rigid, register_rigid_multistart
from mbseg_bids.imaging.registration_check import (
    RegistrationCheck,
    check_rigid,
    loose_fit,
    register_checked,
    register_pair,
)

FIXED_SHAPE, FIXED_SPACING = (60, 72, 26), (2.5, 2.5, 5.0)
MOVING_SHAPE, MOVING_SPACING = (58, 68, 52), (2.6, 2.6, 2.6)
MOVED = rigid((4, -6, 8), (6.0, -5.0, 4.0))
"""Takes points of the T1w scanner frame to points of the T2* frame."""


@pytest.fixture(scope="module")
def pair():
    fixed, _, fixed_brain = scan("T2starw", centred_affine(FIXED_SHAPE, FIXED_SPACING), FIXED_SHAPE)
    moving, _, moving_brain = scan("T1w", centred_affine(MOVING_SHAPE, MOVING_SPACING), MOVING_SHAPE, MOVED, seed=4)
    return fixed, fixed_brain, moving, moving_brain


def error_mm(found: np.ndarray, brain: np.ndarray, affine: np.ndarray) -> float:
    """Mean distance between where two transforms take the brain."""
    points = affine[:3, :3] @ np.argwhere(brain)[::50].T + affine[:3, 3:]
    gap = (found - MOVED)[:3, :3] @ points + (found - MOVED)[:3, 3:]
    return float(np.linalg.norm(gap, axis=0).mean())


def test_greedy_recovers_a_known_displacement(pair):
    fixed, _, moving, moving_brain = pair
    assert error_mm(np.eye(4), moving_brain, moving.affine) > 8
    assert error_mm(register_rigid(fixed, moving), moving_brain, moving.affine) < 1.0


def test_multistart_recovers_a_known_displacement_on_a_slab(pair):
    fixed, _, moving, moving_brain = pair
    affine = fixed.affine.copy()
    affine[:3, 3] += affine[:3, 2] * 10
    slab = type(fixed)(fixed.data[:, :, 10:18].copy(), affine)
    assert is_slab(slab)
    assert not is_slab(fixed)
    assert error_mm(register_rigid_multistart(slab, moving), moving_brain, moving.affine) < 2.0


def test_registration_is_the_same_every_time(pair):
    fixed, _, moving, _ = pair
    np.testing.assert_array_equal(register_rigid(fixed, moving), register_rigid(fixed, moving))


def test_true_position_passes(pair):
    fixed, fixed_brain, moving, moving_brain = pair
    check = check_rigid(fixed, moving, MOVED, fixed_brain=fixed_brain, moving_brain=moving_brain)
    assert check.passed, check.reasons
    assert check.overlap > 0.95


@pytest.mark.parametrize(
    ("advantage", "passed", "told"), [(0.44, True, True), (0.46, True, False), (0.1, False, False)]
)
def test_a_loose_fit_is_told_with_its_figures_unless_the_check_failed(advantage, passed, told):
    sentence = loose_fit(RegistrationCheck(1.02, advantage, 0.92, passed, () if passed else ("x",)))
    assert (sentence is not None) is told
    assert not told or "gains 44 %" in sentence


@pytest.mark.parametrize(
    "wrong", [rigid((0, 0, 0), (0, 12, 0)), rigid((0, 0, 20), (0, 0, 0)), rigid((0, 0, 180), (0, 0, 0))]
)
def test_wrong_position_is_caught(pair, wrong):
    fixed, fixed_brain, moving, moving_brain = pair
    check = check_rigid(fixed, moving, wrong @ MOVED, fixed_brain=fixed_brain, moving_brain=moving_brain)
    assert not check.passed
    assert check.reasons


def test_wrong_position_is_caught_without_a_brain_on_t2star(pair):
    fixed, _, moving, moving_brain = pair
    check = check_rigid(
        fixed, moving, rigid((0, 0, 0), (0, 12, 0)) @ MOVED, fixed_brain=None, moving_brain=moving_brain
    )
    assert not check.passed
    assert check.overlap is None


def test_images_apart_are_caught(pair):
    fixed, fixed_brain, moving, moving_brain = pair
    check = check_rigid(
        fixed, moving, rigid((0, 0, 0), (900, 0, 0)), fixed_brain=fixed_brain, moving_brain=moving_brain
    )
    assert not check.passed


def test_failed_registration_is_tried_again(pair):
    """A first start that lands wrong is replaced by the next; the record says so."""
    fixed, fixed_brain, moving, moving_brain = pair

    def check(transform):
        return check_rigid(fixed, moving, transform, fixed_brain=fixed_brain, moving_brain=moving_brain)

    def failing():
        raise RuntimeError("diverged")

    wrong = rigid((0, 0, 0), (0, 15, 0))
    found = register_checked([("bad", lambda: wrong), ("dead", failing), ("good", lambda: MOVED)], check)
    assert found.method == "good"
    assert found.check.passed
    assert found.as_dict()["retried"]


def test_registration_that_fails_for_good_is_flagged(pair):
    fixed, fixed_brain, moving, moving_brain = pair
    wrong = rigid((0, 0, 0), (0, 15, 0))
    found = register_checked(
        [("bad", lambda: wrong)],
        lambda t: check_rigid(fixed, moving, t, fixed_brain=fixed_brain, moving_brain=moving_brain),
    )
    assert not found.check.passed
    assert found.as_dict()["reasons"]


def test_pair_far_apart_is_registered(pair):
    """A header that puts the image 150 mm off does no harm."""
    fixed, fixed_brain, moving, moving_brain = pair
    far = rigid((0, 0, 0), (60, -120, 70))
    displaced = type(moving)(moving.data, far @ moving.affine)
    found = register_pair(fixed, displaced, fixed_brain=fixed_brain, moving_brain=moving_brain)
    assert found.check.passed, found.check
    assert error_mm(found.transform @ far, moving_brain, moving.affine) < 1.0
