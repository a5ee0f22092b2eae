import numpy as np
import pytest
from counted_cohort import cohort

from mbseg_bids.errors import MbsegError
from mbseg_bids.group.columns import group_columns
from mbseg_bids.group.count_model import analyse
from mbseg_bids.group.formula import ModelRequest, parse_formula
from mbseg_bids.group.harmonisation import association, harmonisation_warnings
from mbseg_bids.group.model_rows import number_of, select_rows

OWN = set(group_columns())


def analysed(rows, formula="count ~ age + sex + group", **options):
    request = ModelRequest(parse_formula(formula), **options)
    return analyse(rows, list(rows[0]), OWN, request)


def changed(rows, column, value, where=lambda n: True):
    return [row | {column: value(n) if callable(value) else value} if where(n) else row for n, row in enumerate(rows)]


ROWS = cohort(0, n=120)
BY_GROUP = [n for n, row in enumerate(ROWS) if row["group"] == "patient"]

HOSTILE = {
    "missing column": (ROWS, "count ~ agee", 64, r"no column 'agee' \(did you mean age\?\)"),
    "missing outcome": (ROWS, "n_nowhere ~ age", 64, "no column 'n_nowhere'"),
    "column that names rows": (ROWS, "count ~ participant_id", 64, "names the rows"),
    "column made from the counts": (changed(ROWS, "n_deep_gm", 1), "count ~ n_deep_gm", 64, "made from the counts"),
    "what the network said": (
        changed(ROWS, "probability_from_80", 0.1),
        "count ~ probability_from_80",
        64,
        "made from the counts",
    ),
    "outcome with fractions": (ROWS, "age ~ sex", 65, "age is '.*' in sub-.*, not a count"),
    "constant number": (changed(ROWS, "age", "70"), "count ~ age", 65, "age is '70' in every row"),
    "constant number in two spellings": (
        changed(ROWS, "age", lambda n: ("70", "70.0")[n % 2]),
        "count ~ age",
        65,
        "age is 70 in every row",
    ),
    "constant class": (changed(ROWS, "sex", "F"), "count ~ sex", 65, "sex is 'F' in every row"),
    "all counts zero": (changed(ROWS, "n_total", 0), "count ~ age", 65, "n_total is 0 in all 120 rows"),
    "too few events": (changed(ROWS, "n_total", 0, lambda n: n > 5), "count ~ age + sex + group", 65, "at least 8"),
    "too few rows": (ROWS[:3], "count ~ age + group", 65, "3 rows for at least 3 coefficients"),
    "classes that multiply": (
        changed(changed(ROWS, "site", lambda n: f"s{n % 60}"), "model", lambda n: f"m{n % 59}"),
        "count ~ site * model",
        65,
        "120 rows for at least",
    ),
    "a combination that nobody has": (
        changed(ROWS, "sex", "F", lambda n: n in BY_GROUP),
        "count ~ sex * group",
        65,
        r"no row tells sex\[M\]:group\[patient\] from the rest",
    ),
    "class without events": (
        changed(ROWS, "n_total", 0, lambda n: n in BY_GROUP),
        "count ~ age + group",
        65,
        "0 in all .* rows with group = patient.*separation",
    ),
    "number that separates": (
        changed(changed(ROWS, "dose", "0"), "dose", "1", lambda n: ROWS[n]["n_total"] == 0 and n % 2 == 0),
        "count ~ age + dose",
        65,
        "dose.*separation",
    ),
    "the same twice": (
        changed(ROWS, "years", lambda n: ROWS[n]["age"]),
        "count ~ age + years",
        65,
        "collinear: years is told by age",
    ),
    "class told by another": (
        changed(ROWS, "site", lambda n: "AB"[ROWS[n]["group"] == "patient"]),
        "count ~ group + site",
        65,
        r"collinear: site\[B\] is told by group\[patient\]",
    ),
    "age in words": (
        changed(ROWS, "age", lambda n: f"old {n % 3}"),
        "count ~ age",
        65,
        "age is no number in 120 of 120",
    ),
    "age over 89": (changed(ROWS, "age", "89+", lambda n: n == 7), "count ~ age", 65, "1 of 120 rows, such as '89.'"),
    "a class each": (changed(ROWS, "site", lambda n: f"s{n}"), "count ~ site", 65, "120 classes in 120 rows"),
    "no value anywhere": (changed(ROWS, "age", "n/a"), "count ~ age", 65, "no value of age in 120"),
    "NaN everywhere": (changed(ROWS, "age", float("nan")), "count ~ age", 65, "no value of age in 120"),
    "infinite": (changed(ROWS, "age", "inf", lambda n: n == 3), "count ~ age", 65, "age is no number"),
    "logarithm of zero": (changed(ROWS, "ml", "0", lambda n: n == 3), "count ~ log(ml)", 65, "above 0.*'0' in sub-003"),
    "nothing complete": (changed(ROWS, "status", "failed"), "count ~ age", 18, "no complete session"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_models_are_refused_in_one_line(name):
    rows, formula, code, words = HOSTILE[name]
    with pytest.raises(MbsegError, match=words) as refused:
        analysed(rows, formula)
    assert refused.value.exit_code == code
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize(
    ("offset", "code", "words"),
    [("no", 64, "no column 'no'"), ("sex", 65, "--offset of sex needs numbers"), ("n_total", 64, "made from")],
)
def test_hostile_offsets(offset, code, words):
    with pytest.raises(MbsegError, match=words) as refused:
        analysed(ROWS, "count ~ age", offset=offset)
    assert refused.value.exit_code == code


def test_rows_without_a_value_are_left_out_and_named():
    rows = changed(ROWS, "age", "n/a", lambda n: n < 3)
    rows = changed(rows, "registration_passed", False, lambda n: n == 4)
    rows = changed(rows, "status", "failed", lambda n: n == 5)
    found = analysed(rows).selection
    assert found.excluded == {
        "a registration check failed": ("sub-004",),
        "not complete": ("sub-005",),
        "no value of age": ("sub-000", "sub-001", "sub-002"),
    }
    assert len(found.rows) == 115


def test_few_events_are_a_warning():
    rows = cohort(1, n=40)
    assert any(text.startswith("Few events") for text in analysed(rows).warnings)
    assert not any(text.startswith("Few events") for text in analysed(ROWS).warnings)


def test_first_session_given_session_and_all():
    rows = [row | {"session_id": f"ses-{s}"} for row in cohort(2, n=60) for s in ("1", "2")]
    formula = parse_formula("count ~ age")

    def chosen(**options):
        return select_rows(rows, ModelRequest(formula, **options))

    assert {row["session_id"] for row in chosen().rows} == {"ses-1"}
    assert (len(chosen().rows), chosen().n_other_sessions) == (60, 60)
    assert {row["session_id"] for row in chosen(session="2").rows} == {"ses-2"}
    assert len(chosen(all_sessions=True).rows) == 120
    with pytest.raises(MbsegError, match="ses-9") as refused:
        chosen(session="9")
    assert refused.value.exit_code == 18
    said = analysed(rows, "count ~ age", all_sessions=True)
    assert said.notes[0] == "All 120 usable sessions; standard errors are clustered by participant."
    assert said.main.n_clusters == 60
    few = analysed(rows[:60], "count ~ age", all_sessions=True)
    assert any("Only 30 participants" in text for text in few.warnings)


def test_regions_are_modelled_in_turn_and_corrected():
    generator = np.random.default_rng(0)
    rows = cohort(3, n=200)
    for row in rows:
        row["n_cortical_gm"] = int(generator.binomial(row["n_total"], 0.5))
        row["n_deep_gm"] = row["n_total"] - row["n_cortical_gm"]
        row["n_brainstem"] = 0
    found = analysed(rows).regions
    assert list(found.fits) == ["n_cortical_gm", "n_deep_gm"]
    assert found.refused == {"n_brainstem": "n_brainstem is 0 in all 200 rows"}
    for n in range(4):
        p = [found.fits[name].p_values[n] for name in found.fits]
        holm = [found.adjusted[name][n] for name in found.fits]
        assert min(holm) == pytest.approx(min(1, 2 * min(p)))
    assert analysed(rows, "n_deep_gm ~ age").regions is None


def test_zero_inflation_that_the_data_do_not_hold_does_not_stop_the_model():
    found = analysed(cohort(4, n=150, alpha=0), zero_inflated=True)
    assert found.main.kind in ("negative_binomial", "poisson") or "fits" in found.notes[-1]
    assert any("converges badly" in text for text in found.notes)


def test_unlike_scans_are_named():
    rows = changed(ROWS, "t2star_echo_time", lambda n: 0.02 if n < 50 else 0.04)
    rows = changed(rows, "site", lambda n: "A" if n < 50 else "B")
    said = harmonisation_warnings(rows, ["age"], "site")
    assert said[0].startswith("Unlike scans are pooled: echo time, s (0.04: 70, 0.02: 50)")
    assert "Put the kind of scan into the model" in said[0]
    assert said[1] == "Sites differ in echo time, s (A: 0.02; B: 0.04)."
    assert "The model holds site" in harmonisation_warnings(rows, ["age", "site"], "site")[0]
    assert harmonisation_warnings(ROWS, ["age"], None) == []
    assert "network weights" in harmonisation_warnings(changed(ROWS, "weights", lambda n: n % 2), [], None)[0]
    (unreliable,) = harmonisation_warnings(changed(ROWS, "counts_unreliable", lambda n: n < 7), [], None)
    assert unreliable.startswith(f"Counts of 7 of {len(ROWS)} rows are unreliable for their scans")


def test_a_covariate_that_goes_with_the_sequence_is_named():
    def sequence(n):
        return "swi" if ROWS[n]["group"] == "patient" else "T2starw"

    said = harmonisation_warnings(changed(ROWS, "t2star_sequence", sequence), ["age", "group"], None)
    confounded = [text for text in said if text.startswith("Covariate")]
    assert confounded == [
        "Covariate group goes with sequence (association 1.00 of 1): the two cannot be told apart: its rate ratio may "
        "be that of the scan."
    ]
    ages = sorted(float(row["age"]) for row in ROWS)
    older = changed(ROWS, "t2star_sequence", lambda n: "swi" if float(ROWS[n]["age"]) > ages[60] else "T2starw")
    assert any("Covariate age goes with sequence" in text for text in harmonisation_warnings(older, ["age"], None))


def test_association():
    assert association(["a", "a", "b", "b"], ["x", "x", "y", "y"]) == pytest.approx(1)
    assert association(["a", "b", "a", "b"], ["x", "x", "y", "y"]) == pytest.approx(0)
    assert association(["1", "3", "5", "7"], ["x", "x", "y", "y"]) == pytest.approx(np.sqrt(16 / 20))
    assert association(["1", "1"], ["x", "y"]) == 0


@pytest.mark.parametrize(("text", "number"), [("1e2", 100), ("-.5", -0.5), ("1_0", None), ("inf", None), ("7٧", None)])
def test_numbers(text, number):
    assert number_of(text) == number
