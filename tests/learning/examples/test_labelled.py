import numpy as np
import pytest

from mbseg_bids.errors import NothingSelectedError, UnreadableDataError, UsageError
from mbseg_bids.imaging.labels import CSF, GM, WM
from mbseg_bids.learning.examples.derivatives import entities_of, find_images, find_labelled_scans, parse_filters
from mbseg_bids.learning.examples.labelled import read_case, tissue_of
from mbseg_bids.learning.examples.labelled_patches import cut_labelled, participant_number, sample_scans
from mbseg_bids.learning.examples.patch_set import KINDS, load_patch_set
from mbseg_bids.learning.examples.sampling import MicrobleedCounts

BOX = np.s_[40:44, 40:44, 2]
"""16 native voxels of 0.75 mm3; 2 x 2 voxels of the detection grid."""
SPECK = np.s_[50, 60, 4]
"""One native voxel, a quarter of a voxel of the detection grid in plane."""
FILTER = {"label": "CMB", "suffix": "mask"}


def scans_of(tree, **options):
    return find_labelled_scans(tree.output, tree.labels, FILTER, **options)


def test_a_name_falls_apart_into_entities(tmp_path):
    found = entities_of(tmp_path / "sub-01_ses-b_space-T2starw_label-CMB_mask.nii.gz")
    expected = {"sub": "01", "ses": "b", "space": "T2starw", "label": "CMB", "suffix": "mask", "extension": ".nii.gz"}
    assert found == expected


def test_filters_take_the_names_of_pybids_too():
    assert parse_filters(["suffix=dseg", "segmentation=CMB"]) == {"suffix": "dseg", "seg": "CMB"}
    with pytest.raises(UsageError, match="key=value"):
        parse_filters(["suffix"])


def test_two_images_that_fit_are_named(tree):
    path = tree.add("01", [BOX])
    (path.parent / path.name.replace("_label", "_desc-other_label")).write_bytes(path.read_bytes())
    with pytest.raises(UnreadableDataError, match="desc-other"):
        find_images(tree.labels, FILTER)
    assert len(find_images(tree.labels, FILTER | {"desc": ""})) == 1


def test_a_scan_nobody_labelled_is_left_out_unless_it_is_known_to_be_negative(tree):
    tree.add("01", [BOX])
    tree.add("02", labelled=False)
    found = scans_of(tree)
    assert [s.name for s in found.scans] == ["sub-01"]
    assert found.unlabelled == ("sub-02",)
    assert [s.label for s in scans_of(tree, unlabelled_are_negative=True).scans][1] is None


def test_a_filter_that_fits_nothing_says_where_to_look(tree):
    tree.add("01", [BOX])
    with pytest.raises(NothingSelectedError, match="label=lesion"):
        find_labelled_scans(tree.output, tree.labels, {"label": "lesion"})


def test_lesions_come_to_the_detection_grid_and_keep_their_volume(tree):
    tree.add("01", [BOX, SPECK])
    case = read_case(scans_of(tree).scans[0])
    assert case.stack.shape == (3, 35, 40, 6)
    assert np.argwhere(case.lesions == 1).tolist() == [[i, j, 2] for i in (20, 21) for j in (20, 21)]
    assert (case.lesions == 2).sum() == 1  # nearest-voxel resampling alone could lose it
    assert case.volumes == {1: pytest.approx(12.0), 2: pytest.approx(0.75)}
    assert case.stack[0][case.lesions == 1].max() < 20 < case.stack[0][25, 30, 1]
    assert set(np.unique(case.stack[1])) == {20.0}


def test_tissue_comes_from_the_regions(tree):
    regions = np.arange(7).reshape(7, 1, 1)
    brain = np.ones((7, 1, 1), bool)
    assert tissue_of(regions, brain).ravel().tolist() == [CSF, GM, GM, WM, GM, WM, WM]
    assert not tissue_of(regions, ~brain).any()


def test_a_missing_contrast_is_a_channel_of_zeros(tree):
    tree.add("01", [BOX], contrasts=("T2w",))
    case = read_case(scans_of(tree).scans[0])
    assert not case.stack[2].any()
    assert case.stack[1].all()
    assert case.warnings == ("no T1w",)


