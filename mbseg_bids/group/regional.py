"""The same model for the counts of each region in turn, with p values corrected for their number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.group.design import Design, counts_of
from mbseg_bids.group.formula import Correction
from mbseg_bids.group.model_checks import check_design
from mbseg_bids.group.model_rows import Row
from mbseg_bids.group.models import Fit, fit_negative_binomial


@dataclass(frozen=True)
class Regions:
    """Models of regions.

    Attributes
    ----------
    fits
        Column of the group table to its model.
    designs
        The same to what it was fitted to.
    adjusted
        The same to (columns,) corrected p values.
    refused
        Column to the reason why it has no model.
    warnings
        Sentences, each beginning with the column.
    """

    fits: dict[str, Fit]
    designs: dict[str, Design]
    adjusted: dict[str, tuple[float, ...]]
    refused: dict[str, str]
    warnings: tuple[str, ...]


def fit_regions(rows: Sequence[Row], design: Design, outcomes: Sequence[str], correction: Correction) -> Regions:
    """Fit a negative binomial model to the counts of each region.

    Parameters
    ----------
    rows
        That the design was built from.
    design
        Of the model of all microbleeds.
    outcomes
        Columns with the counts of regions.
    correction
        Applied over the regions, for each coefficient apart. A region without a model is no test.
    """
    fits, designs, refused, warnings = {}, {}, {}, []
    for name in outcomes:
        try:
            of_region = replace(design, counts=counts_of(rows, name))
            warnings += [f"{name}: {text}" for text in check_design(of_region, name)]
            fits[name] = fit_negative_binomial(of_region)
            designs[name] = of_region
        except UnreadableDataError as error:
            refused[name] = error.what.removeprefix("--model: ")
    tables = {name: fit.p_values for name, fit in fits.items()}
    corrected = [
        adjust([float(p[n]) for p in tables.values()], correction) for n in range(design.matrix.shape[1] if fits else 0)
    ]
    adjusted = {name: tuple(column[k] for column in corrected) for k, name in enumerate(fits)}
    kept = tuple(text for text in warnings if text.split(":")[0] in fits)
    return Regions(fits, designs, adjusted, refused, kept)


def adjust(p_values: Sequence[float], correction: Correction) -> list[float]:
    """Return p values corrected for their number.

    Parameters
    ----------
    correction
        ``holm``: Holm 1979, any of them wrong; ``bonferroni``: the same, plainer and larger; ``fdr``: Benjamini and
        Hochberg 1995, the expected part of wrong ones among those called significant.
    """
    p = np.asarray(p_values, dtype=float)
    n = len(p)
    order = np.argsort(p, kind="stable")
    if correction == "bonferroni":
        found = n * p[order]
    elif correction == "holm":
        found = np.maximum.accumulate(np.arange(n, 0, -1) * p[order])
    else:
        found = np.minimum.accumulate((n / np.arange(1, n + 1) * p[order])[::-1])[::-1]
    adjusted = np.empty(n)
    adjusted[order] = np.minimum(found, 1.0)
    return adjusted.tolist()


def correction_words(correction: str) -> str:
    """Return the name of a correction."""
    names: Mapping[str, str] = {"holm": "Holm", "bonferroni": "Bonferroni", "fdr": "Benjamini and Hochberg"}
    return names[correction]
