"""Whether a count model can be estimated at all. Pure: arrays in, a refusal or warnings out."""

import numpy as np
import numpy.typing as npt

from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.group.design import Design

FEW_EVENTS, TOO_FEW_EVENTS = 10, 2
"""Rows with a microbleed for each coefficient: below the first a model is shaky, below the second it is refused. Ten is
the rule of Peduzzi et al. 1996 for logistic models. Microbleeds of one person come together, so rows are counted."""

LARGE_INFLATION = 10.0
"""Variance inflation factor from which a coefficient is called poorly determined."""

_RANK_TOLERANCE = 1e-8
_SLACK = 1e-6


def check_design(design: Design, outcome: str) -> list[str]:
    """Return warnings about a design that can be estimated.

    Raises
    ------
    UnreadableDataError
        If all counts are zero, covariates are collinear, there are too few events, or the counts separate.
    """
    n_rows, n_columns = design.matrix.shape
    n_events = int(np.count_nonzero(design.counts))
    if not n_events:
        raise UnreadableDataError(f"--model: {outcome} is 0 in all {n_rows} rows", "there is nothing to model")
    scaled = standardise(design.matrix)[0]
    for name, column in zip(design.names, scaled.T, strict=True):
        if not column.any():
            raise UnreadableDataError(f"--model: no row tells {name} from the rest", "merge classes, or take it out")
    dependent = dependent_columns(scaled)
    if dependent is not None:
        column, on = dependent
        names = ", ".join(design.names[n] for n in on)
        raise UnreadableDataError(
            f"--model: collinear: {design.names[column]} is told by {names}", "take one of them out of the formula"
        )
    if n_events < TOO_FEW_EVENTS * n_columns:
        raise UnreadableDataError(
            f"--model: {n_events} rows with any {outcome} for {n_columns} coefficients, at least "
            f"{TOO_FEW_EVENTS * n_columns} are needed",
            "a shorter formula, or more people",
        )
    _refuse_empty_levels(design, outcome)
    separating = separating_columns(scaled, design.counts)
    if separating:
        names = ", ".join(design.names[n] for n in separating)
        raise UnreadableDataError(
            f"--model: {names}: the zeros of {outcome} can be told from the other counts, so no finite rate ratio fits "
            "(separation)",
            "merge classes, or take it out of the formula",
        )
    warnings = []
    if n_events < FEW_EVENTS * n_columns:
        warnings.append(
            f"Few events: {n_events} rows with any microbleed for {n_columns} coefficients; "
            f"with fewer than {FEW_EVENTS} for each, ratios scatter and intervals are too narrow."
        )
    return warnings + _inflation_warnings(design, scaled)


def standardise(matrix: npt.NDArray) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray]:
    """Return the columns after the first with mean 0 and standard deviation 1, the means, and the deviations."""
    means, spreads = matrix.mean(axis=0), matrix.std(axis=0)
    means[0], spreads[0] = 0.0, 1.0
    spreads[spreads == 0] = 1.0
    return (matrix - means) / spreads, means, spreads


def dependent_columns(scaled: npt.NDArray) -> tuple[int, list[int]] | None:
    """Return the first column that is a linear combination of earlier ones, and those; nothing if none is."""
    for n in range(1, scaled.shape[1]):
        earlier, column = scaled[:, :n], scaled[:, n]
        weights = np.linalg.lstsq(earlier, column, rcond=None)[0]
        left = np.linalg.norm(column - earlier @ weights)
        if left <= _RANK_TOLERANCE * max(1.0, float(np.linalg.norm(column))) * len(column) ** 0.5:
            on = [int(k) for k in np.flatnonzero(np.abs(weights) > 1e-6) if k > 0]
            return n, on or [0]
    return None


def separating_columns(scaled: npt.NDArray, counts: npt.NDArray) -> list[int]:
    """Return the columns along which the likelihood of a model with log link grows for ever; none if it has a maximum.

    There is no maximum if, and only if, some direction d has ``x @ d = 0`` in every row with a count above 0, and
    ``x @ d <= 0`` in the others, not all 0 (Correia, Guimaraes and Zylkin 2019, arXiv:1903.01633).

    Parameters
    ----------
    scaled
        (rows, columns), of full rank.
    counts
        (rows,).
    """
    positive = scaled[counts > 0]
    if np.linalg.matrix_rank(positive) == scaled.shape[1]:
        return []
    from scipy.optimize import linprog

    zero = scaled[counts == 0]
    n = scaled.shape[1]
    found = linprog(
        zero.sum(axis=0),
        A_ub=np.vstack([zero, -zero]),
        b_ub=np.concatenate([np.zeros(len(zero)), np.ones(len(zero))]),
        A_eq=positive,
        b_eq=np.zeros(len(positive)),
        bounds=[(None, None)] * n,
        method="highs",
    )
    if not found.success or found.fun > -_SLACK:
        return []
    return [int(k) for k in np.flatnonzero(np.abs(found.x) > _SLACK * np.abs(found.x).max()) if k > 0] or [0]


def _refuse_empty_levels(design: Design, outcome: str) -> None:
    """Refuse classes in which nobody has a microbleed: the commonest separation, and the easiest to name."""
    for coding in design.codings:
        if not coding.levels:
            continue
        name = coding.factor.column
        texts = np.array([str(value) for value in design.data[name]], dtype=object)
        for level in coding.levels:
            inside = texts == level
            if not design.counts[inside].any():
                raise UnreadableDataError(
                    f"--model: {outcome} is 0 in all {int(inside.sum())} rows with {name} = {level}: no finite rate "
                    "ratio fits (separation)",
                    "merge classes, or take it out of the formula",
                )


def _inflation_warnings(design: Design, scaled: npt.NDArray) -> list[str]:
    """Name columns of main terms that the others nearly tell."""
    main = [n for n, column in enumerate(design.columns) if len(column.term) == 1]
    if len(main) < 2:
        return []
    inverse = np.linalg.inv(np.corrcoef(scaled[:, main], rowvar=False))
    high = [design.names[main[n]] for n, factor in enumerate(np.diag(inverse)) if factor > LARGE_INFLATION]
    return [f"Nearly collinear: {', '.join(high)}; their ratios cannot be told apart well."] if high else []
