"""Microbleeds that stay, come, grow and go, under the numbers they keep, on a head that lies otherwise."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from mbseg_bids.cli.workbench import main
from mbseg_bids.simulation.anatomy import make_anatomy
from mbseg_bids.simulation.dataset import DatasetPlan, write_dataset
from mbseg_bids.simulation.lesions import draw_microbleed, draw_microbleeds
from mbseg_bids.simulation.visits import GROWTH, VisitPlan, grown, next_microbleeds, reposition, turn_about


def volume(lesion):
    return sum(sphere.radius**3 for sphere in lesion.sources)


@pytest.mark.parametrize("seed", range(4))
def test_a_microbleed_grows_about_its_middle(seed):
    lesion = draw_microbleed((5.0, -20.0, 30.0), np.random.default_rng(seed))
    larger = grown(lesion)
    np.testing.assert_allclose(larger.centre, lesion.centre, atol=1e-9)
    assert volume(larger) == pytest.approx(GROWTH**3 * volume(lesion))
    assert grown(lesion, 1.0).centre == pytest.approx(lesion.centre)


def test_each_keeps_its_number_and_new_ones_get_numbers_of_their_own(toy_head):
    rng = np.random.default_rng(3)
    anatomy = make_anatomy(toy_head, rng)
    lesions = dict(enumerate(draw_microbleeds(anatomy, 6, rng)))
    after = next_microbleeds(lesions, 6, anatomy, VisitPlan(new=2, grown=2, gone=1), rng)
    assert len(after) == 7
    assert set(after) - set(lesions) == {6, 7}
    (gone,) = set(lesions) - set(after)
    larger = [n for n in set(lesions) & set(after) if volume(after[n]) > 2 * volume(lesions[n])]
    same = [n for n in set(lesions) & set(after) if after[n] == lesions[n]]
    assert (len(larger), len(same)) == (2, 3)
    again = next_microbleeds(after, 8, anatomy, VisitPlan(new=1), rng)
    assert set(again) - set(after) == {8}
    assert gone not in again
    old = np.array([lesion.centre for lesion in lesions.values()])
    for number in (6, 7):
        assert np.linalg.norm(old - after[number].centre, axis=1).min() > 8


def test_more_than_there_are_can_neither_grow_nor_vanish(toy_head):
    rng = np.random.default_rng(1)
    anatomy = make_anatomy(toy_head, rng)
    one = {0: draw_microbleed((0.0, 0.0, 0.0), rng)}
    assert next_microbleeds(one, 1, anatomy, VisitPlan(new=0, grown=5), rng) == {0: grown(one[0])}
    assert next_microbleeds(one, 1, anatomy, VisitPlan(new=0, gone=5, grown=5), rng) == {}
    assert next_microbleeds({}, 0, anatomy, VisitPlan(new=0, gone=1, grown=1), rng) == {}


@pytest.mark.parametrize("degrees", [0.0, 10.0, 90.0])
def test_a_turn_is_rigid_has_its_angle_and_leaves_its_point(degrees):
    centre = np.array([3.0, -10.0, 25.0])
    turn = turn_about(centre, (1.0, 2.0, -0.5), degrees)
    np.testing.assert_allclose(turn[:3, :3] @ turn[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.degrees(np.arccos((np.trace(turn[:3, :3]) - 1) / 2)) == pytest.approx(degrees, abs=1e-5)
    np.testing.assert_allclose(turn @ [*centre, 1], [*centre, 1], atol=1e-12)


def test_the_head_lies_turned_at_later_visits_alone():
    def angle(visit, plan):
        move = reposition(visit, plan, (0.0, 0.0, 0.0), np.random.default_rng(2))
        return np.degrees(np.arccos(np.clip((np.trace(move[:3, :3]) - 1) / 2, -1, 1)))

    assert angle(0, VisitPlan(turn=10.0)) == pytest.approx(0, abs=1e-5)
    assert angle(1, VisitPlan(turn=10.0)) == pytest.approx(10)
    assert 0 < angle(1, VisitPlan()) < 10


def test_a_dataset_of_two_visits_whose_truth_says_what_changed(toy_head, tmp_path):
    plan = DatasetPlan(
        participants=1, sessions=(2,), seed=6, lesions=(5, 5), mimic_load=0.05,
        visits=VisitPlan(new=2, grown=1, gone=1, turn=10.0, spacing=(1.0, 1.0, 2.0)),
    )  # fmt: skip
    write_dataset(tmp_path / "bids", [toy_head], plan)
    tables, grids = [], []
    for session in ("01", "02"):
        stem = f"sub-01/ses-{session}/anat/sub-01_ses-{session}"
        truth = tmp_path / "bids" / "derivatives" / "truth" / f"{stem}_space-T2starw_seg-CMB_dseg.tsv"
        tables.append(pd.read_csv(truth, sep="\t").set_index("source"))
        grids.append(nib.load(tmp_path / "bids" / f"{stem}_T2starw.nii.gz").header.get_zooms())
    before, after = tables
    assert set(before.index) <= {1, 2, 3, 4, 5}
    assert set(after.index) - set(before.index) <= {*range(1, 6), 6, 7}
    assert {6, 7} & set(after.index)
    np.testing.assert_allclose(grids, [(1, 1, 3), (1, 1, 2)], rtol=1e-5)
    common = sorted(set(before.index) & set(after.index))
    larger = after.loc[common, "radius_mm"] / before.loc[common, "radius_mm"]
    assert sorted(round(float(ratio), 3) for ratio in larger if ratio > 1.01) in ([], [GROWTH])
    # Distances within the head stay, though the head has turned.
    places = [table.loc[common, ["x_mm", "y_mm", "z_mm"]].to_numpy() for table in tables]
    gaps = [np.linalg.norm(p[:, None] - p[None], axis=-1) for p in places]
    assert np.abs(gaps[0] - gaps[1]).max() < 3
    assert np.linalg.norm(places[0] - places[1], axis=1).max() > 1


@pytest.mark.parametrize(
    "wrong",
    [["--sessions", "2", "--new", "-1"], ["--sessions", "2", "--gone", "-2"], ["--grown", "1"], ["--turn", "10"]],
)
def test_wishes_that_make_no_sense(wrong, tmp_path, capsys):
    assert main(["simulate", str(tmp_path / "x"), *wrong]) == 64
    assert "mbseg failed:" in capsys.readouterr().err
