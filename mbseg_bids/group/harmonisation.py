"""Warnings about counts from unlike scans in one model, and about covariates that go with the scan. Pure."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from mbseg_bids.group.likeness import SITE_COLUMNS
from mbseg_bids.group.model_rows import number_of, value_text

SCAN_COLUMNS = {
    "t2star_sequence": "sequence",
    "t2star_field_strength": "field strength, T",
    "t2star_echo_time": "echo time, s",
    "t2star_voxel_size_in_plane": "voxel size in plane, mm",
    "t2star_slice_spacing": "slice spacing, mm",
    "t2star_slice_thickness": "slice thickness, mm",
    "contrasts": "contrasts that the network saw",
}
"""What makes counts comparable or not, in words."""

METHOD_COLUMNS = {
    "weights": "network weights",
    "software_version": "software version",
    "probability_threshold": "probability threshold",
    "ratio_threshold": "ratio threshold",
    "ratio_threshold_deep_gm": "ratio threshold in deep grey matter",
    "second_look_threshold": "threshold of the candidate classifier",
}
"""What of the method makes counts comparable or not, in words."""

CONFOUNDED, INSEPARABLE = 0.5, 0.95
"""Association (Cramer's V or the correlation ratio, 0 to 1) from which a covariate goes with the scan; from which the
two cannot be told apart."""

_NOT_RECORDED = "not recorded"
Row = Mapping[str, Any]


def harmonisation_warnings(rows: Sequence[Row], covariates: Collection[str], site: str | None) -> list[str]:
    """Return a sentence for each way in which the scans of a model's rows differ.

    Parameters
    ----------
    rows
        Used rows.
    covariates
        Columns of the model's right side.
    site
        Column that tells sites apart, if there is one.
    """
    varying = [name for name in SCAN_COLUMNS if len(set(_labels(rows, name))) > 1]
    found = []
    if varying:
        listed = "; ".join(f"{SCAN_COLUMNS[name]} ({_tally(_labels(rows, name))})" for name in varying)
        modelled = [name for name in covariates if name in {*varying, "scanner", site} or name.lower() in SITE_COLUMNS]
        remedy = (
            f"The model holds {', '.join(modelled)}; see whether that is all of the difference."
            if modelled
            else f"Put the kind of scan into the model ({varying[0]}), or fit each kind alone."
        )
        found.append(f"Unlike scans are pooled: {listed}. Counts from unlike scans are not comparable. {remedy}")
    found += _between_sites(rows, varying, site)
    n_unreliable = sum(row.get("counts_unreliable") is True for row in rows)
    if n_unreliable:
        found.append(
            f"Counts of {n_unreliable} of {len(rows)} rows are unreliable for their scans (unreliable_because): see "
            "whether the model stands without them."
        )
    for name in METHOD_COLUMNS:
        if len(set(_labels(rows, name))) > 1:
            found.append(f"The counts were not made alike: {METHOD_COLUMNS[name]} ({_tally(_labels(rows, name))}).")
    if len(set(_labels(rows, "scanner"))) > 1:
        varying.append("scanner")
    for covariate in covariates:
        found += _confounding(rows, covariate, varying, site)
    return found


def association(values: Sequence[str], labels: Sequence[str]) -> float:
    """Return how far labels tell values, 0 to 1: the correlation ratio of numbers, Cramer's V of classes.

    Squared, the first is the part of the variance between the labels; the second is chi-square by its largest value.
    """
    numbers = [number_of(value) for value in values]
    _, group = np.unique(np.asarray(labels, dtype=object).astype(str), return_inverse=True)
    if group.max(initial=0) == 0:
        return 0.0
    if None not in numbers and len(set(numbers)) > 2:
        y = np.array(numbers, dtype=float)
        means = np.bincount(group, y) / np.bincount(group)
        total = np.sum((y - y.mean()) ** 2)
        return float(np.sqrt(np.sum((means[group] - y.mean()) ** 2) / total)) if total > 0 else 0.0
    _, code = np.unique(np.asarray(values, dtype=object).astype(str), return_inverse=True)
    if code.max(initial=0) == 0:
        return 0.0
    table = np.zeros((code.max() + 1, group.max() + 1))
    np.add.at(table, (code, group), 1)
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
    chi_square = np.sum((table - expected) ** 2 / expected)
    return float(np.sqrt(chi_square / table.sum() / (min(table.shape) - 1)))


def _labels(rows: Sequence[Row], column: str) -> list[str]:
    return [value_text(row, column) or _NOT_RECORDED for row in rows]


def _tally(labels: Sequence[str], most: int = 5) -> str:
    """Return the commonest labels with their numbers."""
    ordered = sorted(Counter(labels).items(), key=lambda item: (-item[1], item[0]))
    more = f", and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(f"{label}: {n}" for label, n in ordered[:most]) + more


def _between_sites(rows: Sequence[Row], varying: Sequence[str], site: str | None) -> list[str]:
    if site is None:
        return []
    sites = _labels(rows, site)
    found = []
    for name in varying:
        values: dict[str, set[str]] = {}
        for label, value in zip(sites, _labels(rows, name), strict=True):
            values.setdefault(label, set()).add(value)
        if len({frozenset(seen) for seen in values.values()}) > 1:
            each = "; ".join(f"{label}: {', '.join(sorted(seen))}" for label, seen in sorted(values.items())[:6])
            found.append(f"Sites differ in {SCAN_COLUMNS[name]} ({each}).")
    return found


def _confounding(rows: Sequence[Row], covariate: str, varying: Sequence[str], site: str | None) -> list[str]:
    if covariate in SCAN_COLUMNS or covariate in ("scanner", site):
        return []
    values = _labels(rows, covariate)
    found = []
    for name in varying:
        labels = _labels(rows, name)
        strength = association(values, labels)
        if 2 * len(set(labels)) > len(labels) or strength < CONFOUNDED:
            continue
        what = SCAN_COLUMNS.get(name, name)
        if strength >= INSEPARABLE:
            said = "the two cannot be told apart: its rate ratio may be that of the scan."
        else:
            said = "its rate ratio may be partly that of the scan."
        found.append(f"Covariate {covariate} goes with {what} (association {strength:.2f} of 1): {said}")
    return found
