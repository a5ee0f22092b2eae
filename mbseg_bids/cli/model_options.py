"""Options of the group level's count model. Only the standard library is imported, as by the parser."""

import argparse
from typing import Any

from mbseg_bids.errors import UsageError
from mbseg_bids.group.formula import ModelRequest, parse_formula

CORRECTIONS = ("holm", "bonferroni", "fdr")

_NEEDS_MODEL = {
    "zero_inflated": "--zero-inflated",
    "offset": "--offset",
    "model_session": "--model-session",
    "model_sessions": "--model-sessions",
    "model_correction": "--model-correction",
}


def add_model_options(group: Any) -> None:
    """Add the options to a group of a parser."""
    add = group.add_argument
    add(
        "--reviewed",
        action="store_true",
        help="group level: take the result that a reader has reviewed, of sessions that have one",
    )
    add(
        "--model",
        metavar="FORMULA",
        help="group level: model the counts, such as 'count ~ age + sex + group' (negative binomial, rate ratios)",
    )
    add("--zero-inflated", action="store_true", help="of the model: some people are taken to have none whatever else")
    add("--offset", metavar="COLUMN", help="of the model: a column above 0 whose logarithm is the exposure")
    add("--model-session", metavar="LABEL", help="session to take of each participant (default: the first one)")
    add(
        "--model-sessions",
        metavar="{first,all}",
        help="first: one row a participant; all: every session, standard errors by participant (default: first)",
    )
    add(
        "--model-correction",
        metavar="{holm,bonferroni,fdr}",
        help="correction of the p values of the regions (default: holm)",
    )


def model_request(args: argparse.Namespace) -> ModelRequest | None:
    """Return what shall be modelled, or nothing.

    Raises
    ------
    UsageError
        On options without ``--model``, on contradictions, or if the formula cannot be read.
    """
    if args.model is None:
        given = [option for name, option in _NEEDS_MODEL.items() if getattr(args, name)]
        if given:
            raise UsageError(f"{given[0]} without --model", "give a formula, such as --model 'count ~ age'")
        return None
    if args.analysis_level != "group":
        raise UsageError("--model belongs to the group level", "run: mbseg-bids BIDS OUT group --model ...")
    _check_choice("--model-sessions", args.model_sessions, ("first", "all"))
    _check_choice("--model-correction", args.model_correction, CORRECTIONS)
    if args.model_session is not None and args.model_sessions == "all":
        raise UsageError("--model-session and --model-sessions all exclude each other", "give one of them")
    label = args.model_session and args.model_session.removeprefix("ses-")
    if label is not None and not label.replace("+", "").isalnum():
        raise UsageError(f"not a BIDS label: {args.model_session!r}", "labels are letters and digits")
    return ModelRequest(
        formula=parse_formula(args.model),
        zero_inflated=args.zero_inflated,
        offset=args.offset,
        session=label,
        all_sessions=args.model_sessions == "all",
        correction=args.model_correction or "holm",
    )


def _check_choice(option: str, value: str | None, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        raise UsageError(f"{option} {value!r}", f"one of: {', '.join(choices)}")
