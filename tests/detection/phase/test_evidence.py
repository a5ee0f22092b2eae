import math

import numpy as np
import pytest

from mbseg_bids.data.columns import describe_columns
from mbseg_bids.detection.lesions.tables import Evidence, tabulate
from mbseg_bids.detection.phase.dipole import DipoleFit, PhaseScan
from mbseg_bids.detection.phase.evidence import PhaseEvidence, judge_by_phase, with_phase
from mbseg_bids.detection.phase.handedness import Convention
from mbseg_bids.detection.rules.criteria import Criteria
from mbseg_bids.imaging.phase import Echo
from mbseg_bids.settings import DetectionSettings

COLUMNS = list(describe_columns("phase"))
CALCIUM, BLOOD = DipoleFit(-20.0, 0.5, 0.9, True), DipoleFit(20.0, 0.5, 0.9, True)
UNSURE = DipoleFit(-3.0, 2.0, 0.05, False)


def table_of(fit, *, with_columns=True, **settings):
    labels = np.zeros((6, 6, 6), np.int32)
    labels[2:4, 2:4, 2:4] = 1
    evidence = {1: Evidence(1, "deep_gm", 0.9, 0.9, 2.0, 1.4, criteria=with_phase(Criteria(), fit))}
    return tabulate(
        labels, labels, evidence, evidence, np.eye(4), 2, DetectionSettings(**settings), with_phase=with_columns
    )


def test_what_is_surely_diamagnetic_is_rejected():
    row = table_of(CALCIUM).candidate_table.iloc[0]
    assert (row["status"], row["reason"]) == ("rejected", "diamagnetic")
    assert (row["susceptibility_moment"], row["moment_error"]) == (-20.0, 0.5)


@pytest.mark.parametrize("fit", [BLOOD, UNSURE, DipoleFit(), None])
def test_nothing_else_is(fit):
    assert table_of(fit).candidate_table.iloc[0]["status"] == "kept"


def test_without_the_readers_criteria_it_is_only_measured():
    found = table_of(CALCIUM, reader_criteria=False)
    assert found.lesion_table.iloc[0]["susceptibility_moment"] == -20.0


def test_calcium_is_no_large_bleed():
    assert table_of(CALCIUM, maximum_diameter=1.0).candidate_table.iloc[0]["reason"] == "diamagnetic"


def test_tables_without_a_phase_have_the_columns_they_had():
    with_it, without = table_of(None), table_of(None, with_columns=False)
    assert list(without.lesion_table) == list(describe_columns("lesions"))
    assert list(without.candidate_table) == list(describe_columns("candidates"))
    assert list(with_it.lesion_table) == [*without.lesion_table, *COLUMNS]
    assert with_it.candidate_table[COLUMNS].isna().all(axis=None)


def test_evidence_survives_json():
    evidence = Evidence(1, "deep_gm", 0.9, 0.9, 2.0, 1.4, criteria=with_phase(Criteria(), CALCIUM))
    from dataclasses import asdict

    assert Evidence.from_dict(asdict(evidence)).criteria.rejected_by == "diamagnetic"


@pytest.mark.parametrize(
    ("fits", "expected"),
    [
        ([CALCIUM] * 3 + [BLOOD] * 2, True),
        ([CALCIUM] * 3 + [BLOOD] * 3, False),
        ([CALCIUM] * 2, False),
        ([UNSURE] * 5, False),
    ],
)
def test_a_reader_is_told_where_calcium_outnumbers_blood(fits, expected, monkeypatch):
    """As it would if the convention were the wrong way round."""
    labels = np.zeros((len(fits) * 2, 2, 2), np.int32)
    labels[::2, 0, 0] = np.arange(len(fits)) + 1
    turn = iter(fits)
    monkeypatch.setattr("mbseg_bids.detection.phase.evidence.convention", lambda *_: Convention(1, 0.4, 9.0))
    monkeypatch.setattr("mbseg_bids.detection.phase.evidence.fit_dipole", lambda *_: next(turn))
    echo = Echo(np.ones(labels.shape), np.zeros(labels.shape, np.float32), 0.02)
    judged = judge_by_phase(PhaseScan((echo,), labels >= 0, np.eye(4), 3.0), labels, labels)
    assert ("--ignore-phase" in judged.warning) is expected


def test_facts_of_a_scan():
    facts = PhaseEvidence(Convention(-1, -0.4, -9.0), {1: CALCIUM, 2: BLOOD, 3: UNSURE, 4: DipoleFit()}).facts()
    assert facts["used"]
    assert (facts["n_fitted"], facts["n_sure_diamagnetic"], facts["n_sure_paramagnetic"]) == (4, 1, 1)
    unsure = PhaseEvidence(Convention(0, math.nan, math.nan)).facts()
    assert not unsure["used"]
    assert unsure["sign_errors"] is None