@pytest.mark.parametrize("difference", ["shape", "affine"])
def test_labels_on_another_grid_are_refused_with_both_grids_named(tree, difference):
    other = {"shape": {"shape": (35, 40, 6)}, "affine": {"affine": np.diag([0.5, 0.5, 3.0, 1.0])}}[difference]
    path = tree.add("01", **other)
    with pytest.raises(UnreadableDataError) as error:
        read_case(scans_of(tree).scans[0])
    assert path.name in str(error.value)
    assert "(70, 80, 6)" in str(error.value)
    assert "-17.0" in str(error.value)


def test_a_probability_map_is_no_mask(tree, save_image):
    path = tree.add("01", [BOX])
    import nibabel as nib

    nib.save(nib.Nifti1Image(np.full((70, 80, 6), 0.3, np.float32), tree.affine), path)
    with pytest.raises(UnreadableDataError, match="whole numbers"):
        read_case(scans_of(tree).scans[0])


def test_patches_have_the_kinds_of_the_simulated_ones_without_mimics(tree, rng):
    tree.add("01", [BOX, SPECK])
    counts = MicrobleedCounts(background=30, candidate=20, surround=10)
    tissue, microbleed = cut_labelled(read_case(scans_of(tree).scans[0]), 5, rng, counts=counts, n_tissue=60)
    kinds = {name: int((microbleed.kinds == n).sum()) for name, n in KINDS.items()}
    assert kinds["lesion"] == 5
    assert kinds["background"] == 30
    assert kinds["surround"] == 10
    assert kinds["mimic"] == 0
    assert sorted(set(microbleed.volumes.tolist())) == [0.0, 0.75, 12.0]
    assert np.bincount(tissue.kinds).tolist() == [30, 30]
    assert set(microbleed.participants) == {5}


def test_every_rotation_gets_a_novel_background(tree, rng):
    tree.add("01", [BOX])
    counts = MicrobleedCounts(background=10, rotations=19)
    _, patches = cut_labelled(read_case(scans_of(tree).scans[0]), 5, rng, counts=counts)
    background = patches.select(patches.kinds == KINDS["background"])
    assert len(background) == 4 * 20
    assert len(np.unique(background.patches.reshape(80, -1), axis=0)) == 80


def test_a_lesion_at_the_edge_of_the_image_is_padded_with_zeros(tree, rng):
    tree.add("01", [np.s_[0:2, 0:2, 0]])
    _, patches = cut_labelled(read_case(scans_of(tree).scans[0]), 5, rng)
    lesion = patches.patches[patches.kinds == KINDS["lesion"]]
    middle = lesion.shape[-1] // 2
    assert not lesion[:, :, :middle].any()
    assert not lesion[:, :, :, :middle].any()
    assert lesion[:, 1:, middle:, middle:].all()


def test_a_participant_keeps_its_number_whoever_else_is_there():
    numbers = [participant_number("", str(n)) for n in range(2000)]
    assert len(set(numbers)) == 2000
    assert participant_number("", "01") == 1448599088
    assert participant_number("other", "01") != participant_number("", "01")
    assert 0 <= min(numbers) <= max(numbers) < 2**31


def test_sampling_writes_sets_and_a_table_the_same_twice(tree, tmp_path):
    tree.add("01", [BOX])
    tree.add("02")
    for name in ("one", "two"):
        sample_scans(scans_of(tree).scans, tmp_path / name, n_tissue=40, report=lambda _: None)
    for file in sorted((tmp_path / "one").glob("*.npz")):
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
    negative = load_patch_set(tmp_path / "one" / "sub-02_microbleed.npz")
    assert len(negative) > 0
    assert KINDS["lesion"] not in negative.kinds
    table = (tmp_path / "one" / "participants.tsv").read_text().splitlines()
    assert table[1].split("\t")[:6] == ["sub-01", "n/a", str(participant_number("", "01")), "1", "12.0", "4"]
    assert table[2].split("\t")[3:6] == ["0", "0", "0"]


def test_labels_without_any_lesion_are_refused_before_patches_are_cut(tree, tmp_path):
    tree.add("01")
    with pytest.raises(UnreadableDataError, match="no labelled scan has a lesion"):
        sample_scans(scans_of(tree).scans, tmp_path / "sets")
    assert not (tmp_path / "sets").exists()


def test_a_bad_label_of_the_last_scan_stops_the_first_from_being_cut(tree, tmp_path):
    tree.add("01", [BOX])
    tree.add("02", shape=(35, 40, 6))
    with pytest.raises(UnreadableDataError, match="another grid"):
        sample_scans(scans_of(tree).scans, tmp_path / "sets")
    assert not (tmp_path / "sets").exists()
