"""What is said of scans that do not show the same part of the head."""

import numpy as np
import pytest
from head_phantom import centred_affine, rigid, scan

from mbseg_bids.imaging.preparation import assemble, coarse_voxels, share_covered
from mbseg_bids.imaging.volume import Volume

SHAPE = (50, 60, 44)
AFFINE = centred_affine(SHAPE, (3.0, 3.0, 3.0))
SLICES = SHAPE[2]


@pytest.fixture(scope="module")
def head():
    """T2* and T1w in one place, and the brain."""
    t2star, _, brain = scan("T2starw", AFFINE, SHAPE)
    return t2star, scan("T1w", AFFINE, SHAPE)[0], brain


def upper(volume: Volume, start: int) -> Volume:
    """Return the slices from ``start`` on, where they were."""
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, 2] * start
    return Volume(volume.data[:, :, start:].copy(), affine)


@pytest.mark.parametrize("start", [0, 15, SLICES // 2, 30])
def test_the_share_is_that_of_the_slices_kept(head, start):
    t2star, t1w, brain = head
    expected = brain[:, :, start:].sum() / brain.sum()
    found = share_covered(upper(t2star, start), t1w.with_data(brain), np.eye(4))
    assert found == pytest.approx(expected, abs=0.04)


def test_the_share_follows_the_transform(head):
    """A T1w 200 mm away that the registration brings back is covered; without it none of it is."""
    t2star, t1w, brain = head
    away = rigid((0, 0, 0), (200, 0, 0))
    there = Volume(brain, away @ t1w.affine)
    assert share_covered(t2star, there, np.linalg.inv(away)) == 1.0
    assert share_covered(t2star, there, np.eye(4)) == 0.0


@pytest.mark.parametrize(("start", "warned"), [(0, False), (4, False), (SLICES // 2, True)])
def test_half_a_head_on_t2star_is_told_and_a_missing_lowest_slice_is_not(head, start, warned):
    t2star, t1w, brain = head
    labels = t1w.with_data(brain.astype(np.uint8))
    part = upper(t2star, start)
    own = brain[:, :, start:]
    found = assemble(part, {"t1w": (t1w, np.eye(4))}, labels, labels, labels, np.eye(4), own)
    told = [sentence for sentence in found.warnings if "counts are of this part" in sentence]
    assert bool(told) is warned
    assert [sentence for sentence in found.warnings if "mm in plane" not in sentence] == told


@pytest.mark.parametrize(
    ("spacing", "warned"), [((0.5, 0.5, 5.0), False), ((2.0, 2.0, 4.0), False), ((2.5, 2.4, 3.0), True)]
)
def test_coarse_voxels_are_told_of_and_thick_slices_are_not(spacing, warned):
    told = coarse_voxels(np.diag([*spacing, 1.0]))
    assert len(told) == warned
    assert not warned or "2.5 x 2.4 mm" in told[0]
    assert coarse_voxels(np.diag([*spacing, 1.0])[[2, 0, 1, 3]]) == told  # whatever the axes are
