import re
import subprocess
import sys

import pytest
from doc_pages import PAGES

from mbseg_bids.cli.parser import parse_request
from mbseg_bids.errors import UsageError
from mbseg_bids.group.formula import parse_formula, term_name


def terms(text):
    return [term_name(term) for term in parse_formula(f"count ~ {text}").terms]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("age + sex", ["age", "sex"]),
        ("age*sex", ["age", "sex", "age:sex"]),
        ("age + sex + sex:age", ["age", "sex", "sex:age"]),
        ("age*sex + sex:age", ["age", "sex", "age:sex"]),
        ("(age + sex):group + age + sex + group", ["age", "sex", "group", "age:group", "sex:group"]),
        ("a*b*c - a:b:c", ["a", "b", "c", "a:b", "a:c", "b:c"]),
        ("C(site) + log(brain_volume)", ["C(site)", "log(brain_volume)"]),
        ("1 + age", ["age"]),
        ("1", []),
        ("`MMSE (z)` + âge", ["MMSE (z)", "âge"]),
        ("age + age", ["age"]),
    ],
)
def test_terms_are_those_of_wilkinson_and_rogers(text, expected):
    assert terms(text) == expected


def test_outcome():
    assert parse_formula("count~age").outcome == "n_total"
    assert parse_formula("n_deep_gm ~ age").outcome == "n_deep_gm"


HOSTILE = (
    "__import__('os').system('touch PWNED')",
    "__import__(os)",
    "eval(age)",
    "exec(age)",
    "open(age)",
    "np.log(age)",
    "age.__class__",
    "I(age**2)",
    "C(age, Treatment)",
    "C(__import__(os))",
    "log(log(age))",
    "Q('age')",
    "center(age)",
    "age[0]",
    "{age}",
    "[x for x in age]",
    "lambda: age",
    "age; import os",
    "age\nimport os",
    "age if sex else group",
    "age == 70",
    "age ** 2",
    "age / sex",
    "age % sex",
    "f'{age}'",
    "`os`(age)",
    "age and sex",
    "0x1 + age",
    "age @ sex",
    "age = 1",
    "$(touch PWNED)",
    "%in%",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_code_is_refused_in_one_line(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as refused:
        parse_formula(f"count ~ {text}")
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 64
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_would_be_code_elsewhere_is_only_a_name():
    """Backquotes allow any name, and a name is looked up in the header of a table and nowhere else."""
    formula = parse_formula("count ~ `__import__('os').system('touch PWNED')`")
    assert formula.columns == ("__import__('os').system('touch PWNED')",)


@pytest.mark.parametrize(
    "text",
    [
        *("", "count", "~ age", "count ~", "count ~ ~ age", "count ~ age ~ sex", "count sex ~ age", "log(count) ~ age"),
        *(
            "count ~ age +",
            "count ~ + age",
            "count ~ age sex",
            "count ~ (age",
            "count ~ age)",
            "count ~ 2",
            "count ~ 0",
        ),
        *("count ~ age - 1", "count ~ -age", "count ~ C()", "count ~ C(1)", "count ~ age::sex", "count ~ 1.5"),
        *("count ~ n_total + age", "count ~ age:sex", "count ~ age + age:sex", "count ~ a*b*c*d", "count ~ ``"),
        *("count ~ " + "(" * 30 + "age" + ")" * 30, "count ~ " + "a" * 2000),
    ],
)
def test_what_is_no_formula_is_refused(text):
    with pytest.raises(UsageError):
        parse_formula(text)


def test_a_formula_cannot_explode():
    names = "+".join(f"x{n}" for n in range(30))
    with pytest.raises(UsageError, match="more than 60 terms"):
        parse_formula(f"count ~ ({names})*({names.replace('x', 'y')})")


GROUP = ("bids", "out", "group")


@pytest.mark.parametrize(
    "options",
    [
        ("--zero-inflated",),
        ("--offset", "brain_volume"),
        ("--model-sessions", "all"),
        ("--model", "count ~ age", "--model-sessions", "some"),
        ("--model", "count ~ age", "--model-correction", "none"),
        ("--model", "count ~ age", "--model-session", "1", "--model-sessions", "all"),
        ("--model", "count ~ age", "--model-session", "../1"),
        ("--model", "count ~ os.system(age)"),
    ],
)
def test_options_that_contradict_are_refused(options):
    with pytest.raises(UsageError):
        parse_request([*GROUP, *options])


def test_a_model_belongs_to_the_group_level():
    with pytest.raises(UsageError, match="group level"):
        parse_request(["bids", "out", "participant", "--model", "count ~ age"])


def test_request():
    request = parse_request([*GROUP, "--model", "count ~ age", "--model-session", "ses-2", "--offset", "ml"]).model
    assert (request.session, request.offset, request.all_sessions, request.correction) == ("2", "ml", False, "holm")
    assert parse_request(GROUP).model is None


def test_formulas_of_the_docs_can_be_read():
    found = [text for page in PAGES for text in re.findall(r"--model [\"']([^\"']+)[\"']", page.read_text())]
    assert len(found) >= 4
    for text in found:
        parse_formula(text)


def test_the_group_level_imports_no_statsmodels_without_a_model():
    code = (
        "import sys; import mbseg_bids.cli.app, mbseg_bids.cli.group, mbseg_bids.group.build;"
        "assert not {'statsmodels', 'patsy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
