"""Kappa against a package that others wrote, and against what is plain."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from review_session import KEY, judge, write_review, write_session

from mbseg_bids.cli import workbench
from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.reports.session_files import SessionKey
from mbseg_bids.review.agreement import cohens_kappa, compare_reviews
from mbseg_bids.review.table import DECISIONS, Review


def pairs(table):
    return [(a, b) for a, row in zip(DECISIONS, table, strict=True) for b, n in zip(DECISIONS, row, strict=True)
            for _ in range(n)]  # fmt: skip


@pytest.mark.parametrize("table", [[[20, 3, 1], [2, 30, 4], [0, 5, 6]], [[5, 0, 0], [0, 4, 0], [0, 1, 1]]])
def test_kappa_and_interval_are_those_of_statsmodels(table):
    from statsmodels.stats.inter_rater import cohens_kappa as reference

    expected = reference(np.array(table))
    found = cohens_kappa(pairs(table))
    assert found.value == pytest.approx(expected.kappa)
    assert found.low == pytest.approx(max(-1, expected.kappa_low))
    assert found.high == pytest.approx(min(1, expected.kappa_upp))


def test_known_values():
    assert cohens_kappa([("accept", "accept"), ("reject", "reject")]).value == 1
    assert cohens_kappa([("accept", "reject"), ("reject", "accept")]).value == -1
    chance = [(a, b) for a in DECISIONS[:2] for b in DECISIONS[:2]]
    assert cohens_kappa(chance).value == pytest.approx(0)
    assert math.isnan(cohens_kappa([("accept", "accept")] * 5).value)  # one decision throughout
    assert math.isnan(cohens_kappa([]).value)


def review(reader, *judgements):
    return Review(reader, tuple(judgements))


def spot(n, mm, decision="accept"):
    return replace(judge(f"ADDED-{n}", decision, voxel=(1, 1, 1)), position=mm)


def test_items_are_compared_by_name_and_spots_by_place():
    own = [spot(1, (0.0, 0, 0)), spot(2, (30.0, 0, 0)), spot(3, (9.0, 9, 9), "reject")]
    first = review("A", judge("CMB-001", "accept"), judge("CMB-002", "accept"), judge("CAND-003", "reject"),
                   judge("CAND-004"), *own)  # fmt: skip
    second = review("B", judge("CMB-001", "accept"), judge("CMB-002", "unsure", note="?"), judge("CAND-003", "reject"),
                    judge("CAND-004", "accept"), spot(1, (3.0, 4, 0)))  # fmt: skip
    found = compare_reviews(first, second)
    whole, session = found.rows
    assert session == whole | {"participant_id": "sub-01", "session_id": "ses-a"}
    assert (whole["n_items"], whole["n_one_only"], whole["n_agreed"], whole["n_sure"]) == (3, 1, 2, 2)
    assert (whole["n_added_first"], whole["n_added_second"], whole["n_added_both"]) == (2, 1, 1)
    assert whole["positive_agreement"] == pytest.approx(2 * (1 + 1) / (2 + 1 + 2 + 1))
    assert whole["kappa_sure"] == 1
    assert [(row["item"], row["first"], row["second"]) for row in found.disagreements] == [
        ("CMB-002", "accept", "unsure"), ("CAND-004", None, "accept"), ("ADDED-2", "accept", None),
    ]  # fmt: skip
    assert found.disagreements[0]["note_second"] == "?"


def test_swapping_the_readers_swaps_the_columns_and_nothing_else():
    rng = np.random.default_rng(3)
    readers = [review(name, *[judge(f"CMB-{n:03d}", str(rng.choice(DECISIONS))) for n in range(40)]) for name in "AB"]
    one, two = compare_reviews(*readers).rows[0], compare_reviews(*reversed(readers)).rows[0]
    for name, value in one.items():
        twin = name.replace("first", "second") if "first" in name else name.replace("second", "first")
        assert two[twin] == (pytest.approx(value) if isinstance(value, float) else value)


def test_what_cannot_be_compared_is_named():
    first, other = review("A", judge("CMB-001", "accept")), SessionKey("02")
    with pytest.raises(UnreadableDataError, match="no session in common"):
        compare_reviews(first, review("B", judge("CMB-001", "accept", key=other)))
    with pytest.raises(UnreadableDataError, match="different results of sub-01_ses-a"):
        compare_reviews(first, review("B", replace(judge("CMB-001", "accept"), result="else")))
    both = review("B", judge("CMB-001", "accept"), judge("CMB-001", "accept", key=other))
    assert compare_reviews(first, both).left_out == (other,)


def test_the_command_writes_described_tables(tmp_path, small, capsys):
    write_session(tmp_path / "out", small)
    said = {"A": ("accept", "accept", "reject"), "B": ("accept", "reject", "reject")}
    files = [
        write_review(
            tmp_path / f"{reader}.tsv", tmp_path / "out",
            [judge(item, decision) for item, decision in zip(("CMB-001", "CMB-002", "CAND-003"), what, strict=True)],
            reader,
        )
        for reader, what in said.items()
    ]  # fmt: skip
    assert workbench.main(["review", "agreement", *map(str, files), "--out", str(tmp_path / "agreement")]) == 0
    assert "A and B: 2 of 3 decisions agree" in capsys.readouterr().out
    for name, n in (("agreement", 2), ("disagreements", 1)):
        table = pd.read_csv(tmp_path / "agreement" / f"review_{name}.tsv", sep="\t")
        described = pd.read_json(tmp_path / "agreement" / f"review_{name}.json", typ="series")
        assert len(table) == n
        assert list(described.index) == list(table)
    assert workbench.main(["review", "agreement", *map(str, files)]) == 0
    assert f"{KEY.prefix} CMB-002: accept, reject" in capsys.readouterr().out
