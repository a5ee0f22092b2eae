"""Every image in space-T2starw lies on the T2* grid, whatever the order of its axes."""

import nibabel as nib
import numpy as np
import pytest
from fake_output import oriented
from head_phantom import centred_affine, rigid, scan

from mbseg_bids.imaging.grids import Grid
from mbseg_bids.imaging.transforms import compose_field
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.interfaces.anatomy import AssembleDetectionGrid
from mbseg_bids.interfaces.files import write_field, write_matrix, write_volume
from mbseg_bids.workflows.anatomy import NATIVE

SHAPE, SPACING = (40, 50, 30), (4.0, 4.0, 5.0)
LEFT_MM = (-45.0, 0.0, 0.0)
"""A dark ball that T1w and T2w show on the patient's left."""


@pytest.mark.parametrize(("axcodes", "tilt"), [("RAS", 0.0), ("LAS", 0.0), ("LPS", 0.0), ("ASL", 0.0), ("LAS", 17.0)])
def test_shape_affine_and_side_are_those_of_the_masks(tmp_path, axcodes, tilt):
    affine = centred_affine(SHAPE, SPACING)
    t2star, _, brain = scan("T2starw", affine, SHAPE)
    t1w, _, _ = scan("T1w", affine, SHAPE)
    ball = np.linalg.norm(t1w.affine[:3, :3] @ np.indices(SHAPE).reshape(3, -1) + t1w.affine[:3, 3:]
                          - np.array(LEFT_MM)[:, None], axis=0).reshape(SHAPE) < 10  # fmt: skip
    marked = np.where(ball, 0, t1w.data).astype(np.float32)
    turn = oriented(t2star.data, affine, axcodes, tilt)
    other_brain = oriented(brain.astype(np.uint8), affine, axcodes, tilt)
    nib.save(turn, tmp_path / "t2star.nii.gz")
    nib.save(other_brain, tmp_path / "t2star_brain.nii.gz")
    stays = write_matrix(tmp_path / "m.txt", rigid((0, 0, tilt), (0, 0, 0)))
    still = compose_field(Grid((4, 4, 4), centred_affine((4, 4, 4), (80.0, 80.0, 80.0))), [np.eye(4)])
    labels = write_volume(tmp_path / "l.nii.gz", t1w.with_data(brain.astype(np.uint8)))
    moving = write_volume(tmp_path / "t1w.nii.gz", Volume(marked, affine))
    node = AssembleDetectionGrid(
        t2star=str(tmp_path / "t2star.nii.gz"), t2star_brain=str(tmp_path / "t2star_brain.nii.gz"),
        t1w=moving, t2w=moving, t1w_to_t2star=stays, t2w_to_t2star=stays, anatomical="T1w",
        brain=labels, tissue=labels, regions=labels, template_to_anat=write_field(tmp_path / "f.nii.gz", still),
    )  # fmt: skip
    outputs = node.run(cwd=str(tmp_path)).outputs
    scanned = nib.load(tmp_path / "t2star.nii.gz")
    for name in NATIVE:
        image = nib.load(getattr(outputs, name))
        assert image.shape == scanned.shape, name
        np.testing.assert_array_equal(image.affine, scanned.affine, err_msg=name)
    # as a user would: an array of one image indexed with a mask made on another
    there = np.asarray(oriented(ball.astype(np.uint8), affine, axcodes, tilt).dataobj) > 0
    for name in ("t1w_native_preproc", "t2w_native_preproc"):
        values = np.asarray(nib.load(getattr(outputs, name)).dataobj)
        mirrored = np.asarray(oriented(ball[::-1].astype(np.uint8), affine, axcodes, tilt).dataobj) > 0
        assert np.median(values[there]) < 0.2 * np.median(values[mirrored]), name
