"""Anatomy of a person without a T1w: a phantom's T2w and T2*, whose tissues are known."""

import numpy as np
import pytest
from head_phantom import centred_affine, head_labels, scan

from mbseg_bids.imaging.anatomical import anatomical_contrast, like_t1w
from mbseg_bids.imaging.brain import dice
from mbseg_bids.imaging.grids import Grid
from mbseg_bids.imaging.labels import CSF, GM, WM
from mbseg_bids.imaging.registration import register_template
from mbseg_bids.imaging.template_registration import check_template
from mbseg_bids.imaging.tissue_from_atlas import tissue_without_t1w
from mbseg_bids.imaging.transforms import grid_points, resample
from mbseg_bids.imaging.volume import Volume

SHAPE, SPACING = (50, 60, 44), (3.0, 3.0, 3.0)
AFFINE = centred_affine(SHAPE, SPACING)
VENTRICLE, CORTEX, WHITE = 4, 3, 2


def as_atlas(tissue: np.ndarray) -> np.ndarray:
    """Return FreeSurfer numbers of a tissue map; all CSF but the rim of the brain is ventricle."""
    return np.select([tissue == CSF, tissue == GM, tissue == WM], [VENTRICLE, CORTEX, WHITE], 0)


def warped_atlas() -> np.ndarray:
    """Return the atlas as a registration leaves it: the phantom's own, 3 mm too far to the front."""
    return as_atlas(head_labels(grid_points(SHAPE, AFFINE) - np.array([0, 3.0, 0]).reshape(3, 1, 1, 1)))


@pytest.mark.parametrize(
    ("have", "expected"),
    [
        (("T2starw", "T2w", "T1w"), "T1w"),
        (("T2starw", "T1w"), "T1w"),
        (("T2starw", "T2w"), "T2w"),
        (("T2starw",), "T2starw"),
    ],
)
def test_the_anatomical_image_is_the_best_there_is(have, expected):
    assert anatomical_contrast(have) == expected


@pytest.mark.parametrize("contrast", ["T1w", "T2w", "T2starw"])
def test_every_contrast_is_given_the_order_of_a_t1w(contrast):
    image, tissue, brain = scan(contrast, AFFINE, SHAPE)
    turned = like_t1w(image, brain, contrast).data
    csf, grey, white = (np.median(turned[tissue == label]) for label in (CSF, GM, WM))
    assert 0 < csf < grey < white
    assert (turned[brain] > 0).all()
    assert (turned[~brain] == 0).all()


@pytest.mark.parametrize("contrast", ["T2w", "T2starw"])
def test_csf_is_found_by_its_signal_and_the_rest_by_the_atlas(contrast):
    image, tissue, brain = scan(contrast, AFFINE, SHAPE)
    atlas = warped_atlas()
    found, warnings = tissue_without_t1w(image, brain, atlas, contrast)
    assert warnings == []
    assert (found[~brain] == 0).all()
    assert (found[brain] > 0).all()
    assert dice(found == CSF, tissue == CSF) > max(0.95, dice(atlas == VENTRICLE, tissue == CSF) + 0.1)
    inside = brain & (found != CSF) & (atlas != VENTRICLE) & (atlas > 0)
    np.testing.assert_array_equal(found[inside] == GM, atlas[inside] == CORTEX)


def test_where_csf_does_not_stand_out_the_atlas_gives_it_and_a_warning_says_so():
    image, tissue, brain = scan("T2starw", AFFINE, SHAPE)
    image.data[tissue == CSF] = image.data[tissue == GM].mean()
    atlas = warped_atlas()
    found, (warning,) = tissue_without_t1w(image, brain, atlas, "T2starw")
    assert "CSF does not stand out on T2starw" in warning
    assert dice(found == CSF, brain & (atlas == VENTRICLE)) > 0.95


def test_t2star_alone_is_registered_to_the_t1w_template():
    """Heads of half the size, for speed; the person's is 8 % wider and 6 % lower than the template's, 4.5 mm off."""
    shape = (40, 48, 36)
    grid = Grid(shape, centred_affine(shape, (2.0, 2.0, 2.0)))
    person = np.diag([2 / 1.08, 2.0, 2 / 0.94, 1.0])
    person[:3, 3] = (0, 9, 0)
    template, expected, template_brain = scan("T1w", grid.affine, shape, np.diag([2.0, 2.0, 2.0, 1.0]))
    image, tissue, brain = scan("T2starw", grid.affine, shape, person, seed=5)
    anat = like_t1w(image, brain, "T2starw")
    target = template.with_data(np.where(template_brain, template.data, 0).astype(np.float32))
    transforms = register_template(anat, target, preset="coarse")
    check = check_template(anat, brain, target, transforms)
    assert check["similarity"] > 0.95
    assert check["folded"] == 0
    moved = resample(Volume(expected, grid.affine), grid, [transforms.t1w_to_template], order=0).data
    for label, least in ((CSF, 0.65), (GM, 0.8), (WM, 0.9)):
        assert dice(moved == label, tissue == label) > max(least, dice(expected == label, tissue == label))
