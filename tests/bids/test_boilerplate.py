import json
import re

from mbseg_bids.bids.boilerplate import boilerplate, write_boilerplate
from mbseg_bids.settings import Settings


def facts(session="1", **changes):
    tables = Settings().as_dict()
    base = {
        "participant": "01",
        "session": session,
        "inputs": {"T1w": {"reason": "the only one"}, "T2starw": {"reason": "the only one"}},
        "reused": {},
        "settings": {name: tables[name] for name in ("inputs", "anatomy", "detection", "outputs")},
        "software": {"mbseg-bids": "9.9", "torch": "2.0", "SimpleITK": "2.5"},
    }
    return base | changes


def test_says_what_was_done_and_with_what():
    text = boilerplate([facts()])
    assert "mbseg-bids 9.9" in text
    assert "images of 1 session." in text
    assert "at least 1.2 times (in deep grey matter 1.4 times)" in text
    assert "Brain mask, tissues and regions were computed" in text
    assert "mean of several echoes" not in text


def test_names_what_computed_the_network():
    assert "; torch 2.0) classified" in boilerplate([facts()])
    assert "; openvino 3.1) classified" in boilerplate([facts(detection={"search": {"runtime": "openvino 3.1"}})])


def test_says_whether_a_second_look_was_taken():
    assert "a probability of at least 0.5 that it is a microbleed (definite from 0.8)" in boilerplate([facts()])
    tables = facts()["settings"]
    without = tables | {"detection": tables["detection"] | {"second_look": False}}
    assert "additive" not in boilerplate([facts(settings=without)])
    earlier = {key: value for key, value in tables["detection"].items() if "definite" not in key and "look" not in key}
    assert "additive" not in boilerplate([facts(settings=tables | {"detection": earlier})])


def test_says_what_was_reused_and_for_how_many():
    text = boilerplate([facts("1", reused={"aseg": "x"}), facts("2")])
    assert "Existing results were reused: the anatomical segmentation (aseg) in 1 session" in text


def test_says_where_inputs_were_not_the_plain_ones():
    inputs = {
        "T1w": {"reason": "from ses-1, as this session has none; the only one"},
        "T2starw": {"reason": "the only one; mean of echoes 2, 3 of 4"},
    }
    text = boilerplate([facts(inputs=inputs)])
    assert "The T2*-weighted image was the mean of several echoes in 1 session." in text
    assert "The T1w came from another session of the participant in 1 session." in text


def test_says_so_if_sessions_were_not_processed_alike():
    other = facts("2", software={"mbseg-bids": "1.0"})
    assert "same versions" in boilerplate([facts("1"), other])
    assert "Not all sessions" not in boilerplate([facts("1"), facts("2")])


def test_summaries_of_earlier_runs_are_counted_and_win_over_plans(tmp_path):
    (tmp_path / "logs").mkdir()
    done = facts("1", software={"mbseg-bids": "8.8", "torch": "1", "SimpleITK": "1"})
    (tmp_path / "logs" / "sub-01_ses-1_summary.json").write_text(json.dumps(done))
    (tmp_path / "logs" / "sub-02_summary.json").write_text("{broken")
    text = write_boilerplate(tmp_path, [facts("1")]).read_text()
    assert "mbseg-bids 8.8" in text
    assert "1 session." in text


def test_the_bib_file_holds_the_references_of_the_text(tmp_path):
    from mbseg_bids.bids.boilerplate import REFERENCES

    write_boilerplate(tmp_path, [])
    bib = (tmp_path / "logs" / "CITATION.bib").read_text()
    listed = {reference.rpartition("doi:")[2] for reference in REFERENCES}
    assert set(re.findall(r"doi = \{(.+?)\}", bib)) == listed
    assert bib.count("{") == bib.count("}")
