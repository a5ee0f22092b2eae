"""Headers that say little, too much, or what cannot be; orientations and voxel sizes that are rare and right."""

import nibabel as nib
import numpy as np
from cases_images import _header
from corpus import accepted, refused


def _same_grid(ran) -> None:
    """The mask must lie on the grid of the T2*, to the bit."""
    scan = nib.load(next((ran.place.raw / "sub-01/anat").glob("*_T2starw.nii*")))
    mask = nib.load(ran.place.out / "sub-01/anat/sub-01_space-T2starw_label-CMB_mask.nii.gz")
    assert mask.shape == scan.shape
    assert np.array_equal(mask.affine, scan.affine)


def _oriented(p, codes: str, spacing=(1.0, 1.0, 2.0), turn: float = 0.0) -> None:
    ornt = nib.orientations.axcodes2ornt(codes)
    affine = np.zeros((4, 4))
    for axis, (world, flip) in enumerate(ornt):
        affine[int(world), axis] = flip * spacing[axis]
    affine[3, 3] = 1
    angle = np.deg2rad(turn)
    rotation = np.eye(4)
    rotation[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    p.save(p.t2star, affine=rotation @ affine)


@refused("has an impossible voxel size (pixdim (0.0, 1.0, 2.0))")
def pixdim_zero(p):
    """Voxel size zero, no sform"""
    _header(p.t2star, 80, np.float32(0))
    _header(p.t2star, 252, np.array([1, 0], np.int16))


@refused("has an impossible voxel size or orientation")
def pixdim_nan(p):
    """Voxel size NaN"""
    _header(p.t2star, 80, np.float32(np.nan))


@refused("has an impossible voxel size or orientation")
def flat_sform(p):
    """sform that squeezes the volume into a plane"""
    _header(p.t2star, 312, np.zeros(4, np.float32))


@refused("mm, which is no scan of a head")
def micrometres(p):
    """Voxel size in micrometres: 300 x 300 x 2000"""
    p.save(p.t2star, affine=np.diag([300.0, 300.0, 2000.0, 1.0]))


@refused("mm, which is no scan of a head")
def metres(p):
    """Voxel size in metres: 0.001 x 0.001 x 0.002"""
    p.save(p.t2star, affine=np.diag([0.001, 0.001, 0.002, 1.0]))


@accepted("header states no orientation, so the T2starw may be mirrored")
def no_form(p):
    """Header without qform and sform"""
    _header(p.t2star, 252, np.array([0, 0], np.int16))


@accepted("qform and sform place the image up to 40 mm apart; the sform is used")
def forms_disagree(p):
    """qform and sform 40 mm apart"""
    image = nib.Nifti1Image(p.noise(), np.diag([1.0, 1.0, 2.0, 1.0]))
    image.set_qform(nib.affines.from_matvec(np.diag([1.0, 1.0, 2.0]), [40, 0, 0]), code=1)
    image.set_sform(np.diag([1.0, 1.0, 2.0, 1.0]), code=1)
    nib.save(image, p.t2star)


@accepted("by pixdim, 1 x 1 x 2 mm by the sform, which is used")
def sizes_disagree(p):
    """pixdim and sform of different voxel sizes"""
    _header(p.t2star, 80, np.array([3, 3, 3], np.float32))


@accepted(check=_same_grid)
def orientation_lps(p):
    """T2* stored LPS"""
    _oriented(p, "LPS")


@accepted(check=_same_grid)
def orientation_lia(p):
    """T2* stored LIA (sagittal slices as FreeSurfer has them)"""
    _oriented(p, "LIA", (1.0, 1.0, 1.0))


@accepted(check=_same_grid)
def oblique(p):
    """T2* with slices tilted by 28 degrees"""
    _oriented(p, "RAS", turn=28)


@accepted(check=_same_grid)
def thick_slices(p):
    """T2* of 0.5 x 0.5 x 6 mm"""
    _oriented(p, "RAS", (0.5, 0.5, 6.0))


@accepted(check=_same_grid)
def tiny_voxels(p):
    """T2* of 0.3 mm"""
    _oriented(p, "RAS", (0.3, 0.3, 0.3))


@accepted(check=_same_grid)
def large_voxels(p):
    """T2* of 6 mm"""
    _oriented(p, "RAS", (6.0, 6.0, 6.0))
