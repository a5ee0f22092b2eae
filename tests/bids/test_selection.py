from pathlib import Path

import pytest

from mbseg_bids.bids.selection import Candidate, select
from mbseg_bids.errors import UnreadableDataError


def test_no_candidate_selects_nothing():
    assert select([]) is None


def test_the_only_one_is_taken_and_the_reason_says_whether_a_filter_was_used(tmp_path, save_image):
    candidate = Candidate((save_image(tmp_path / "sub-1_T1w.nii.gz"),))
    assert select([candidate]).reason == "the only one"
    assert select([candidate], filtered=True).reason == "the only one the filter selects"


def test_highest_in_plane_resolution_wins_even_if_its_slices_are_thicker(tmp_path, save_image):
    isotropic = save_image(tmp_path / "sub-1_acq-a_T2w.nii.gz", spacing=(1, 1, 1))
    slices = save_image(tmp_path / "sub-1_acq-b_T2w.nii.gz", spacing=(5, 0.5, 0.6))  # sagittal slices
    chosen = select([Candidate((isotropic,)), Candidate((slices,))])
    assert chosen.paths == (slices,)
    assert chosen.reason == "highest in-plane resolution (0.5 x 0.6 mm) of 2"
    assert not chosen.ambiguous


def test_equal_resolution_takes_the_first_run_by_number_and_says_it_is_ambiguous(tmp_path, save_image):
    names = ("sub-1_run-10_T1w.nii.gz", "sub-1_run-2_T1w.nii.gz")
    candidates = [Candidate((save_image(tmp_path / name),)) for name in names]
    chosen = select(candidates)
    assert chosen.paths[0].name == "sub-1_run-2_T1w.nii.gz"
    assert chosen.reason == "first by name of 2 with equal in-plane resolution"
    assert chosen.ambiguous


def test_an_unreadable_image_is_taken_only_if_there_is_no_other(tmp_path, save_image):
    broken = tmp_path / "sub-1_acq-a_T1w.nii.gz"
    broken.write_bytes(b"")
    good = save_image(tmp_path / "sub-1_acq-b_T1w.nii.gz")
    assert select([Candidate((broken,)), Candidate((good,))]).paths == (good,)
    alone = select([Candidate((broken,))])
    assert alone.paths == (broken,)
    assert alone.header is None


def test_a_better_name_wins_over_a_finer_image(tmp_path, save_image):
    official = Candidate((save_image(tmp_path / "sub-1_T2starw.nii.gz", spacing=(1, 1, 1)),), rank=0)
    finer = Candidate((save_image(tmp_path / "sub-1_swi.nii.gz", spacing=(0.5, 0.5, 1)),), rank=2)
    chosen = select([finer, official])
    assert chosen.paths == official.paths
    assert chosen.reason == "preferred by its name to 1 other"


@pytest.fixture
def four_echoes(tmp_path, save_image):
    paths = tuple(save_image(tmp_path / f"sub-1_echo-{n}_part-mag_MEGRE.nii.gz") for n in range(1, 5))
    return lambda times: Candidate(paths, (1, 2, 3, 4), times)


@pytest.mark.parametrize(
    ("times", "echo", "expected", "reason"),
    [
        ((0.004, 0.012, 0.020, 0.060), "mean", (1, 2), "; mean of echoes 2, 3 of 4, those from 10 to 45 ms"),
        ((0.004, 0.005, 0.020, 0.060), "mean", (2,), "; echo 3 of 4, the only one from 10 to 45 ms"),
        ((None, 0.0, None, None), "mean", (0, 1, 2, 3), "; mean of all 4 echoes (none known to be from 10 to 45 ms)"),
        ((0.004, 0.012, 0.020, 0.060), "4", (3,), "; echo 4 of 4, as asked"),
    ],
)
def test_echoes(four_echoes, times, echo, expected, reason):
    candidate = four_echoes(times)
    chosen = select([candidate], echo=echo)
    assert chosen.paths == tuple(candidate.paths[i] for i in expected)
    assert chosen.reason == "the only one" + reason


def test_an_echo_that_does_not_exist_is_an_error_that_names_those_that_do(four_echoes):
    with pytest.raises(UnreadableDataError, match=r"no echo 7 \(its echoes: 1, 2, 3, 4\)"):
        select([four_echoes((None,) * 4)], echo="7")


def test_paths_are_what_the_candidate_has():
    assert Candidate((Path("a"), Path("b"))).path == Path("a")
