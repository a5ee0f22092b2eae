"""Design matrix of a count model from rows of text: treatment coding, reference levels, exposure.

Nothing is evaluated: a factor is a column, a class or a logarithm, and a term is a product of factors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.group.formula import Factor, Formula, Term
from mbseg_bids.group.model_rows import Row, number_of, row_name, value_text

INTERCEPT = "intercept"
Data = Mapping[str, Sequence[Any]]
"""Column to its values in the order of the rows: numbers, or texts where the column is a class."""


@dataclass(frozen=True)
class Coding:
    """How a factor becomes columns.

    Attributes
    ----------
    levels
        Of a class, the reference first; empty for numbers.
    """

    factor: Factor
    levels: tuple[str, ...] = ()

    def columns(self, data: Data) -> dict[str, npt.NDArray[np.float64]]:
        """Return one column for a number, one for each level but the reference for a class; by name."""
        values = data[self.factor.column]
        if self.levels:
            texts = np.array([str(value) for value in values], dtype=object)
            name = self.factor.column
            return {f"{name}[{level}]": (texts == level).astype(float) for level in self.levels[1:]}
        numbers = np.asarray(values, dtype=float)
        return {str(self.factor): np.log(numbers) if self.factor.kind == "log" else numbers}


@dataclass(frozen=True)
class Column:
    """A column of the design matrix.

    Attributes
    ----------
    name
        Such as ``age``, ``sex[M]`` or ``age:sex[M]``.
    reference
        Reference levels of its classes, joined with ``:``; "" where it has none.
    """

    name: str
    term: Term
    reference: str


@dataclass(frozen=True)
class Design:
    """What a model is fitted to.

    Attributes
    ----------
    matrix
        (rows, columns); the first column is the intercept.
    columns
        Its columns.
    counts
        (rows,) outcome.
    offset
        (rows,) logarithm of the exposure; zeros without one.
    clusters
        (rows,) number of the participant, or nothing where each has one row.
    """

    matrix: npt.NDArray[np.float64]
    columns: tuple[Column, ...]
    counts: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]
    clusters: npt.NDArray[np.int64] | None
    codings: tuple[Coding, ...]
    terms: tuple[Term, ...]
    data: Data

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    def rebuilt(self, changed: Data) -> npt.NDArray[np.float64]:
        """Return the matrix with other values of some columns of the table."""
        return _matrix(self.terms, self.codings, {**self.data, **changed})[0]


def build_design(rows: Sequence[Row], formula: Formula, offset: str | None = None, cluster: bool = False) -> Design:
    """Code rows without missing values.

    Parameters
    ----------
    rows
        Used rows of the group table.
    offset
        Column of the exposure.
    cluster
        Whether rows of one participant belong together.

    Raises
    ------
    UnreadableDataError
        If a column cannot be coded, is constant, or the outcome is not a count; the column and a row are named.
    """
    data: dict[str, Sequence[Any]] = {}
    codings = []
    for factor in formula.factors:
        coding, values = _code(rows, factor)
        codings.append(coding)
        data.setdefault(factor.column, values)
    matrix, columns = _matrix(formula.terms, codings, data, len(rows))
    participants = {name: n for n, name in enumerate(dict.fromkeys(row["participant_id"] for row in rows))}
    return Design(
        matrix=matrix,
        columns=columns,
        counts=counts_of(rows, formula.outcome),
        offset=np.log(_positive(rows, offset, "--offset")) if offset else np.zeros(len(rows)),
        clusters=np.array([participants[row["participant_id"]] for row in rows]) if cluster else None,
        codings=tuple(codings),
        terms=formula.terms,
        data=data,
    )


def counts_of(rows: Sequence[Row], column: str) -> npt.NDArray[np.float64]:
    """Return a column of counts.

    Raises
    ------
    UnreadableDataError
        If a value is not a whole number of 0 or more.
    """
    counts = []
    for row in rows:
        text = value_text(row, column)
        number = number_of(text) if text is not None else None
        if number is None or number < 0 or number != int(number):
            raise UnreadableDataError(
                f"--model: {column} is {text!r} in {row_name(row)}, not a count", "the outcome is a column of counts"
            )
        counts.append(number)
    return np.array(counts, dtype=float)


def _code(rows: Sequence[Row], factor: Factor) -> tuple[Coding, Sequence[Any]]:
    """Return how to code a factor, and the values of its column."""
    name = factor.column
    texts = [value_text(row, name) or "" for row in rows]
    if len(set(texts)) < 2:
        raise UnreadableDataError(f"--model: {name} is {texts[0]!r} in every row used", "take it out of the formula")
    if factor.kind == "log":
        return Coding(factor), _positive(rows, name, "log").tolist()
    numbers = [number_of(text) for text in texts]
    strange = [n for n, number in enumerate(numbers) if number is None]
    if factor.kind == "plain" and not strange:
        values = [float(number) for number in numbers if number is not None]
        if len(set(values)) < 2:  # 1 and 1.0
            raise UnreadableDataError(f"--model: {name} is {texts[0]} in every row used", "take it out of the formula")
        return Coding(factor), values
    if factor.kind == "plain" and (len(strange) < len(texts) or name.lower() in ("age", "participants_age")):
        first = strange[0]
        raise UnreadableDataError(
            f"--model: {name} is no number in {len(strange)} of {len(texts)} rows, such as {texts[first]!r} in "
            f"{row_name(rows[first])}",
            f"correct it, write n/a, or C({name}) if it names classes",
        )
    levels = sorted(set(texts), key=lambda text: (number_of(text) is None, number_of(text) or 0.0, text))
    if 2 * len(levels) > len(texts) and len(levels) > 2:
        raise UnreadableDataError(
            f"--model: {name} has {len(levels)} classes in {len(texts)} rows", "a class needs several rows"
        )
    return Coding(factor, tuple(levels)), texts


def _positive(rows: Sequence[Row], column: str, use: str) -> npt.NDArray[np.float64]:
    """Return a column of numbers above 0."""
    values = []
    for row in rows:
        text = value_text(row, column)
        number = number_of(text) if text is not None else None
        if number is None or not number > 0:
            raise UnreadableDataError(
                f"--model: {use} of {column} needs numbers above 0; it is {text!r} in {row_name(row)}", "correct it"
            )
        values.append(number)
    return np.array(values, dtype=float)


def _matrix(
    terms: Sequence[Term], codings: Sequence[Coding], data: Data, n_rows: int | None = None
) -> tuple[npt.NDArray[np.float64], tuple[Column, ...]]:
    """Return the matrix and its columns, fewer than rows; ``n_rows`` is needed where there is no term."""
    by_factor = {coding.factor: coding for coding in codings}
    n_rows = len(next(iter(data.values()))) if n_rows is None and data else n_rows or 0
    arrays, columns = [np.ones(n_rows)], [Column(INTERCEPT, (), "")]
    for term in terms:
        n_columns = len(columns) + prod(max(1, len(by_factor[factor].levels) - 1) for factor in term)
        if n_columns >= n_rows:  # before the memory is taken: classes multiply
            raise UnreadableDataError(
                f"--model: {n_rows} rows for at least {n_columns} coefficients", "a shorter formula, or more people"
            )
        coded = {"": np.ones(n_rows)}
        for factor in term:
            coded = {
                f"{left}:{right}" if left else right: product * column
                for left, product in coded.items()
                for right, column in by_factor[factor].columns(data).items()
            }
        reference = ":".join(by_factor[factor].levels[0] for factor in term if by_factor[factor].levels)
        arrays += coded.values()
        columns += [Column(name, term, reference) for name in coded]
    return np.column_stack(arrays), tuple(columns)
