import numpy as np
import pytest
from counted_cohort import TRUTH, cohort

from mbseg_bids.group.design import build_design
from mbseg_bids.group.dispersion import alpha_interval, judge_dispersion
from mbseg_bids.group.formula import parse_formula
from mbseg_bids.group.model_checks import check_design, separating_columns
from mbseg_bids.group.model_figures import expected_mean
from mbseg_bids.group.models import fit_negative_binomial, fit_poisson, fit_zero_inflated
from mbseg_bids.group.regional import adjust

FORMULA = parse_formula("count ~ age + sex + group")
SEEDS = range(8)


def design_of(rows, formula=FORMULA, **options):
    design = build_design(rows, formula, **options)
    check_design(design, formula.outcome)
    return design


def deviates(fit, design):
    """Return how many standard errors each coefficient is from the truth."""
    assert design.names == tuple(TRUTH)
    return (fit.coefficients - np.array(list(TRUTH.values()))) / fit.errors


def covered(z):
    """Whether all but the few that chance allows are within their 95 % intervals, and none is far out."""
    z = np.abs(np.array(z))
    return (z < 1.96).mean() >= 0.85 and z.max() < 3.9


def test_known_coefficients_are_recovered_within_their_intervals():
    z, inside = [], 0
    for seed in SEEDS:
        design = design_of(cohort(seed))
        fit = fit_negative_binomial(design)
        assert fit.kind == "negative_binomial"
        z.append(deviates(fit, design))
        low, high = alpha_interval(design, fit)
        inside += low < 1.0 < high
        assert low < fit.alpha < high
        assert 0.8 < fit.pearson < 1.25
    assert covered(z)
    assert inside >= len(SEEDS) - 2


def test_intervals_would_not_hold_of_other_coefficients():
    """What the test above accepts would not be accepted of an age effect half as large."""
    z = [deviates(fit_negative_binomial(d := design_of(cohort(s))), d)[1] for s in SEEDS]
    wrong = [v + 0.02 / fit_negative_binomial(design_of(cohort(s))).errors[1] for v, s in zip(z, SEEDS, strict=True)]
    assert not covered(wrong)


def test_zero_inflation_is_recovered():
    z, shares = [], []
    for seed in SEEDS[:4]:
        design = design_of(cohort(seed, alpha=0.5, zero=0.35))
        plain = fit_negative_binomial(design)
        fit = fit_zero_inflated(design, plain)
        assert fit.log_likelihood > plain.log_likelihood
        z.append(deviates(fit, design))
        shares.append((fit.zero - np.log(0.35 / 0.65)) / fit.zero_error)
        assert 0.8 < fit.pearson < 1.25
    assert covered(z)
    assert covered(shares)


def test_an_offset_is_an_exposure():
    z = []
    for seed in SEEDS[:4]:
        rows = cohort(seed, exposure=True)
        design = design_of(rows, offset="ml")
        fit = fit_negative_binomial(design)
        z.append(deviates(fit, design))
        assert fit.log_likelihood > fit_negative_binomial(design_of(rows)).log_likelihood
    assert covered(z)


def test_a_constant_exposure_moves_the_intercept_alone():
    rows = [row | {"ml": "2"} for row in cohort(1)]
    without, having = (fit_negative_binomial(design_of(rows, offset=offset)) for offset in (None, "ml"))
    np.testing.assert_allclose(having.coefficients[1:], without.coefficients[1:], atol=1e-5)
    assert having.coefficients[0] == pytest.approx(without.coefficients[0] - np.log(2), abs=1e-4)


def test_poisson_counts_have_an_alpha_whose_interval_reaches_to_zero():
    for seed in SEEDS[:4]:
        design = design_of(cohort(seed, alpha=0))
        fit = fit_negative_binomial(design)
        assert alpha_interval(design, fit)[0] < 0.02
        said = judge_dispersion(design, fit, fit_poisson(design)).words
        assert said.startswith(("No overdispersion", "Overdispersion is small", "The counts scatter more"))


def test_poisson_of_overdispersed_counts_is_called_too_narrow():
    design = design_of(cohort(2))
    judged = judge_dispersion(design, fit_negative_binomial(design), fit_poisson(design))
    assert "Poisson would have been too narrow" in judged.words
    assert judged.narrowness[1] < 0.9
    assert judged.p < 1e-6
    assert judged.poisson_pearson > 1.5


def test_poisson_of_one_class_is_the_ratio_of_means():
    """The maximum likelihood ratio of two classes is that of their means, whatever the distribution."""
    rows = cohort(3)
    design = design_of(rows, parse_formula("count ~ group"))
    means = [np.mean([r["n_total"] for r in rows if r["group"] == level]) for level in ("control", "patient")]
    for fit in (fit_poisson(design), fit_negative_binomial(design)):
        np.testing.assert_allclose(np.exp(fit.coefficients), [means[0], means[1] / means[0]], rtol=1e-4)
    inverse = 1 / np.array([sum(r["n_total"] for r in rows if r["group"] == g) for g in ("control", "patient")])
    np.testing.assert_allclose(fit_poisson(design).errors, np.sqrt([inverse[0], inverse.sum()]), rtol=1e-5)


def test_units_do_not_matter():
    rows = cohort(4)
    days = [row | {"age": str(float(row["age"]) * 365.25)} for row in rows]
    one, other = (fit_negative_binomial(design_of(r)) for r in (rows, days))
    assert one.coefficients[1] == pytest.approx(other.coefficients[1] * 365.25, rel=1e-4)
    assert one.log_likelihood == pytest.approx(other.log_likelihood, abs=1e-6)


def test_repeated_sessions_do_not_narrow_clustered_errors():
    rows = cohort(5, n=200)
    twice = [row | {"session_id": f"ses-{n}"} for row in rows for n in (1, 2)]
    once = fit_negative_binomial(design_of(rows, cluster=True))
    clustered = fit_negative_binomial(design_of(twice, cluster=True))
    naive = fit_negative_binomial(design_of(twice))
    np.testing.assert_allclose(clustered.errors, once.errors, rtol=0.02)
    of_one = fit_negative_binomial(design_of(rows)).errors
    np.testing.assert_allclose(naive.errors, of_one / np.sqrt(2), rtol=1e-3)
    assert clustered.n_clusters == 200


def test_the_expected_mean_over_all_rows_is_the_observed_one():
    """The score equations of a Poisson model say so; its interval holds the mean."""
    design = design_of(cohort(6))
    expected = expected_mean(fit_poisson(design), design.matrix, design.offset)
    assert expected.mean == pytest.approx(design.counts.mean(), rel=1e-6)
    assert expected.low < expected.mean < expected.high


@pytest.mark.parametrize(
    ("correction", "expected"),
    [("holm", [0.03, 0.06, 0.06, 0.02]), ("bonferroni", [0.04, 0.16, 0.12, 0.02]), ("fdr", [0.02, 0.04, 0.04, 0.02])],
)
def test_corrections_have_known_answers(correction, expected):
    assert adjust([0.01, 0.04, 0.03, 0.005], correction) == pytest.approx(expected)
    assert adjust([], correction) == []
    assert adjust([0.9, 0.8], correction)[0] <= 1


def test_separation_is_found_in_a_direction_that_no_single_column_shows():
    ones = np.ones(6)
    x = np.column_stack([ones, [0, 1, 2, 0, 1, 2], [0, 1, 2, 1, 2, 3]])  # zeros lie above the line x1 = x2
    counts = np.array([1, 2, 3, 0, 0, 0])
    assert separating_columns(x, counts) == [1, 2]
    assert separating_columns(x, np.array([1, 2, 3, 0, 1, 0])) == []
