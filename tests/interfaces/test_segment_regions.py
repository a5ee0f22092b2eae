"""Regions from a segmentation to reuse, through the node: files in, files out."""

import nibabel as nib
import numpy as np
import pytest
from head_phantom import centred_affine, rigid, scan

from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.imaging.brain import dice
from mbseg_bids.imaging.grids import Grid
from mbseg_bids.imaging.labels import CEREBRAL_WM, CORTICAL_GM, CSF, DEEP_GM, GM, WM
from mbseg_bids.imaging.transforms import compose_field
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.interfaces.anatomy import SegmentRegions
from mbseg_bids.interfaces.files import write_field, write_volume

SHAPE, SPACING = (50, 60, 44), (3.0, 3.0, 3.0)
LEFT_WM, LEFT_CORTEX, RIGHT_CORTEX, LEFT_PUTAMEN, LEFT_VENTRICLE = 2, 3, 42, 12, 4


@pytest.fixture
def head(tmp_path):
    """Write the phantom's T1w, brain mask and a deformation; return its truth and a function that runs the node."""
    affine = centred_affine(SHAPE, SPACING)
    image, tissue, brain = scan("T1w", affine, SHAPE)
    x = np.indices(SHAPE)[0] * SPACING[0] + affine[0, 3]
    aseg = np.select([tissue == CSF, tissue == GM, tissue == WM], [LEFT_VENTRICLE, LEFT_CORTEX, LEFT_WM], 0)
    aseg[(aseg == LEFT_CORTEX) & (x > 0)] = RIGHT_CORTEX
    deep = (np.abs(x) < 36) & (tissue == GM) & (np.indices(SHAPE)[1] > 24) & (np.indices(SHAPE)[1] < 38)
    deep &= (np.indices(SHAPE)[2] > 16) & (np.indices(SHAPE)[2] < 26)
    aseg[deep] = LEFT_PUTAMEN
    t1w = write_volume(tmp_path / "t1w.nii.gz", image)
    mask = write_volume(tmp_path / "brain.nii.gz", image.with_data(brain.astype(np.uint8)))
    field = write_field(tmp_path / "field.nii.gz", compose_field(Grid(SHAPE, affine), [np.eye(4)]))

    def run(monkeypatch, **reused):
        monkeypatch.chdir(tmp_path)
        return SegmentRegions(anat=t1w, brain=mask, template_to_anat=field, **reused).run().outputs

    return image, aseg.astype(np.int32), brain, run


def save_turned(path, data, affine) -> str:
    """Write an array as FreeSurfer orders it: first axis to the left, second downwards, third forwards."""
    ras, lia = (nib.orientations.axcodes2ornt(codes) for codes in ("RAS", "LIA"))
    turned = nib.Nifti1Image(data, affine).as_reoriented(nib.orientations.ornt_transform(ras, lia))
    assert nib.aff2axcodes(turned.affine) == tuple("LIA")
    nib.save(turned, path)
    return str(path)


def test_regions_come_from_the_segmentation(head, tmp_path, monkeypatch):
    image, aseg, brain, run = head
    found = run(monkeypatch, aseg=save_turned(tmp_path / "aseg.nii.gz", aseg, image.affine))
    regions = np.asarray(nib.load(found.regions).dataobj)
    expected = {CORTICAL_GM: (LEFT_CORTEX, RIGHT_CORTEX), DEEP_GM: (LEFT_PUTAMEN,), CEREBRAL_WM: (LEFT_WM,)}
    for region, numbers in expected.items():
        assert dice(regions == region, np.isin(aseg, numbers)) > 0.995
    tissue = np.asarray(nib.load(found.tissue).dataobj)
    assert dice(tissue == CSF, aseg == LEFT_VENTRICLE) > 0.99
    assert (tissue[~brain] == 0).all()
    assert list(found.record["reuse"]) == ["aseg"]
    assert not any("did not lie" in warning for warning in found.record["warnings"])


@pytest.mark.parametrize(
    "off", [rigid((0, 0, 0), (0, 10, 0)), rigid((0, 0, 12), (0, 0, 0)), rigid((0, 0, 0), (0, 0, 90))]
)
def test_segmentation_elsewhere_is_an_error(head, tmp_path, monkeypatch, off):
    image, aseg, _, run = head
    path = write_volume(tmp_path / "aseg.nii.gz", Volume(aseg, off @ image.affine))
    with pytest.raises(UnreadableDataError, match="does not lie on the T1w"):
        run(monkeypatch, aseg=path)


def test_segmentation_elsewhere_is_registered_by_its_own_t1w(head, tmp_path, monkeypatch):
    image, aseg, _, run = head
    off = rigid((3, -4, 6), (12.0, -9.0, 15.0)) @ image.affine
    path = write_volume(tmp_path / "aseg.nii.gz", Volume(aseg, off))
    own_t1w = write_volume(tmp_path / "orig.nii.gz", Volume(image.data, off))
    found = run(monkeypatch, aseg=path, t1w_aseg_space=own_t1w)
    assert any("did not lie on the T1w" in warning for warning in found.record["warnings"])
    regions = np.asarray(nib.load(found.regions).dataobj)
    assert dice(regions == CEREBRAL_WM, aseg == LEFT_WM) > 0.9
    assert dice(regions == DEEP_GM, aseg == LEFT_PUTAMEN) > 0.85


def test_segmentation_of_another_image_is_refused(head, tmp_path, monkeypatch):
    """Its T1w registers, but the labels are not of that T1w."""
    image, aseg, _, run = head
    path = write_volume(tmp_path / "aseg.nii.gz", Volume(np.roll(aseg, 12, axis=1), image.affine))
    own_t1w = write_volume(tmp_path / "orig.nii.gz", image)
    with pytest.raises(UnreadableDataError, match="not of this T1w"):
        run(monkeypatch, aseg=path, t1w_aseg_space=own_t1w)
