import nibabel as nib
import numpy as np
import pytest
from fake_output import oriented

from mbseg_bids.imaging.volume import Volume
from mbseg_bids.reports.views import canonical_voxel, sample_on, slice_axis, strong_edges, to_canonical


def as_volume(image: nib.Nifti1Image) -> Volume:
    return Volume(np.asarray(image.dataobj), image.affine)


@pytest.mark.parametrize("axcodes", ["RAS", "LAS", "LPS", "PIR", "SLA"])
@pytest.mark.parametrize("tilt", [0.0, 30.0])
def test_canonical_axes_hold_the_same_voxels_in_the_same_place(axcodes, tilt, rng):
    array = rng.random((6, 7, 8)).astype(np.float32)
    affine = np.diag([1.0, 1.5, 4.0, 1.0])
    affine[:3, 3] = 3, -8, 11
    volume = as_volume(oriented(array, affine, axcodes, tilt))
    canonical = to_canonical(volume)
    assert nib.aff2axcodes(canonical.affine) == ("R", "A", "S")
    assert (canonical.data == array).all()
    voxel = canonical_voxel((2, 3, 4), volume, canonical)
    assert np.allclose(canonical.affine @ [*voxel, 1], volume.affine @ [2, 3, 4, 1])
    assert canonical.data[tuple(np.rint(voxel).astype(int))] == volume.data[2, 3, 4]


def test_other_grid_is_sampled_at_the_right_place():
    """A linear ramp in world coordinates is exact under linear interpolation."""
    coarse = Volume(np.zeros((20, 20, 10)), np.diag([2.0, 2.0, 4.0, 1.0]))
    ramp = np.einsum("w,wijk->ijk", [1.0, 2.0, 3.0], np.indices(coarse.shape) * np.array([2, 2, 4]).reshape(3, 1, 1, 1))
    reference = Volume(np.zeros((5, 6, 7)), np.array([[1.0, 0, 0, 9], [0, 1, 0, 8], [0, 0, 1.0, 7], [0, 0, 0, 1]]))
    sampled = sample_on(coarse.with_data(ramp), reference, order=1)
    i, j, k = np.indices(reference.shape)
    assert np.allclose(sampled, (9 + i) + 2 * (8 + j) + 3 * (7 + k), atol=1e-3)


def test_slice_axis_is_the_coarsest_and_ties_go_to_axial():
    assert slice_axis((1, 1, 4)) == 2
    assert slice_axis((4, 1, 1)) == 0
    assert slice_axis((1, 5, 1)) == 1
    assert slice_axis((1.0, 1.02, 1.0)) == 2


def test_edges_lie_on_the_border_of_a_block():
    image = np.full((40, 40, 3), 50, np.float32)
    image[10:30, 12:28] = 100
    sign, strong = strong_edges(image, (1, 1, 4), 2, np.ones(image.shape, bool))
    along = sign[:, 20, 1]
    crossings = {i for i in range(39) if along[i] != along[i + 1] and (strong[i, 20, 1] or strong[i + 1, 20, 1])}
    assert crossings == {9, 29}
