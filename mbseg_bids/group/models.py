"""Count models: negative binomial (NB2), Poisson and zero-inflated negative binomial, fitted by statsmodels.

``log(mean) = offset + x @ b``; the variance is ``mean + alpha * mean**2`` (NB2, Cameron and Trivedi 2013, ch. 3), which
is Poisson's for an alpha of 0. Columns are standardised before a fit and the results are brought back, as the
optimisers stall on an age of 70 beside an intercept. statsmodels is imported when a model is fitted, not before.
"""

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mbseg_bids.errors import MbsegError, UnreadableDataError
from mbseg_bids.group.design import Design
from mbseg_bids.group.model_checks import standardise

Kind = Literal["negative_binomial", "poisson", "zero_inflated_negative_binomial"]
Array = npt.NDArray[np.float64]

QUANTILE = 1.959963984540054
"""Of the normal distribution, 0.975: 95 % intervals."""

_GRADIENT_LIMIT = 1e-4
"""Largest gradient of the log-likelihood, for each row and on standardised columns, at which a fit counts as done."""

_ITERATIONS = 1000


class NotConvergedError(UnreadableDataError):
    """The likelihood has no maximum that could be found."""


@dataclass(frozen=True)
class Fit:
    """A fitted model, on the columns of its design as they are.

    Attributes
    ----------
    coefficients
        (columns,) natural logarithms of rate ratios; the first is the intercept.
    covariance
        (columns, columns) of the coefficients; one row and column more for ``zero`` where there is one.
    alpha, alpha_error
        Overdispersion and its standard error; 0 and nothing for Poisson.
    zero
        Logit of the share of rows that are taken to have no microbleeds whatever their covariates.
    pearson
        Pearson chi-square by its degrees of freedom: about 1 where the variance fits.
    """

    kind: Kind
    coefficients: Array
    covariance: Array
    alpha: float
    alpha_error: float | None
    zero: float | None
    log_likelihood: float
    pearson: float
    n_clusters: int | None

    @property
    def errors(self) -> Array:
        """Standard errors of the coefficients."""
        return np.sqrt(np.diag(self.covariance))[: len(self.coefficients)]

    @property
    def intervals(self) -> Array:
        """(columns, 2) 95 % Wald intervals of the coefficients."""
        return self.coefficients[:, None] + QUANTILE * self.errors[:, None] * np.array([-1.0, 1.0])

    @property
    def p_values(self) -> Array:
        """Two-sided, of Wald tests against 0."""
        return two_sided(self.coefficients / self.errors)

    @property
    def zero_error(self) -> float | None:
        """Standard error of ``zero``."""
        return None if self.zero is None else float(np.sqrt(self.covariance[-1, -1]))

    @property
    def aic(self) -> float:
        """Akaike's information criterion."""
        n_parameters = len(self.coefficients) + (self.alpha_error is not None) + (self.zero is not None)
        return 2 * n_parameters - 2 * self.log_likelihood

    def means(self, matrix: Array, offset: Array) -> Array:
        """Return (rows,) expected counts, those of structural zeros included."""
        expected = np.exp(np.clip(matrix @ self.coefficients + offset, -700, 700))
        return expected if self.zero is None else expected * (1 - _expit(self.zero))


def two_sided(z: Array) -> Array:
    """Return two-sided p values of standard normal deviates."""
    from scipy.stats import norm

    return 2 * norm.sf(np.abs(z))


def fit_poisson(design: Design) -> Fit:
    """Fit a Poisson model."""
    from statsmodels.discrete.discrete_model import Poisson

    scaled = standardise(design.matrix)[0]
    model = Poisson(design.counts, scaled, offset=design.offset)
    start = np.zeros(scaled.shape[1])
    start[0] = np.log(design.counts.sum() / np.exp(design.offset).sum())
    result = _optimise(model, start, design, ("newton", "bfgs"))
    return _as_fit("poisson", result, design, zero_first=False)


def fit_negative_binomial(design: Design) -> Fit:
    """Fit an NB2 model; a Poisson one where the counts are not overdispersed, as alpha is 0 then.

    At alpha = 0 the derivative of the log-likelihood by alpha is half the sum of ``(y - mean)**2 - y``: where that is
    not above 0, the maximum is at the edge and an optimiser would walk towards it for ever.
    """
    from statsmodels.discrete.discrete_model import NegativeBinomial

    poisson = fit_poisson(design)
    means = poisson.means(design.matrix, design.offset)
    if np.sum((design.counts - means) ** 2 - design.counts) <= 0:
        return poisson
    scaled, centre, spread = standardise(design.matrix)
    model = NegativeBinomial(design.counts, scaled, offset=design.offset, loglike_method="nb2")
    excess = np.sum((design.counts - means) ** 2 - means) / np.sum(means**2)
    start = np.append(_to_scaled(poisson.coefficients, centre, spread), max(excess, 0.05))
    return _as_fit("negative_binomial", _optimise(model, start, design, ("bfgs", "newton")), design, zero_first=False)


