"""Scores by world: a figure counts for no more than the worst world it was measured in.

A world is what a set of scans has in common: one simulator, one scanner with planted microbleeds, one cohort that
somebody read. Scores of one world say little about another.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mbseg_bids.errors import UsageError
from mbseg_bids.evaluation.intervals import Bootstrap
from mbseg_bids.evaluation.trees import ALL, COUNTED, THICK, score_trees

FALSE_FREE = "false_per_free_scan"
"""Column: false lesions in a scan whose truth has no lesion; beside its interval."""
_ENDS = ("", "_low", "_high", "_interval")


@dataclass(frozen=True)
class World:
    """A set of scans with their truth and result.

    Attributes
    ----------
    name
        For people.
    truth_tree, result_tree
        As for :func:`mbseg_bids.evaluation.trees.score_trees`.
    """

    name: str
    truth_tree: Path
    result_tree: Path


def parse_world(text: str) -> World:
    """Return the world of ``NAME=TRUTH,RESULT``.

    Raises
    ------
    UsageError
        If the text is not of that form.
    """
    name, equals, trees = text.partition("=")
    truth, comma, result = trees.partition(",")
    if not (name.strip() and equals and truth and comma and result):
        raise UsageError(f"{text!r} is no world", "write NAME=TRUTH_TREE,RESULT_TREE")
    return World(name.strip(), Path(truth), Path(result))


def score_worlds(
    worlds: Sequence[World],
    *,
    bootstrap: Bootstrap | None = None,
    rule: Any = "overlap",
    progress: Callable[[int, int], None] | None = None,
    **limits: float,
) -> tuple[pd.DataFrame, dict[str, tuple[Any, ...]]]:
    """Score every world by itself.

    Parameters
    ----------
    worlds
        Of different names.
    bootstrap
        For the intervals, over the participants of a world.
    rule, limits, progress
        As in :func:`mbseg_bids.evaluation.trees.score_trees`.

    Returns
    -------
    Pooled scores, those of :meth:`TreeScore.pooled` with the column ``world`` first, the worst world first; and the
    scans without a result, by world.

    Raises
    ------
    UsageError
        If two worlds have one name.
    """
    if len({world.name for world in worlds}) < len(worlds):
        raise UsageError("two worlds have the same name", "give each a name of its own")
    frames, missing = [], {}
    for world in worlds:
        score = score_trees(world.truth_tree, world.result_tree, rules=(rule,), progress=progress, **limits)
        frames.append(score.pooled(bootstrap).assign(world=world.name))
        missing[world.name] = score.missing
    scores = pd.concat(frames, ignore_index=True)
    scores.insert(0, "world", scores.pop("world"))
    order = {name: place for place, name in enumerate(worst_first(scores))}
    return scores.sort_values("world", key=lambda names: names.map(order), kind="stable", ignore_index=True), missing


def worst_first(scores: pd.DataFrame) -> list[str]:
    """Return the names of the worlds by the Dice index of their counts, lowest first; worlds without one come last."""
    whole = scores[(scores["region"] == ALL) & (scores["size"] == COUNTED) & (scores["spacing"] == ALL)]
    everything = whole[whole["scans"] == ALL].set_index("world")
    return everything["dice"].astype(float).sort_values(kind="stable", na_position="last").index.tolist()


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each world, and one for its scans with slices of 4 mm and more where it has thinner ones too.

    Lesions of counted size, all regions; the false lesions of a lesion-free scan stand in a column of their own.
    """
    whole = scores[(scores["region"] == ALL) & (scores["size"] == COUNTED) & (scores["spacing"] == ALL)]
    rows = whole[whole["scans"].isin((ALL, THICK))].reset_index(drop=True)
    free = whole[whole["scans"] == "lesion_free"].set_index("world")
    for end in _ENDS:
        if f"false_per_scan{end}" in free:
            values = rows["world"].map(free[f"false_per_scan{end}"])
            rows[f"{FALSE_FREE}{end}"] = values.where(rows["scans"] == ALL)
    return rows
