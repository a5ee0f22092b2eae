"""Descriptions of the columns of every table this package writes, from ``columns.json``.

In the file, ``tables`` gives for each table its columns in order: a list of names described once under ``columns``, or
an object with descriptions of its own.
"""

import json
from functools import cache
from importlib import resources
from typing import Any


def describe_columns(table: str) -> dict[str, dict[str, Any]]:
    """Return the columns of a table in order, each with its BIDS description (Description, Units, Levels, ...).

    Parameters
    ----------
    table
        ``lesions``, ``candidates`` or another key of ``tables`` in ``columns.json``.
    """
    specification = _specification()
    tables = specification["tables"]
    if table not in tables:
        raise ValueError(f"no table {table!r}: one of {', '.join(tables)}")
    columns = tables[table]
    return dict(columns) if isinstance(columns, dict) else {name: specification["columns"][name] for name in columns}


@cache
def _specification() -> dict[str, Any]:
    return json.loads(resources.files(__package__).joinpath("columns.json").read_text(encoding="utf-8"))
