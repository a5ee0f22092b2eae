"""Images and transforms survive being written and read."""

import nibabel as nib
import numpy as np
import pytest
from head_phantom import centred_affine, rigid

from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.imaging.grids import Grid
from mbseg_bids.imaging.transforms import compose_field
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.interfaces.files import read_field, read_matrix, read_volume, write_field, write_matrix, write_volume
from mbseg_bids.interfaces.labels import MapLabelsToT1w, MapLabelsToTemplate


def test_matrix_reads_back_to_the_bit(tmp_path):
    matrix = rigid((1.1, 2.2, 3.3), (0.1, 1 / 3, 7))
    np.testing.assert_array_equal(read_matrix(write_matrix(tmp_path / "m.txt", matrix)), matrix)


def test_field_reads_back_and_is_what_itk_expects(tmp_path):
    field = compose_field(Grid((6, 7, 8), centred_affine((6, 7, 8), (2.0, 2.0, 2.0))), [rigid((0, 0, 5), (1, 2, 3))])
    path = write_field(tmp_path / "f.nii.gz", field)
    np.testing.assert_array_equal(read_field(path).displacement, field.displacement)
    image = nib.load(path)
    assert image.shape == (6, 7, 8, 1, 3)
    assert image.header.get_intent()[0] == "vector"
    np.testing.assert_array_equal(np.asarray(image.dataobj)[..., 0, 0], -field.displacement[..., 0])


def test_affine_is_kept_to_the_bit(tmp_path):
    affine = rigid((3, 7, 11), (1.23456789, -2, 3)) @ np.diag([0.45, 0.45, 3.0, 1])
    original = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), None)
    original.set_qform(affine, 1)
    nib.save(original, tmp_path / "in.nii.gz")
    volume = read_volume(tmp_path / "in.nii.gz")
    path = write_volume(tmp_path / "out.nii.gz", volume.with_data(np.ones((4, 5, 6), np.uint8)), tmp_path / "in.nii.gz")
    np.testing.assert_array_equal(nib.load(path).affine, nib.load(tmp_path / "in.nii.gz").affine)


def test_trailing_axis_is_dropped(tmp_path):
    nib.save(nib.Nifti1Image(np.ones((3, 4, 5, 1), np.float32), np.eye(4)), tmp_path / "four.nii")
    assert read_volume(tmp_path / "four.nii").shape == (3, 4, 5)


def test_unreadable_images(tmp_path):
    (tmp_path / "broken.nii.gz").write_bytes(b"nothing")
    with pytest.raises(UnreadableDataError, match=r"broken\.nii\.gz"):
        read_volume(tmp_path / "broken.nii.gz")
    nib.save(nib.Nifti1Image(np.ones((3, 4, 5, 2), np.float32), np.eye(4)), tmp_path / "two.nii")
    with pytest.raises(UnreadableDataError, match="4 axes"):
        read_volume(tmp_path / "two.nii")


def test_lesions_on_t1w(tmp_path):
    """A lesion of the T2* grid lands where the transform says, on the grid of T1w."""
    t2star = Volume(np.zeros((20, 20, 10), np.int32), centred_affine((20, 20, 10), (1.0, 1.0, 3.0)))
    t2star.data[5, 6, 7] = 4
    t1w = Volume(np.zeros((40, 40, 40), np.float32), centred_affine((40, 40, 40), (1.0, 1.0, 1.0)))
    shift = rigid((0, 0, 0), (2.0, 0, -1.0))
    node = MapLabelsToT1w(
        labels=write_volume(tmp_path / "l.nii.gz", t2star),
        t1w=write_volume(tmp_path / "t.nii.gz", t1w),
        t1w_to_t2star=write_matrix(tmp_path / "m.txt", shift),
    )
    moved = read_volume(node.run(cwd=str(tmp_path)).outputs.out_file)
    found = moved.affine[:3, :3] @ np.argwhere(moved.data == 4).mean(axis=0) + moved.affine[:3, 3]
    there = t2star.affine[:3, :3] @ np.array([5, 6, 7]) + t2star.affine[:3, 3]
    assert np.linalg.norm(found + shift[:3, 3] - there) < 1.0


@pytest.mark.parametrize("t2star_is_the_anatomy", [False, True])
def test_lesions_on_the_template(tmp_path, t2star_is_the_anatomy):
    """Without a T1w or T2w the deformation starts at T2* itself, and no other transform is on the way."""
    t2star = Volume(np.zeros((20, 20, 10), np.int32), centred_affine((20, 20, 10), (2.0, 2.0, 3.0)))
    t2star.data[5, 6, 7] = 4
    there = t2star.affine[:3, :3] @ np.array([5, 6, 7]) + t2star.affine[:3, 3]
    to_anat = rigid((0, 0, 0), (3.0, -2.0, 1.0))
    grid = Grid((12, 12, 12), centred_affine((12, 12, 12), (20.0, 20.0, 20.0)))
    node = MapLabelsToTemplate(
        labels=write_volume(tmp_path / "l.nii.gz", t2star),
        anat_to_template=write_field(tmp_path / "f.nii.gz", compose_field(grid, [to_anat])),
    )
    expected = there - to_anat[:3, 3]
    if not t2star_is_the_anatomy:
        shift = rigid((0, 0, 0), (0.0, 5.0, 0.0))
        node.inputs.anat_to_t2star = write_matrix(tmp_path / "m.txt", shift)
        expected = expected - shift[:3, 3]
    moved = read_volume(node.run(cwd=str(tmp_path)).outputs.out_file)
    found = moved.affine[:3, :3] @ np.argwhere(moved.data == 4).mean(axis=0) + moved.affine[:3, 3]
    assert np.linalg.norm(found - expected) < 1.0
