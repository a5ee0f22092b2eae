"""What a session's detection came to, in plain values, and what about it should make a reader doubt."""

from dataclasses import asdict
from typing import Any

import pandas as pd

from mbseg_bids.imaging.labels import REGIONS, UNASSIGNED
from mbseg_bids.settings import DetectionSettings

LARGE_SEARCH = 0.3
"""Part of the brain in the search mask beyond which a T2* image is suspiciously dark or noisy; usual are 0.02-0.15."""


def summarise(
    lesions: pd.DataFrame,
    candidates: pd.DataFrame,
    search: dict[str, Any],
    settings: DetectionSettings,
    *,
    second_look_network: str | None = None,
) -> dict[str, Any]:
    """Return counts, search, settings, weights, durations and warnings as values that JSON can hold.

    Parameters
    ----------
    lesions, candidates
        Tables of one session, columns as in ``data/columns.json``.
    search
        Of the classification: ``n_brain_voxels``, ``n_mask_voxels``, ``n_searched_voxels``, ``n_positive_voxels``,
        ``highest_probability``, ``exhaustive``, ``weights``, ``duration_s``.
    settings
        Of the run.
    second_look_network
        Name of the weights that the second look was fitted to, where it was taken.
    """
    by_region = lesions["region"].value_counts()
    rejected = candidates.loc[candidates["status"] == "rejected", "reason"].value_counts()
    search = dict(search)
    weights, duration = search.pop("weights"), search.pop("duration_s")
    return {
        "n_lesions": len(lesions),
        "n_lesions_by_region": {name: int(by_region.get(name, 0)) for name in [*REGIONS.values(), UNASSIGNED]},
        "n_candidates": len(candidates),
        "n_rejected_by_reason": {reason: int(n) for reason, n in sorted(rejected.items())},
        "why_none": why_none(lesions, candidates, search, settings) or None,
        "n_above_maximum_size": int(candidates["flags"].str.contains("above_maximum_size").sum()),
        "search": search,
        "settings": asdict(settings),
        "weights": weights,
        "duration_s": {"classification": duration},
        "warnings": [
            *_warnings(lesions, candidates, search, weights, settings),
            *_network_warning(weights, second_look_network),
        ],
    }


def _warnings(
    lesions: pd.DataFrame,
    candidates: pd.DataFrame,
    search: dict[str, Any],
    weights: dict[str, Any],
    settings: DetectionSettings,
) -> list[str]:
    nothing = why_none(lesions, candidates, search, settings)
    warnings = [nothing] if nothing else []
    brain = search["n_brain_voxels"]
    if not search["exhaustive"] and search["n_mask_voxels"] > LARGE_SEARCH * brain:
        warnings.append(
            f"{search['n_mask_voxels'] / brain:.0%} of the brain is dark against its surroundings (usually < 15 %): "
            "the T2* image may be noisy or the brain mask wrong."
        )
    if (n := candidates["flags"].str.contains("above_maximum_size").sum()) > 0:
        warnings.append(
            f"{n} candidate(s) wider than {settings.maximum_diameter:g} mm: possible macrohaemorrhage, not counted."
        )
    if weights.get("patch_size") != settings.patch_size:
        warnings.append(
            f"The weights were trained on patches of {weights.get('patch_size')} mm: these were used, "
            f"not the {settings.patch_size} mm of the settings."
        )
    return warnings


def why_none(
    lesions: pd.DataFrame, candidates: pd.DataFrame, search: dict[str, Any], settings: DetectionSettings
) -> str:
    """Return why a session has no lesion, in a sentence; empty where it has one. Arguments as in :func:`summarise`."""
    searched, brain = search["n_searched_voxels"], search["n_brain_voxels"]
    if not lesions.empty:
        return ""
    if searched == 0:
        return (
            f"No voxel searched: none of {brain} brain voxels is dark on T2*. Look at the T2* image and the brain mask."
        )
    if search["n_positive_voxels"] == 0:
        return (
            f"No candidate: {searched} voxels searched, highest probability {search['highest_probability']:.3f} "
            f"(threshold {settings.probability_threshold:g})."
        )
    if candidates.empty:
        return (
            f"No candidate: none of the {search['n_positive_voxels']} voxels of probability "
            f"{settings.probability_threshold:g} or more is a voxel of the T2* image as acquired."
        )
    reasons = candidates["reason"].value_counts()
    listed = ", ".join(f"{n} by {reason}" for reason, n in sorted(reasons.items()))
    n = len(candidates)
    which = "the only candidate was" if n == 1 else f"all {n} candidates were"
    return f"No lesion: {which} rejected ({listed})."


def _network_warning(weights: dict[str, Any], second_look_network: str | None) -> list[str]:
    if second_look_network is None or weights.get("name") == second_look_network:
        return []
    return [
        f"The second look was fitted to candidates of the network {second_look_network}, not of {weights.get('name')}: "
        "its probabilities are a guess. --no-second-look leaves it out."
    ]
