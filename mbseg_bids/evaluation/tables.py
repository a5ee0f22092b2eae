"""Tables of the evaluation: as TSV with every column described, and as Markdown for a page of results."""

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd

NOTHING = "n/a"
_ENDS = {
    "_low": "Lower end of the interval of {metric}.",
    "_high": "Upper end of the interval of {metric}.",
}
_INTERVAL: dict[str, Any] = {
    "Description": "How the interval of {metric} was made.",
    "Levels": {
        "bootstrap": "Percentiles of a bootstrap over participants, all scans of a participant together.",
        "wilson": "Score interval of a proportion (Wilson 1927), where all bootstrap samples agree; it takes lesions (or patches) as independent.",  # noqa: E501
        "poisson": "Exact interval of a Poisson rate (Garwood 1936), where all bootstrap samples agree; it takes false lesions as independent.",  # noqa: E501
        "none": "No interval: the score is not defined, or there is a single participant.",
    },
}


def to_tsv(frame: pd.DataFrame) -> str:
    """Return a table as BIDS TSV: ``n/a`` for what is missing, numbers to eight digits."""
    return frame.to_csv(sep="\t", index=False, na_rep=NOTHING, lineterminator="\n", float_format="%.8g")


def sidecar(frame: pd.DataFrame, **settings: Any) -> str:
    """Return the JSON that describes every column of a table; ``settings`` are kept under ``EvaluationSettings``.

    Raises
    ------
    KeyError
        If a column has no description in ``data/evaluation_columns.json``.
    """
    described: dict[str, Any] = {column: describe(column) for column in frame.columns}
    if settings:
        described["EvaluationSettings"] = settings
    return json.dumps(described, indent=2, ensure_ascii=False) + "\n"


def describe(column: str) -> dict[str, Any]:
    """Return the BIDS description of a column; ends of intervals are described by the metric they belong to."""
    columns = _columns()
    if column in columns:
        return columns[column]
    for ending, text in _ENDS.items():
        if column.endswith(ending) and (metric := column.removesuffix(ending)) in columns:
            return {"Description": text.format(metric=metric)}
    if column.endswith("_interval") and (metric := column.removesuffix("_interval")) in columns:
        return _INTERVAL | {"Description": _INTERVAL["Description"].format(metric=metric)}
    raise KeyError(f"column {column} has no description in evaluation_columns.json")


@cache
def _columns() -> dict[str, dict[str, Any]]:
    return json.loads(files("mbseg_bids.data").joinpath("evaluation_columns.json").read_text(encoding="utf-8"))


def markdown_table(
    frame: pd.DataFrame, columns: Mapping[str, str] | Sequence[str], *, where: Mapping[str, Any] | None = None
) -> str:
    """Return rows of a table as a Markdown table; a score with an interval shows as ``0.91 (0.85-0.95)``.

    Parameters
    ----------
    frame
        As made by this package or read back from its TSV.
    columns
        Which columns, in order; a mapping gives each its heading. Ends of intervals need not be named.
    where
        Keep the rows with these values in these columns; a list stands for any of its values, in their order of the
        table.
    """
    headings = dict(columns) if isinstance(columns, Mapping) else {name: name for name in columns}
    for column, value in (where or {}).items():
        wanted = value if isinstance(value, list | tuple | set) else [value]
        frame = frame[frame[column].isin(list(wanted))]
    right = [pd.api.types.is_numeric_dtype(frame[name]) for name in headings]
    lines = [list(headings.values()), ["---:" if number else "---" for number in right]]
    lines += [[cell.replace("|", "\\|") for cell in row] for row in cells(frame, headings).to_numpy().tolist()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cells(frame: pd.DataFrame, headings: Mapping[str, str]) -> pd.DataFrame:
    """Return these columns as text under their headings, as a person reads them."""
    rows = [[_cell(row, name) for name in headings] for _, row in frame.iterrows()]
    return pd.DataFrame(rows, columns=list(headings.values()))


def _cell(row: pd.Series, name: str) -> str:
    value = row[name]
    if isinstance(value, str):
        return value.replace("_gm", " GM").replace("_wm", " WM").replace("_", " ")
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if name.startswith("n_"):
        return f"{value:.0f}"
    text = _number(value)
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    if low is None or high is None or math.isnan(float(low)) or math.isnan(float(high)):
        return text
    return f"{text} ({_number(low)}–{_number(high)})"


def _number(value: float) -> str:
    """Two decimals, but as many as tell a score near 1 from 1."""
    value = float(value)
    if value != 1 and f"{value:.2f}" == "1.00":
        return f"{value:.4f}" if f"{value:.3f}" == "1.000" else f"{value:.3f}"
    return f"{value:.2f}"
