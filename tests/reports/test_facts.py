import pytest
from fake_output import fake_summary

from mbseg_bids.reports.facts import anatomy_source, contrast, contrasts_used, judge, registration_checks
from mbseg_bids.reports.individual import contrasts_sentence


def test_everything_fine_passes():
    verdict = judge(fake_summary("01"), [], table_found=True)
    assert (verdict.level, verdict.failures, verdict.warnings) == ("passed", (), ())


def test_failed_registration_is_a_failure_with_its_figures():
    summary = fake_summary("01")
    summary["anatomy"]["registration"]["t2w_to_t2star"] |= {"similarity": 0.031, "overlap": 0.4, "passed": False}
    verdict = judge(summary, [], table_found=True)
    assert verdict.level == "failed"
    assert "Do not use" in verdict.headline
    assert "T2w to T2*" in verdict.failures[0]
    assert "0.03" in verdict.failures[0]


def test_reason_of_a_failed_check_is_told_once():
    reason = "brain overlap 0.40, at least 0.88 expected"
    summary = fake_summary("01", warnings=[f"t1w_to_t2star: {reason}"])
    summary["anatomy"]["registration"]["t1w_to_t2star"] |= {"passed": False, "reasons": [reason]}
    verdict = judge(summary, [], table_found=True)
    assert reason in verdict.failures[0]
    assert verdict.warnings == ()


def test_unchecked_registration_is_never_taken_as_passed():
    summary = fake_summary("01")
    del summary["anatomy"]["registration"]["t1w_to_t2star"]["passed"]
    assert judge(summary, [], table_found=True).level == "attention"
    del summary["anatomy"]
    verdict = judge(summary, [], table_found=True)
    assert verdict.level == "attention"
    assert sum("No registration check" in w for w in verdict.warnings) == 2


def test_retry_warnings_and_problems_ask_for_attention():
    summary = fake_summary("01", warnings=["slices are 6 mm thick"])
    summary["anatomy"]["registration"]["t1w_to_t2star"]["retried"] = True
    verdict = judge(summary, ["The brain mask was not found."], table_found=True)
    assert verdict.level == "attention"
    assert len(verdict.warnings) == 3


def test_no_table_is_a_failure():
    assert judge(fake_summary("01"), [], table_found=False).level == "failed"


def test_nonsense_in_the_summary_is_survived():
    for nonsense in ({"anatomy": 3, "detection": [], "warnings": None}, {"anatomy": {"registration": {"x": "y"}}}):
        assert judge(nonsense, [], table_found=True).level == "attention"
        registration_checks(nonsense)


def test_contrasts_are_found_under_their_usual_spellings():
    for name in ("T2starw", "t2star", "T2starW"):
        assert contrast({"inputs": {name: {"path": "a"}}}, "T2starw") == {"path": "a"}
    assert contrast({"inputs": {"T2w": {"path": "b"}}}, "T2starw") == {}


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ([], "Contrasts used: T2*, T2w, T1w."),
        (["T2w"], "Contrasts used: T2*, T1w; no T2w in this session."),
        (["T2w", "T1w"], "Contrasts used: T2*; no T2w and no T1w in this session."),
    ],
)
def test_missing_contrasts_are_said_and_not_taken_for_missing_checks(missing, sentence):
    summary = fake_summary("01", missing_contrasts=missing)
    for name in missing:
        del summary["inputs"][name]
        summary["anatomy"]["registration"].pop(f"{name.lower()}_to_t2star")
    if "T1w" in missing:
        checks = summary["anatomy"]["registration"]
        checks["t2star_to_template"] = checks.pop("t1w_to_template")
    assert contrasts_sentence(summary) == sentence
    assert contrasts_used(summary) == tuple(c for c in ("T2starw", "T2w", "T1w") if c not in missing)
    assert judge(summary, [], table_found=True).level == "passed"  # the run itself adds the warning


def test_anatomy_of_another_image_than_a_t1w_is_named():
    summary = fake_summary("01")
    assert anatomy_source(summary) == "computed"
    summary["anatomy"]["anatomical_contrast"] = ["T2starw"]
    assert anatomy_source(summary) == "computed on T2*, regions from the template"


def test_failed_template_registration_of_t2star_does_not_put_the_lesions_in_doubt():
    summary = fake_summary("01")
    summary["anatomy"]["registration"]["t2star_to_template"] = {"similarity": 0.3, "overlap": 0.8, "passed": False}
    (failure,) = judge(summary, [], table_found=True).failures
    assert failure.startswith("T2* to template registration failed its check")
    assert "its regions, sides and template positions may be wrong" in failure
