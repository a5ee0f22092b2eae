"""Columns of the group table: their order and their descriptions, from ``data/group_columns.json``."""

import json
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

from mbseg_bids.clinical.counts import REGION_NAMES
from mbseg_bids.clinical.pattern import PATTERN_CAVEAT
from mbseg_bids.clinical.size import SIZE_CLASSES
from mbseg_bids.data.columns import describe_columns

GROUP_PATTERN_CAVEAT = f"By the places of its rating sheet where a session has one, else by region: {PATTERN_CAVEAT}"
_REPEATED = {"REGION": REGION_NAMES, "SIZE": SIZE_CLASSES}


def group_columns() -> dict[str, dict[str, Any]]:
    """Return every column of the group table in its order, with its BIDS description.

    One whose description is empty is a column of the sessions' tables of quality, and described there.
    """
    template = json.loads(files("mbseg_bids.data").joinpath("group_columns.json").read_text(encoding="utf-8"))
    quality = describe_columns("quality")
    found: dict[str, dict[str, Any]] = {}
    for name, description in template.items():
        found.update(_expand(name, description or quality[name]))
    return found


def _expand(name: str, description: dict[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
    text = description["Description"].replace("PATTERN_CAVEAT", GROUP_PATTERN_CAVEAT)
    for placeholder, values in _REPEATED.items():
        if name.endswith(placeholder):
            for value in values:
                yield (
                    name.replace(placeholder, value),
                    description | {"Description": text.replace(placeholder, value)},
                )
            return
    yield name, description | {"Description": text}
