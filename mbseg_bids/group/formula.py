"""Formulas of count models: read by a grammar of their own, so that nothing in them can ever be run.

A formula is ``count ~ age + sex + group``. On the right stand names of columns (in backquotes where they hold other
characters than letters, digits and underscores), ``C(name)`` for a number that names a class, ``log(name)``, ``1``, and
``+ - * : ( )`` with the meaning and the precedence of Wilkinson and Rogers (1973), as in R. There is no way to write a
call, an attribute or an index.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from mbseg_bids.errors import UsageError

Kind = Literal["plain", "class", "log"]
Correction = Literal["holm", "bonferroni", "fdr"]

COUNT_ALIASES = {"count": "n_total"}
"""Names of the outcome that stand for a column of the group table."""

LONGEST, DEEPEST, MOST_TERMS, HIGHEST_ORDER = 1000, 20, 60, 3
"""Limits of a formula: characters, nested brackets, terms, factors of a term. No cohort carries more."""

_TOKEN = re.compile(r"\s*(?:(?P<name>[^\W\d]\w*)|`(?P<quoted>[^`\n\t]+)`|(?P<number>\d+)|(?P<symbol>[-+*:()~]))")
_FUNCTIONS: dict[str, Kind] = {"C": "class", "log": "log"}
_ALLOWED = "a formula holds column names, + - * : ( ), C(name) and log(name), nothing else"


@dataclass(frozen=True)
class Factor:
    """A column and how it enters: as it is, as a class, or as its natural logarithm."""

    column: str
    kind: Kind = "plain"

    def __str__(self) -> str:
        return {"plain": "{}", "class": "C({})", "log": "log({})"}[self.kind].format(self.column)


Term = tuple[Factor, ...]
"""Factors multiplied with each other; none for the intercept."""


@dataclass(frozen=True)
class Formula:
    """A formula that was read.

    Attributes
    ----------
    text
        As written.
    outcome
        Column of the counts.
    terms
        Without the intercept, which every model has; lower orders first.
    """

    text: str
    outcome: str
    terms: tuple[Term, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the right side, each once."""
        return tuple(dict.fromkeys(factor.column for term in self.terms for factor in term))

    @property
    def factors(self) -> tuple[Factor, ...]:
        """Factors of the right side, each once."""
        return tuple(dict.fromkeys(factor for term in self.terms for factor in term))


@dataclass(frozen=True)
class ModelRequest:
    """What the group level shall model.

    Attributes
    ----------
    zero_inflated
        Whether some people are taken to have no microbleeds whatever their covariates.
    offset
        Column with the exposure: its logarithm enters with the coefficient 1.
    session
        Label of the session to take of each participant, without ``ses-``; nothing for the first one.
    all_sessions
        Whether every session counts, with standard errors clustered by participant.
    correction
        Of the p values of the regions.
    """

    formula: Formula
    zero_inflated: bool = False
    offset: str | None = None
    session: str | None = None
    all_sessions: bool = False
    correction: Correction = "holm"


def term_name(term: Term) -> str:
    """Return a term as it is written in a formula."""
    return ":".join(map(str, term))


