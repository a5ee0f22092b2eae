"""A count model of the group table from request to results: rows, checks, fits, warnings. Pure: rows in, values out."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mbseg_bids.clinical.counts import REGION_NAMES
from mbseg_bids.group.design import Design, build_design
from mbseg_bids.group.dispersion import Dispersion, judge_dispersion
from mbseg_bids.group.formula import ModelRequest
from mbseg_bids.group.harmonisation import harmonisation_warnings
from mbseg_bids.group.likeness import site_column
from mbseg_bids.group.model_checks import check_design
from mbseg_bids.group.model_rows import Selection, check_columns, select_rows
from mbseg_bids.group.models import (
    Fit,
    NotConvergedError,
    check_installed,
    fit_negative_binomial,
    fit_poisson,
    fit_zero_inflated,
)
from mbseg_bids.group.regional import Regions, fit_regions
from mbseg_bids.wording import counted

FEW_CLUSTERS = 40
"""Participants below which clustered standard errors are too small (Cameron and Miller 2015 speak of 20 to 50)."""

VAGUE_SHARE = 1.0
"""Standard error of the logit of a share from which it says little: an interval of 12 to 88 % about a half."""

REGION_OUTCOMES = tuple(f"n_{name}" for name in REGION_NAMES if name != "unassigned")

ZERO_INFLATION_NOTE = (
    "A zero-inflated model takes some people to have no microbleeds whatever their covariates. It converges badly "
    "where the negative binomial model explains the zeros already, where counts are few, and where a covariate has "
    "classes with hardly any microbleeds: the share of such people and alpha then stand for each other."
)


@dataclass(frozen=True)
class Analysis:
    """A count model with what belongs to it.

    Attributes
    ----------
    main
        The result.
    checks
        Other distributions for the same counts.
    regions
        Models of regions; nothing where the outcome is not the number of all microbleeds.
    notes
        What was done, in sentences.
    warnings
        What to beware of, in sentences.
    site
        Column that tells sites apart, if there is one.
    """

    request: ModelRequest
    selection: Selection
    design: Design
    main: Fit
    checks: tuple[Fit, ...]
    dispersion: Dispersion
    regions: Regions | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    site: str | None


def analyse(
    rows: Sequence[Mapping[str, Any]], columns: Iterable[str], own: Collection[str], request: ModelRequest
) -> Analysis:
    """Model the counts of the group table.

    Parameters
    ----------
    rows
        Of the group table, in its order.
    columns, own
        All columns; those that do not come from the tables of the input.

    Raises
    ------
    MbsegError
        If the model makes no sense for these rows; one line that names the column or the row.
    """
    columns = list(columns)
    formula = request.formula
    check_columns(request, columns, own)
    selection = select_rows(rows, request)
    used = selection.rows
    design = build_design(used, formula, request.offset, cluster=request.all_sessions)
    warnings = check_design(design, formula.outcome)
    check_installed()
    site = site_column(columns)
    warnings += harmonisation_warnings(used, formula.columns, site)
    warnings += _cluster_warnings(design)
    poisson, plain = fit_poisson(design), fit_negative_binomial(design)
    checks = [] if plain.kind == "poisson" else [poisson]
    main, notes = plain, _session_notes(selection, request)
    if request.zero_inflated:
        notes.append(ZERO_INFLATION_NOTE)
        try:
            main = fit_zero_inflated(design, plain)
        except NotConvergedError as error:
            warnings.append(f"{error.what.removeprefix('--zero-inflated: ').capitalize()}. The model is not inflated.")
        else:
            checks = [plain, *checks]
            notes.append(_comparison(main, plain))
            if (main.zero_error or 0.0) > VAGUE_SHARE:
                warnings.append("The share of rows without microbleeds whatever their covariates is hardly determined.")
    regions = None
    if formula.outcome == "n_total":
        regions = fit_regions(used, design, [c for c in REGION_OUTCOMES if c in columns], request.correction)
        warnings += regions.warnings
    dispersion = judge_dispersion(design, plain, poisson)
    return Analysis(
        request, selection, design, main, tuple(checks), dispersion, regions, tuple(notes), tuple(warnings), site
    )


def _session_notes(selection: Selection, request: ModelRequest) -> list[str]:
    n = len(selection.rows)
    if request.all_sessions:
        return [f"All {n} usable sessions; standard errors are clustered by participant."]
    which = f"session ses-{request.session}" if request.session else "first usable session"
    others = selection.n_other_sessions
    left = f"; {counted(others, 'other session')} not used" if others else ""
    return [f"One row a participant, the {which}: {n} rows{left}."]


def _cluster_warnings(design: Design) -> list[str]:
    if design.clusters is None:
        return []
    n = int(design.clusters.max()) + 1
    if n >= FEW_CLUSTERS:
        return []
    return [f"Only {n} participants: standard errors clustered by participant are too small below {FEW_CLUSTERS}."]


def _comparison(inflated: Fit, plain: Fit) -> str:
    gain = plain.aic - inflated.aic
    said = "inflation fits better" if gain > 2 else "inflation does not fit better" if gain > -2 else "it fits worse"
    return f"AIC {inflated.aic:.1f} with zero inflation, {plain.aic:.1f} without: {said}."
