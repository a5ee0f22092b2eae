"""Two readers: numbers by hand, and the same numbers whoever comes first."""

import math

import pandas as pd
import pytest
from derivative_trees import write_lesions

from mbseg_bids.evaluation.agreement import compare_readers
from mbseg_bids.evaluation.intervals import Bootstrap

A, B, C, D = (0, 0, 0), (3, 3, 3), (0, 3, 0), (3, 0, 0)


@pytest.fixture
def readers(tmp_path):
    """Four scans: agreed on two of three; both none; one sees one, the other none; agreed on one."""
    first, second = tmp_path / "first", tmp_path / "second"
    scans = [([A, B, C], [A, B]), ([], []), ([A], []), ([D], [D])]
    for number, places in enumerate(scans):
        for tree, seen in zip((first, second), places, strict=True):
            labels = {k: [place] for k, place in enumerate(seen, start=1)}
            write_lesions(tree, f"sub-{number}", labels, dict.fromkeys(labels, "deep_gm"))
    return first, second


def all_regions(agreement):
    return agreement.pooled(Bootstrap(200)).iloc[0]


def test_numbers_by_hand(readers):
    row = all_regions(compare_readers(*readers))
    assert row[["n_first", "n_second", "n_first_agreed", "n_second_agreed"]].tolist() == [5, 3, 3, 3]
    assert row["positive_agreement"] == 6 / 8
    assert row[["n_both", "n_first_alone", "n_second_alone", "n_neither"]].tolist() == [2, 1, 0, 1]
    assert row["scan_agreement"] == 0.75
    assert row["kappa"] == pytest.approx(0.5)  # 3/4 observed, 3/4 * 2/4 + 1/4 * 2/4 by chance
    # Counts 3, 0, 1, 1 and 2, 0, 0, 1: variances 19/16 and 11/16, covariance 13/16, means 1/2 apart.
    assert row["concordance"] == pytest.approx(2 * 13 / (19 + 11 + 4))


@pytest.mark.parametrize("rule", ["overlap", "distance"])
@pytest.mark.parametrize("minimum_volume", [0, 9])
def test_the_same_whoever_comes_first(readers, rule, minimum_volume):
    write_lesions(readers[1], "sub-3", {1: [D, (3, 0, 1)]}, {1: "deep_gm"})  # 16 mm3 against 8
    there = all_regions(compare_readers(*readers, rule=rule, minimum_volume=minimum_volume))
    back = all_regions(compare_readers(*readers[::-1], rule=rule, minimum_volume=minimum_volume))
    same = [c for c in there.index if "first" not in c and "second" not in c]
    pd.testing.assert_series_equal(there[same], back[same])
    assert (there["n_first"], there["n_second"]) == (back["n_second"], back["n_first"])
    if minimum_volume:  # the small one counts because its partner is large enough
        assert (there["n_first"], there["n_second"]) == (1, 1)


def test_a_reader_agrees_with_themself(readers):
    row = all_regions(compare_readers(readers[0], readers[0]))
    assert row[["positive_agreement", "scan_agreement", "kappa", "concordance"]].tolist() == [1.0] * 4
    assert row["positive_agreement_interval"] == "wilson"
    assert row["kappa_interval"] == "none"


def test_nothing_to_agree_on(tmp_path):
    for tree in ("first", "second"):
        write_lesions(tmp_path / tree, "sub-1", {}, {})
    row = all_regions(compare_readers(tmp_path / "first", tmp_path / "second"))
    assert row["scan_agreement"] == 1
    assert all(math.isnan(row[name]) for name in ("positive_agreement", "kappa", "concordance"))


def test_scans_of_one_reader_alone_are_named(readers):
    write_lesions(readers[1], "sub-9", {}, {})
    assert compare_readers(*readers).missing == (("sub-9", "n/a"),)
