"""The methods text: each paragraph once, about whom it is, and nothing about a session that was not finished."""

import json
import re

from mbseg_bids.bids.boilerplate import REFERENCES, boilerplate, finished_sessions, write_boilerplate

IMAGES, ANATOMY = "The network saw T1w, T2w and T2*.", "Each image was corrected with N4 (Tustison 2010)."


def facts(session="1", **changes):
    base = {
        "participant": "01",
        "session": session,
        "settings": {"detection": {"reader_criteria": True}},
        "software": {"mbseg-bids": "9.9", "torch": "2.0"},
        "methods": [IMAGES, ANATOMY],
        "detection": {"weights": {"name": "shipped-2"}, "search": {"runtime": "openvino 3.1", "device": "cpu"}},
    }
    return base | changes


def finish(out, summary):
    label = f"sub-{summary['participant']}" + (f"_ses-{summary['session']}" if summary["session"] else "")
    (out / "logs").mkdir(exist_ok=True)
    (out / "logs" / f"{label}_summary.json").write_text(json.dumps(summary))
    (out / "logs" / f"{label}_done.json").write_text("{}")


def test_says_what_was_done_and_with_what():
    text = boilerplate([facts()])
    assert "with mbseg-bids 9.9, which follows Dadar et al. (2022), in 1 session (sub-01_ses-1)." in text
    assert f"\n\n{IMAGES}\n\n{ANATOMY}\n\n" in text
    assert "The weights of the network were shipped-2 (openvino 3.1, cpu)." in text
    assert "Versions: mbseg-bids 9.9, torch 2.0." in text


def test_a_paragraph_that_all_share_stands_once_and_the_others_say_whose_they_are():
    other = "The network saw T2*. There was no T1w."
    text = boilerplate([facts("1"), facts("2", methods=[other, ANATOMY]), facts("3")])
    assert text.count(ANATOMY) == 1
    assert f"\n\n{ANATOMY}\n\n" in text
    assert f"In 2 of 3 sessions (sub-01_ses-1, sub-01_ses-3): {IMAGES}" in text
    assert f"In 1 of 3 sessions (sub-01_ses-2): {other}" in text
    assert text.index(other) < text.index(ANATOMY)


def test_other_versions_and_other_weights_are_told_apart():
    text = boilerplate([facts("1"), facts("2", software={"mbseg-bids": "1.0"})])
    assert "mbseg-bids 1.0 and 9.9" in text
    assert "In 1 of 2 sessions (sub-01_ses-2): The steps were run by nipype (Gorgolewski 2011). Versions:" in text


def test_many_sessions_are_counted_and_not_named():
    text = boilerplate([facts(str(number)) for number in range(20)])
    assert "in 20 sessions." in text
    assert "ses-1" not in text


def test_the_phase_is_said_to_be_used_only_where_it_was():
    for used, said in ((True, "The phase was used: what was surely diamagnetic"), (False, "could not be used")):
        detection = facts()["detection"] | {"phase": {"used": used}}
        assert said in boilerplate([facts(detection=detection)])
    assert "phase" not in boilerplate([facts()])


def test_what_is_planned_is_told_apart_from_what_was_done():
    done, waiting = facts("1"), facts("2", methods=["Never done."], detection=None)
    text = boilerplate([done], [done, waiting])
    before, after = text.split("# Not run")
    assert "in 1 session (sub-01_ses-1)." in before
    assert "Never done." not in before
    assert "This would describe 1 session (sub-01_ses-2), not run so far.\n\nNever done." in after
    assert boilerplate([], [waiting]).startswith("No session is finished.\n\n# Not run")


def test_references_are_those_that_the_text_cites():
    text = boilerplate([facts()])
    assert re.findall(r"^\d\. (\w+)", text, re.MULTILINE) == ["Dadar", "Tustison", "Gorgolewski"]
    assert "Greenberg" in boilerplate([facts(methods=["(after Greenberg 2009)"])])


def test_only_finished_sessions_are_described(tmp_path):
    for session in ("1", "2", "3"):
        finish(tmp_path, facts(session))
    finish(tmp_path, facts(None, participant="02"))
    (tmp_path / "logs" / "sub-01_ses-2_done.json").unlink()
    (tmp_path / "logs" / "sub-01_ses-3_summary.json").write_text("{broken")
    assert [s["session"] for s in finished_sessions(tmp_path, "01")] == ["1"]
    text = write_boilerplate(tmp_path).read_text()
    assert "in 2 sessions (sub-01_ses-1, sub-02)." in text


def test_plain_files_are_called_by_their_name():
    assert "in 1 session (scan_7)." in boilerplate([facts(None, title="scan_7")])


def test_odd_summaries_are_no_failure():
    text = boilerplate([{"participant": "01", "session": None, "methods": 3, "detection": [], "software": None}])
    assert "was not recorded in words" in text
    assert "Versions were not recorded." in text


def test_the_bib_file_holds_the_references_of_the_text(tmp_path):
    write_boilerplate(tmp_path)
    bib = (tmp_path / "logs" / "CITATION.bib").read_text()
    listed = {reference.rpartition("doi:")[2] for reference in REFERENCES.values()}
    assert set(re.findall(r"doi = \{(.+?)\}", bib)) == listed
    assert bib.count("{") == bib.count("}")