def parse_formula(text: str) -> Formula:
    """Read a formula.

    Raises
    ------
    UsageError
        If the text is anything but a formula, or holds an interaction without the terms below it.
    """
    if len(text) > LONGEST:
        raise UsageError(f"--model: the formula is longer than {LONGEST} characters", "write a shorter one")
    tokens = list(_tokens(text))
    if [token for token in tokens if token == ("symbol", "~")] != [("symbol", "~")]:
        raise UsageError(f"--model {text!r}: a formula has one ~", "such as 'count ~ age + sex'")
    if len(tokens) < 2 or tokens[0][0] != "name" or tokens[1] != ("symbol", "~"):
        raise UsageError(f"--model {text!r}: one column stands before ~", "count, or another column of counts")
    outcome = COUNT_ALIASES.get(tokens[0][1], tokens[0][1])
    reader = _Reader(text, tokens[2:])
    terms = [term for term in reader.sum() if term]
    if reader.rest:
        raise reader.error(f"{reader.rest[0][1]!r} is out of place")
    formula = Formula(text, outcome, tuple(sorted(terms, key=len)))
    if outcome in formula.columns:
        raise UsageError(f"--model {text!r}: {outcome} stands on both sides", "take it out of the right side")
    _check_margins(formula)
    return formula


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Yield (name, number or symbol; its text)."""
    position, end = 0, len(text.rstrip())
    while position < end:
        found = _TOKEN.match(text, position)
        if found is None:
            character = text[position:].lstrip()[0]
            raise UsageError(f"--model: {character!r} in {text!r}", f"{_ALLOWED}; `name` for other column names")
        kind = found.lastgroup or ""
        yield ("name" if kind == "quoted" else kind), found[kind].strip()
        position = found.end()


def _check_margins(formula: Formula) -> None:
    """Refuse an interaction without its parts: what its coefficient means would hang on the reference level."""
    present = {frozenset(term) for term in formula.terms}
    for term in formula.terms:
        lower = (frozenset(part) for n in range(1, len(term)) for part in combinations(term, n))
        if not all(part in present for part in lower):
            raise UsageError(
                f"--model: {term_name(term)} without the terms below it", f"write {' * '.join(map(str, term))}"
            )


class _Reader:
    """Recursive descent over the tokens of the right side; each method takes what it reads off ``rest``."""

    def __init__(self, text: str, tokens: list[tuple[str, str]]) -> None:
        self.text, self.rest, self.depth = text, tokens, 0

    def error(self, what: str) -> UsageError:
        return UsageError(f"--model {self.text!r}: {what}", _ALLOWED)

    def sum(self) -> list[Term]:
        terms = self.product()
        while (sign := self._take("+", "-")) is not None:
            other = self.product()
            if sign == "+":
                terms = _unique([*terms, *other])
                continue
            if () in other:
                raise self.error("the intercept cannot be left out")
            terms = [term for term in terms if frozenset(term) not in map(frozenset, other)]
        return terms

    def product(self) -> list[Term]:
        terms = self.interaction()
        while self._take("*") is not None:
            other = self.interaction()
            terms = _unique([*terms, *other, *self._cross(terms, other)])
        return terms

    def interaction(self) -> list[Term]:
        terms = self.atom()
        while self._take(":") is not None:
            terms = self._cross(terms, self.atom())
        return terms

    def atom(self) -> list[Term]:
        if self._take("(") is not None:
            self.depth += 1
            if self.depth > DEEPEST:
                raise self.error("too many brackets")
            terms = self.sum()
            self._close()
            self.depth -= 1
            return terms
        kind, text = self.rest.pop(0) if self.rest else ("end", "the end")
        if kind == "number":
            if text != "1":
                raise self.error("the only number is 1, the intercept, which is always there")
            return [()]
        if kind != "name":
            raise self.error(f"a column name is missing before {text if kind == 'end' else repr(text)}")
        if self._take("(") is None:
            return [(Factor(text),)]
        if text not in _FUNCTIONS:
            raise self.error(f"{text}(...) is not allowed")
        kind, column = self.rest.pop(0) if self.rest else ("end", "the end")
        if kind != "name":
            raise self.error(f"{text}(...) takes one column name")
        self._close(f"{text}(...) takes one column name")
        return [(Factor(column, _FUNCTIONS[text]),)]

    def _take(self, *symbols: str) -> str | None:
        if self.rest and self.rest[0][0] == "symbol" and self.rest[0][1] in symbols:
            return self.rest.pop(0)[1]
        return None

    def _close(self, otherwise: str = "a bracket is not closed") -> None:
        if self._take(")") is None:
            raise self.error(otherwise)

    def _cross(self, some: list[Term], others: list[Term]) -> list[Term]:
        crossed = _unique([tuple(dict.fromkeys((*a, *b))) for a in some for b in others])
        if len(crossed) > MOST_TERMS or any(len(term) > HIGHEST_ORDER for term in crossed):
            raise self.error(f"more than {MOST_TERMS} terms, or an interaction of more than {HIGHEST_ORDER} columns")
        return crossed


def _unique(terms: list[Term]) -> list[Term]:
    """Return the terms without those that differ from an earlier one in the order of their factors only."""
    found: dict[frozenset[Factor], Term] = {}
    for term in terms:
        found.setdefault(frozenset(term), term)
    return list(found.values())
