"""A count model as ``phenotype/microbleeds_model.{tsv,json}`` and as a section of the group page."""

import importlib.metadata
import json
import math
import platform
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mbseg_bids import __version__
from mbseg_bids.bids.files import write_json, write_text
from mbseg_bids.errors import MbsegError
from mbseg_bids.group.count_model import Analysis, analyse
from mbseg_bids.group.design import Design
from mbseg_bids.group.dispersion import alpha_interval
from mbseg_bids.group.formula import ModelRequest, term_name
from mbseg_bids.group.model_figures import model_figures
from mbseg_bids.group.models import QUANTILE, Fit
from mbseg_bids.group.regional import correction_words
from mbseg_bids.group.rows import cell
from mbseg_bids.reports.gallery import words
from mbseg_bids.reports.individual import environment

STEM = "microbleeds_model"
SOFTWARE = ("statsmodels", "scipy", "numpy")
OUTSIDE = ("scanner", "t2star_sequence")
"""Columns that have a figure although they are not in the model, beside that of the site."""

_KIND_WORDS = {
    "negative_binomial": "Negative binomial",
    "poisson": "Poisson",
    "zero_inflated_negative_binomial": "Zero-inflated negative binomial",
}


@dataclass(frozen=True)
class ModelOutcome:
    """What became of a model.

    Attributes
    ----------
    table
        File written, with its sidecar beside it; nothing where the model was refused.
    section
        Of the group page; empty where none was asked for.
    warnings
        Sentences for the terminal.
    error
        Why it was refused.
    """

    table: Path | None = None
    section: Markup = Markup("")  # noqa: RUF009 (immutable)
    warnings: tuple[str, ...] = ()
    error: MbsegError | None = None


def model_outcome(
    output_dir: Path,
    rows: Sequence[Mapping[str, Any]],
    columns: Iterable[str],
    own: Collection[str],
    request: ModelRequest | None,
) -> ModelOutcome:
    """Model the rows of the group table and write the results; an earlier model is removed, as its table is gone.

    Parameters
    ----------
    columns, own
        All columns of the group table; those that do not come from the tables of the input.
    request
        Nothing where no model is wanted.
    """
    table = output_dir / "phenotype" / f"{STEM}.tsv"
    for old in (table, table.with_suffix(".json")):
        old.unlink(missing_ok=True)
    if request is None:
        return ModelOutcome()
    try:
        analysis = analyse(rows, columns, own, request)
    except MbsegError as error:
        section = _template().render(refused=error, formula=request.formula.text, analysis=None)
        return ModelOutcome(section=Markup(section), error=error)
    described = model_columns()
    lines = list(table_rows(analysis))
    texts = ["\t".join(described), *("\t".join(_cell(line.get(name)) for name in described) for line in lines)]
    write_text(table, "\n".join(texts) + "\n")
    write_json(table.with_suffix(".json"), sidecar(analysis, described))
    return ModelOutcome(table, render_section(analysis, lines), analysis.warnings)


def model_columns() -> dict[str, Any]:
    """Return every column of the table in its order, with its BIDS description."""
    return json.loads(files("mbseg_bids.data").joinpath("model_columns.json").read_text(encoding="utf-8"))


def table_rows(analysis: Analysis) -> Iterable[dict[str, Any]]:
    """Yield the rows of the table: the main model, the checks, the regions."""
    outcome = analysis.request.formula.outcome
    yield from _rows_of(outcome, "main", analysis.main, analysis.design)
    for fit in analysis.checks:
        yield from _rows_of(outcome, "check", fit, analysis.design)
    if analysis.regions is not None:
        for name, fit in analysis.regions.fits.items():
            adjusted = analysis.regions.adjusted[name]
            yield from _rows_of(name, "region", fit, analysis.regions.designs[name], adjusted)


