import numpy as np
import pytest
from head_phantom import rigid

from mbseg_bids.imaging.midpoint import halfway, rigid_mean


@pytest.mark.parametrize(
    ("angles", "shift"),
    [((0, 0, 0), (0, 0, 0)), ((0, 0, 0), (4, -2, 9)), ((20, -35, 8), (12, 3, -7)), ((0, 0, 170), (1, 2, 3))],
)
def test_halfway_done_twice_is_the_whole(angles, shift):
    whole = rigid(angles, shift)
    half = halfway(whole)
    np.testing.assert_allclose(half @ half, whole, atol=1e-9)
    np.testing.assert_allclose(half[:3, :3] @ half[:3, :3].T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(halfway(np.linalg.inv(whole)), np.linalg.inv(half), atol=1e-9)


def test_a_half_turn_has_no_half():
    with pytest.raises(ValueError, match="half turn"):
        halfway(rigid((0, 0, 180), (0, 0, 0)))


def test_mean_does_not_depend_on_the_order():
    one, other = rigid((3, -4, 5), (10, 2, -3)), rigid((3.5, -4.2, 4.8), (10.4, 1.7, -3.3))
    np.testing.assert_allclose(rigid_mean(one, other), rigid_mean(other, one), atol=1e-9)
    np.testing.assert_allclose(rigid_mean(one, one), one, atol=1e-9)
