"""Whatever the candidate classifier may say against a candidate is explained wherever it is shown."""

import json
from importlib import resources

from mbseg_bids.detection.candidates.features import FEATURES
from mbseg_bids.reports.gallery import AGAINST_SENTENCES


def test_every_reason_has_a_sentence_in_the_report_and_a_level_in_the_sidecar():
    columns = json.loads(resources.files("mbseg_bids.data").joinpath("columns.json").read_text(encoding="utf-8"))
    levels = columns["columns"]["evidence_against"]["Levels"]
    assert set(AGAINST_SENTENCES) == set(levels) == set(FEATURES.values())
