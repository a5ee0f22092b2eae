import numpy as np
import pytest

from mbseg_bids.errors import UsageError
from mbseg_bids.learning.examples.augmentation import upright
from mbseg_bids.learning.examples.patch_set import concatenate, cut_patch_set, narrow, wide_size, write_arrays


@pytest.fixture
def stack(rng):
    return rng.uniform(0, 100, (3, 150, 140, 3)).astype(np.float32)


VOXELS = np.array([[75, 70, 1], [5, 130, 2], [149, 0, 0]])


@pytest.mark.parametrize("size", [14, 28, 52, 56, 70])
def test_patches_of_the_study_are_cut_from_those_of_70_mm(stack, size):
    stored = cut_patch_set(stack, VOXELS, "lesion", 1, size=70)
    small = narrow(stored, size)
    np.testing.assert_array_equal(small.patches, cut_patch_set(stack, VOXELS, "lesion", 1, size=size).patches)
    np.testing.assert_array_equal(upright(small.patches, size), upright(stored.patches, size))
    np.testing.assert_array_equal(small.kinds, stored.kinds)


def test_without_turning_the_patch_itself_is_enough(stack):
    stored = cut_patch_set(stack, VOXELS, "csf", 1, size=28)
    assert narrow(stored, 42, turned=False).patches.shape[-1] == 42
    with pytest.raises(UsageError, match="--patch-size 42"):
        narrow(stored, 42, turned=True)


def test_the_error_names_the_largest_patch_there_is(stack):
    stored = cut_patch_set(stack, VOXELS, "lesion", 1, size=28)
    assert stored.patches.shape[-1] == wide_size(28)
    with pytest.raises(UsageError, match="up to 28 mm"):
        narrow(stored, 56)


def test_sets_of_two_sizes_do_not_mix(stack):
    with pytest.raises(UsageError, match="different sizes"):
        concatenate([cut_patch_set(stack, VOXELS, "lesion", 1, size=size) for size in (28, 56)])


def test_arrays_are_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "set.npz"
    write_arrays(path, {"one": np.arange(3)})
    with pytest.raises(ValueError, match="first"):
        write_arrays(path, {"one": _Unwritable()}, compressed=True)
    with np.load(path) as file:
        assert file["one"].tolist() == [0, 1, 2]
    assert [found.name for found in path.parent.glob("*.npz")] == ["set.npz"]


class _Unwritable:
    def __array__(self, *_, **__):
        raise ValueError("not the first time")