def sidecar(analysis: Analysis, described: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of the JSON file: the columns, the model, its warnings, the software."""
    request, main, dispersion = analysis.request, analysis.main, analysis.dispersion
    model: dict[str, Any] = {
        "Formula": request.formula.text,
        "Outcome": request.formula.outcome,
        "Terms": [term_name(term) for term in request.formula.terms],
        "Distribution": main.kind,
        "Link": "log",
        "Offset": f"log({request.offset})" if request.offset else None,
        "Sessions": "all" if request.all_sessions else f"ses-{request.session}" if request.session else "first",
        "StandardErrors": "clustered by participant" if request.all_sessions else "from the information matrix",
        "NumberOfRows": len(analysis.selection.rows),
        "NumberOfParticipants": len({row["participant_id"] for row in analysis.selection.rows}),
        "NumberOfOtherSessions": analysis.selection.n_other_sessions,
        "Excluded": {reason: list(names) for reason, names in analysis.selection.excluded.items()},
        "Dispersion": {
            "Alpha": dispersion.alpha,
            "AlphaInterval": [dispersion.low, dispersion.high],
            "OverdispersionP": dispersion.p,
            "PearsonByDegreesOfFreedom": dispersion.pearson,
            "PearsonByDegreesOfFreedomPoisson": dispersion.poisson_pearson,
            "PoissonErrorsByErrors": list(dispersion.narrowness),
            "Description": dispersion.words,
        },
        "AIC": {fit.kind: fit.aic for fit in (main, *analysis.checks)},
        "LogLikelihood": {fit.kind: fit.log_likelihood for fit in (main, *analysis.checks)},
        "StructuralZeros": _zero_share(main),
        "Correction": correction_words(request.correction) if analysis.regions else None,
        "RegionsWithoutModel": analysis.regions.refused if analysis.regions else {},
        "Notes": list(analysis.notes),
        "Warnings": list(analysis.warnings),
    }
    about = {
        "Description": "Model of the counts of microbleeds.tsv, by mbseg_bids; one row a coefficient of each model"
    }
    software = {"mbseg-bids": __version__, "Python": platform.python_version()}
    software |= {name: importlib.metadata.version(name) for name in SOFTWARE}
    return {"MeasurementToolMetadata": about, **described, "Model": _rounded(model), "SoftwareVersions": software}


def render_section(analysis: Analysis, lines: Sequence[Mapping[str, Any]]) -> Markup:
    """Return the section of the group page."""
    regions = analysis.regions
    others = [*OUTSIDE, *([analysis.site] if analysis.site and analysis.site not in OUTSIDE else [])]
    text = _template().render(
        refused=None,
        formula=analysis.request.formula.text,
        analysis=analysis,
        kind=_KIND_WORDS[analysis.main.kind],
        lines=[line for line in lines if line["role"] == "main"],
        regional=[line for line in lines if line["role"] == "region" and line["term"] != "intercept"],
        correction=correction_words(analysis.request.correction),
        refused_regions={words(name.removeprefix("n_")): why for name, why in regions.refused.items()}
        if regions
        else {},
        region_words=lambda name: words(name.removeprefix("n_")),
        zeros=_zero_share(analysis.main),
        figures=model_figures(analysis.selection.rows, analysis.design, analysis.main, others),
        interactions=any(len(term) > 1 for term in analysis.design.terms),
        small=_small,
    )
    return Markup(text)


def _template() -> Any:
    return environment().get_template("group_model.html.j2")


def _rows_of(
    outcome: str, role: str, fit: Fit, design: Design, adjusted: Sequence[float] | None = None
) -> Iterable[dict[str, Any]]:
    low: float | None = None
    high: float | None = None
    if not (role == "check" and fit.kind == "poisson"):  # there alpha is 0 by assumption, not by estimate
        low, high = alpha_interval(design, fit)
    same: dict[str, Any] = {"outcome": outcome, "model": fit.kind, "role": role, "alpha": fit.alpha, "alpha_low": low}
    same |= {"alpha_high": high, "pearson_dispersion": fit.pearson, "n_rows": len(design.counts)}
    same |= {"n_rows_with_microbleeds": int((design.counts > 0).sum()), "n_microbleeds": int(design.counts.sum())}
    for n, column in enumerate(design.columns):
        line = same | {
            "term": column.name,
            "reference": column.reference or None,
            "coefficient": float(fit.coefficients[n]),
            "standard_error": float(fit.errors[n]),
            "rate_ratio": _exp(fit.coefficients[n]),
            "rate_ratio_low": _exp(fit.intervals[n, 0]),
            "rate_ratio_high": _exp(fit.intervals[n, 1]),
        }
        if column.term:
            line["p"] = float(fit.p_values[n])
            line["p_adjusted"] = None if adjusted is None else adjusted[n]
        yield line
    if fit.zero is not None:
        yield same | {"term": "structural_zero", "coefficient": fit.zero, "standard_error": fit.zero_error}


def _zero_share(fit: Fit) -> dict[str, float] | None:
    """Return the share of structural zeros with its 95 % interval."""
    if fit.zero is None or fit.zero_error is None:
        return None
    logits = {"Share": 0.0, "Low": -QUANTILE * fit.zero_error, "High": QUANTILE * fit.zero_error}
    return {name: 1 / (1 + math.exp(-(fit.zero + step))) for name, step in logits.items()}


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def _cell(value: Any) -> str:
    return cell(None if isinstance(value, float) and not math.isfinite(value) else value)


def _small(value: float | None, digits: int = 3) -> str:
    """Return a number for the page: a p value below a thousandth as such, others with three significant digits."""
    if value is None or not math.isfinite(value):
        return "n/a"
    return f"{value:.{digits}g}" if abs(value) >= 1e-3 or value == 0 else "< 0.001" if value > 0 else f"{value:.2g}"


def _rounded(content: Any) -> Any:
    """Return nested content with numbers of six significant digits, and nothing for those that are not finite."""
    if isinstance(content, dict):
        return {key: _rounded(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_rounded(value) for value in content]
    if isinstance(content, float):
        return float(f"{content:.6g}") if math.isfinite(content) else None
    return content
