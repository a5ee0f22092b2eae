"""Files of a result that a reader has reviewed: names and sidecars. The automatic result stays beside it."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from mbseg_bids.bids.files import write_text
from mbseg_bids.bids.outputs import DESCRIPTIONS, write_ignored

HASHED = tuple(f"seg-{seg}_dseg{ending}" for seg in ("CMB", "CMBcandidates") for ending in (".tsv", ".nii.gz"))
"""Ends of the files that make a result what it is."""


def result_hash(paths: Iterable[Path]) -> str:
    """Return what identifies an automatic result: the start of the SHA-256 over the bytes of its files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def review_columns(table: str) -> dict[str, dict[str, Any]]:
    """Return the columns of ``review``, ``agreement`` or ``disagreements`` with their BIDS descriptions."""
    text = files("mbseg_bids.data").joinpath("review_columns.json").read_text(encoding="utf-8")
    return json.loads(text)[table]


def sidecar_of_review(
    automatic: Mapping[str, Any],
    description: str,
    sources: Sequence[Path],
    review: Mapping[str, Any],
    *,
    table: str = "",
) -> dict[str, Any]:
    """Return the sidecar of a reviewed file from that of the automatic one.

    Parameters
    ----------
    automatic
        Content of that sidecar; empty where there is none.
    description
        What the file is.
    sources
        Files it was made from, relative to the output folder.
    review
        ``reader`` and ``applied`` (time).
    table
        ``lesions``, ``candidates``, ``mars``, ``bombs``, or nothing: the table beside it.
    """
    content = dict(automatic) | {
        "Description": description,
        "Sources": [f"bids::{path.as_posix()}" for path in sources],
        "Manual": True,
        "Reader": review["reader"],
        "ReviewApplied": review["applied"],
    }
    if table in ("lesions", "candidates"):
        columns = review_columns("review")
        if table == "candidates":
            del columns["origin"]
        content |= columns
    if table == "candidates" and "Levels" in content.get("reason", {}):
        content["reason"] = _more_levels(content["reason"], {"reader": "A reader rejected every lesion of it."})
    if table == "lesions" and "Description" in content.get("certainty", {}):
        by_reader = "By the reader where one decided (accepted: definite, unsure: possible); else: "
        content["certainty"] = content["certainty"] | {"Description": by_reader + content["certainty"]["Description"]}
    return content


def _more_levels(column: Mapping[str, Any], levels: Mapping[str, str]) -> dict[str, Any]:
    return dict(column) | {"Levels": dict(column["Levels"]) | dict(levels)}


def describe_review(output_dir: Path) -> None:
    """Make sure that the dataset says what ``desc-reviewed`` is, also if an earlier version has written it."""
    rows = "".join(f"desc-{name}\t{text}\n" for name, text in DESCRIPTIONS.items())
    write_text(output_dir / "descriptions.tsv", "desc_id\tdescription\n" + rows)
    write_ignored(output_dir)
