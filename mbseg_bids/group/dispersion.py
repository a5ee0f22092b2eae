"""How much more counts scatter than Poisson counts, with an interval, and what a Poisson model would have got wrong."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mbseg_bids.group.design import Design
from mbseg_bids.group.models import QUANTILE, Array, Fit

_SMALLEST, _LARGEST = 1e-6, 1e4
"""Alpha is sought between these; below the first a count cannot be told from a Poisson one."""

_NARROW = 0.95
"""Poisson intervals below this part of the others are called too narrow."""


@dataclass(frozen=True)
class Dispersion:
    """What is known of the scatter of counts about their means.

    Attributes
    ----------
    alpha, low, high
        Overdispersion with its 95 % profile likelihood interval.
    p
        Of the likelihood ratio test of alpha = 0.
    pearson, poisson_pearson
        Pearson chi-square by degrees of freedom of the negative binomial model and of the Poisson model.
    narrowness
        Smallest and largest quotient of the Poisson standard errors and those of the model.
    words
        The same for a reader.
    """

    alpha: float
    low: float
    high: float
    p: float
    pearson: float
    poisson_pearson: float
    narrowness: tuple[float, float]
    words: str


def judge_dispersion(design: Design, fit: Fit, poisson: Fit) -> Dispersion:
    """Compare a negative binomial model with the Poisson model of the same design."""
    low, high = alpha_interval(design, fit)
    p = overdispersion_p(fit, poisson)
    quotients = poisson.errors / fit.errors
    narrowness = float(quotients.min()), float(quotients.max())
    if fit.kind == "poisson":
        words = (
            f"No overdispersion: the negative binomial model has become a Poisson model (alpha 0, at most {high:.2g}; "
            f"Pearson chi-square / df {fit.pearson:.2f})."
        )
    else:
        words = (
            f"The counts scatter more than Poisson counts: alpha {fit.alpha:.2f} (95 % interval {low:.2f} to "
            f"{high:.2f}), Pearson chi-square / df {poisson.pearson:.2f} of a Poisson model, {fit.pearson:.2f} of "
            "the negative binomial one. "
        )
        if p >= 0.05:
            words = (
                f"Overdispersion is small: alpha {fit.alpha:.2g} (95 % interval {low:.2g} to {high:.2g}, p = {p:.2g}). "
            )
        if design.clusters is None and narrowness[0] < _NARROW:
            words += (
                f"Poisson would have been too narrow: its standard errors are {100 * narrowness[0]:.0f} to "
                f"{100 * narrowness[1]:.0f} % of the others."
            )
    return Dispersion(fit.alpha, low, high, p, fit.pearson, poisson.pearson, narrowness, words.strip())


def overdispersion_p(fit: Fit, poisson: Fit) -> float:
    """Return p of the likelihood ratio test of alpha = 0.

    The statistic is half chi-square with one degree of freedom and half 0, as alpha cannot be negative (Self and Liang
    1987).
    """
    from scipy.stats import chi2

    statistic = max(0.0, 2 * (fit.log_likelihood - poisson.log_likelihood))
    return float(chi2.sf(statistic, 1) / 2) if statistic else 1.0


def alpha_interval(design: Design, fit: Fit) -> tuple[float, float]:
    """Return the 95 % profile likelihood interval of alpha of a negative binomial or Poisson model.

    The Wald interval fails where it is needed most, near 0. For a zero-inflated model it is that of log(alpha).
    """
    if fit.zero is not None:
        factor = float(np.exp(min(QUANTILE * (fit.alpha_error or 0.0) / fit.alpha, 700.0)))
        return fit.alpha / factor, fit.alpha * factor
    from scipy.optimize import brentq

    start = fit.coefficients
    top = max(_profile(design, max(fit.alpha, _SMALLEST), start), _profile(design, _SMALLEST, start))

    def drop(log_alpha: float) -> float:
        return top - QUANTILE**2 / 2 - _profile(design, float(np.exp(log_alpha)), start)

    middle = float(np.log(max(fit.alpha, _SMALLEST)))
    low, high, far = 0.0, np.inf, middle + 1.0
    while drop(far) < 0 and far < np.log(_LARGEST):
        far += 1.0
    if drop(far) >= 0:
        high = float(np.exp(brentq(drop, middle, far, xtol=1e-6)))
    if drop(float(np.log(_SMALLEST))) > 0:
        low = float(np.exp(brentq(drop, np.log(_SMALLEST), middle, xtol=1e-6)))
    return low, high


def _profile(design: Design, alpha: float, start: Array) -> float:
    """Return the largest log-likelihood of an NB2 model with a given alpha, by Fisher scoring."""
    coefficients, last = start.copy(), -np.inf
    for _ in range(50):
        means = np.exp(np.clip(design.matrix @ coefficients + design.offset, -30, 30))
        found = _log_likelihood(design.counts, means, alpha)
        if abs(found - last) < 1e-9:
            break
        last = found
        weights = means / (1 + alpha * means)
        score = design.matrix.T @ (weights * (design.counts - means) / means)
        coefficients = (
            coefficients + np.linalg.lstsq((design.matrix.T * weights) @ design.matrix, score, rcond=1e-14)[0]
        )
    return found


def _log_likelihood(counts: npt.NDArray, means: npt.NDArray, alpha: float) -> float:
    from scipy.special import gammaln

    size = 1 / alpha
    terms = gammaln(counts + size) - gammaln(size) - gammaln(counts + 1)
    terms += counts * np.log(alpha * means) - (counts + size) * np.log1p(alpha * means)
    return float(terms.sum())
