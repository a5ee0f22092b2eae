import numpy as np
import pytest
from scipy import ndimage

from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.learning.examples import sampling
from mbseg_bids.learning.examples.patch_set import KINDS, concatenate, load_patch_set
from mbseg_bids.simulation.mimics import MIMIC_NUMBERS


@pytest.fixture
def scan(rng):
    """A stack whose values name the voxel: T2* is i, T2w is j, T1w is k (times two)."""
    shape = (60, 50, 6)
    stack = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")).astype(np.float32)
    stack[2] *= 2
    brain = np.zeros(shape, bool)
    brain[10:50, 10:40] = True
    lesions = np.zeros(shape, np.int32)
    lesions[20:22, 20, 2] = 1
    lesions[30:38, 28:36, 3] = 2
    mimics = np.zeros(shape, np.uint8)
    mimics[12, 12:38, :] = 1
    candidates = brain & (rng.random(shape) < 0.2)
    return stack, lesions, brain, candidates, mimics


def centres(patches):
    middle = patches.patches[:, :, patches.patches.shape[-1] // 2, patches.patches.shape[-1] // 2] / 255 * 100
    return np.rint(middle / [1, 1, 2]).astype(int)


@pytest.fixture
def patches(scan, rng):
    counts = sampling.MicrobleedCounts(voxels_per_lesion=24, background=50, candidate=80, mimic=40, surround=30)
    return sampling.microbleed_patches(*scan, 7, rng, voxel_volume=3.0, counts=counts)


def test_each_kind_comes_from_its_place(scan, patches):
    _, lesions, brain, candidates, mimics = scan
    at = {name: tuple(centres(patches.select(patches.kinds == n)).T) for name, n in KINDS.items()}
    assert (lesions[at["lesion"]] > 0).all()
    assert brain[at["background"]].all()
    assert (candidates & (mimics == 0))[at["candidate"]].all()
    assert (mimics[at["mimic"]] > 0).all()
    counts = np.bincount(patches.kinds, minlength=8)
    assert counts.tolist() == [0, 0, 2 + 24, 50, 80, 40, 30, 0]
    assert set(patches.participants) == {7}


def test_no_negative_lies_in_a_lesion_or_on_its_rim(scan, patches):
    rim = ndimage.binary_dilation(scan[1] > 0, np.ones((3, 3, 3)))
    negatives = tuple(centres(patches.select(patches.kinds != KINDS["lesion"])).T)
    assert not rim[negatives].any()


def test_surroundings_are_within_five_voxels_in_plane(scan, patches):
    near = ndimage.binary_dilation(scan[1] > 0, np.ones((11, 11, 1)))
    assert near[tuple(centres(patches.select(patches.kinds == KINDS["surround"])).T)].all()


def test_a_lesion_patch_knows_the_volume_of_its_lesion(patches):
    lesion = patches.select(patches.kinds == KINDS["lesion"])
    assert sorted(set(lesion.volumes.tolist())) == [2 * 3.0, 64 * 3.0]
    assert not patches.volumes[patches.kinds != KINDS["lesion"]].any()


def test_csf_and_tissue_are_balanced(scan, rng):
    stack, _, brain, *_ = scan
    tissue = np.zeros(brain.shape, np.uint8)
    tissue[10:14] = 1
    tissue[14:30] = 2
    tissue[30:50] = 3
    patches = sampling.tissue_patches(stack, tissue, brain, 1, rng, n=200)
    csf = tissue[tuple(centres(patches.select(patches.kinds == KINDS["csf"])).T)]
    other = tissue[tuple(centres(patches.select(patches.kinds == KINDS["tissue"])).T)]
    assert len(csf) == len(other) == 100
    assert set(csf) == {1}
    assert set(other) == {2, 3}


def test_a_scan_without_lesions_gives_negatives_only(scan, rng):
    stack, lesions, *rest = scan
    patches = sampling.microbleed_patches(stack, lesions * 0, *rest, 1, rng, voxel_volume=3.0)
    assert KINDS["lesion"] not in patches.kinds
    assert KINDS["surround"] not in patches.kinds
    assert len(patches) > 0


def test_patches_survive_the_disk(patches, tmp_path):
    path = tmp_path / "set.npz"
    patches.save(path)
    again = load_patch_set(path)
    for name in ("patches", "kinds", "participants", "volumes"):
        np.testing.assert_array_equal(getattr(again, name), getattr(patches, name))
    assert len(concatenate([again, again])) == 2 * len(patches)


@pytest.mark.parametrize("damage", ["missing", "truncated", "text"])
def test_a_damaged_file_is_refused(patches, tmp_path, damage):
    path = tmp_path / "set.npz"
    if damage == "truncated":
        patches.save(path)
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "text":
        path.write_text("no patches")
    with pytest.raises(UnreadableDataError, match=r"set\.npz"):
        load_patch_set(path)


def test_what_training_ignores_is_neither_positive_nor_negative(scan, rng):
    stack, lesions, brain, candidates, mimics = scan
    mimics[40:48, 12:38] = MIMIC_NUMBERS["superficial_siderosis"]
    patches = sampling.microbleed_patches(stack, lesions, brain, candidates, mimics, 7, rng, voxel_volume=3.0)
    near = ndimage.binary_dilation(mimics == MIMIC_NUMBERS["superficial_siderosis"], np.ones((3, 3, 3)))
    assert not near[tuple(centres(patches).T)].any()
    assert (mimics[tuple(centres(patches.select(patches.kinds == KINDS["mimic"])).T)] == 1).all()