def fit_zero_inflated(design: Design, plain: Fit) -> Fit:
    """Fit a zero-inflated NB2 model with one share of structural zeros for all rows.

    Parameters
    ----------
    plain
        The model without zero inflation: where to start from.

    Raises
    ------
    NotConvergedError
        As often where zeros are no more than the negative binomial explains: share and alpha stand for each other then.
    """
    from statsmodels.discrete.count_model import ZeroInflatedNegativeBinomialP

    scaled, centre, spread = standardise(design.matrix)
    model = ZeroInflatedNegativeBinomialP(design.counts, scaled, offset=design.offset, p=2)
    inside = _to_scaled(plain.coefficients, centre, spread)
    zeros = float(np.mean(design.counts == 0))
    alpha = max(plain.alpha, 0.1)
    expected = float(np.mean((1 + alpha * plain.means(design.matrix, design.offset)) ** (-1 / alpha)))
    best: Fit | None = None
    for share in (max((zeros - expected) / (1 - expected), 0.05), max(zeros / 2, 0.05)):
        shift = np.zeros(len(inside))
        shift[0] = -np.log(1 - share)
        start = np.concatenate([[np.log(share / (1 - share))], inside + shift, [alpha * (1 - share)]])
        try:
            fit = _as_fit(
                "zero_inflated_negative_binomial",
                _optimise(model, start, design, ("bfgs", "nm")),
                design,
                zero_first=True,
            )
        except NotConvergedError:
            continue
        if best is None or fit.log_likelihood > best.log_likelihood:
            best = fit
    if best is None or (best.zero is not None and abs(best.zero) > 12):
        raise NotConvergedError(
            "--zero-inflated: the fit did not converge; the zeros are probably no more than the negative binomial "
            "model explains",
            "leave --zero-inflated out",
        )
    return best


def _optimise(model: Any, start: Array, design: Design, methods: tuple[str, ...]) -> Any:
    """Try methods in turn, each from where the one before stopped; return the first result that is a maximum."""
    cluster = {}
    if design.clusters is not None:
        cluster = {"cov_type": "cluster", "cov_kwds": {"groups": design.clusters}}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for method in methods:
            tight = {"gtol": 1e-8} if method == "bfgs" else {}
            try:
                result = model.fit(start, method=method, maxiter=_ITERATIONS, disp=0, **tight, **cluster)
                params = np.asarray(result.params)
                if not np.all(np.isfinite(params)):
                    continue
                gradient = np.abs(np.asarray(model.score(params))) / len(design.counts)
                errors = np.sqrt(np.diag(np.asarray(result.cov_params())))
            except (np.linalg.LinAlgError, ValueError, FloatingPointError, OverflowError, ZeroDivisionError):
                continue
            if gradient.max() < _GRADIENT_LIMIT and np.all(np.isfinite(errors)) and np.all(errors > 0):
                return result
            start = params
    raise NotConvergedError(
        "--model: the fit did not converge", "a shorter formula, fewer classes, or look at the counts of each class"
    )


def _as_fit(kind: Kind, result: Any, design: Design, *, zero_first: bool) -> Fit:
    """Bring a result on standardised columns back to the columns as they are."""
    _, centre, spread = standardise(design.matrix)
    n, first = len(spread), int(zero_first)
    params, covariance = np.asarray(result.params), np.asarray(result.cov_params())
    order = [*range(first, first + n), *([0] if zero_first else [])]
    back = np.eye(len(order))
    back[:n, :n] = np.diag(1 / spread)
    back[0, :n] -= centre / spread
    moved = back @ params[order]
    has_alpha = len(params) > len(order)
    fit = Fit(
        kind=kind,
        coefficients=moved[:n],
        covariance=back @ covariance[np.ix_(order, order)] @ back.T,
        alpha=float(params[-1]) if has_alpha else 0.0,
        alpha_error=float(np.sqrt(covariance[-1, -1])) if has_alpha else None,
        zero=float(moved[-1]) if zero_first else None,
        log_likelihood=float(result.llf),
        pearson=0.0,
        n_clusters=None if design.clusters is None else int(design.clusters.max()) + 1,
    )
    if has_alpha and not fit.alpha > 0:
        raise NotConvergedError("--model: the fit did not converge: alpha is not above 0", "a shorter formula")
    return _with_pearson(fit, design, len(params))


def _with_pearson(fit: Fit, design: Design, n_parameters: int) -> Fit:
    """Add Pearson's chi-square by its degrees of freedom."""
    means = fit.means(design.matrix, design.offset)
    share = 0.0 if fit.zero is None else _expit(fit.zero)
    # Of a zero-inflated count with the mean (1 - share) * m: (1 - share) * (m + alpha m^2 + share m^2).
    variance = means * (1 + (fit.alpha + share) * means / (1 - share))
    freedom = max(1, len(means) - n_parameters + (fit.alpha_error is not None))
    values = {name: getattr(fit, name) for name in Fit.__dataclass_fields__}
    return Fit(**values | {"pearson": float(np.sum((design.counts - means) ** 2 / variance) / freedom)})


def _to_scaled(coefficients: Array, centre: Array, spread: Array) -> Array:
    scaled = coefficients * spread
    scaled[0] += coefficients @ centre
    return scaled


def _expit(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))


def check_installed() -> None:
    """Refuse where statsmodels cannot be imported.

    Raises
    ------
    MbsegError
        If it is not installed.
    """
    try:
        import statsmodels  # noqa: F401
    except ImportError as error:
        raise MbsegError("--model needs statsmodels, which is not installed", "pip install statsmodels") from error
