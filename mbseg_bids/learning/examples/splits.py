"""Splits into training, validation and test sets: whole participants, never single patches."""

from collections.abc import Mapping, Sequence

import numpy as np

SIZE_CLASSES = ("none", "small", "medium", "large")
"""By voxels of 1 mm3, as in the paper: no lesion, 1-4, 5-15, more than 15."""


def size_class(volume: float) -> str:
    """Return the paper's size class of a lesion of ``volume`` mm3."""
    if volume <= 0:
        return "none"
    return "small" if volume < 4.5 else "medium" if volume < 15.5 else "large"


def split_participants(
    lesion_volumes: Mapping[int, Sequence[float]], fractions: Sequence[float], rng: np.random.Generator
) -> list[list[int]]:
    """Deal participants to sets so that lesions of each size are in like proportion.

    Participants are dealt in random order, those with most lesions first, each to the set that its lesions, class by
    class, bring closest to its share.

    Parameters
    ----------
    lesion_volumes
        Participant to the volumes (mm3) of its lesions; an empty list for none.
    fractions
        Share of each set, adding up to 1 (paper: 0.6, 0.2, 0.2 for microbleeds; 0.5, 0.25, 0.25 for CSF).

    Returns
    -------
    For each set its participants, sorted.

    Raises
    ------
    ValueError
        If the fractions do not add up to 1, or there are fewer participants than sets.
    """
    if abs(sum(fractions) - 1) > 1e-6 or min(fractions) <= 0:
        raise ValueError(f"fractions {list(fractions)} are not positive numbers that add up to 1")
    if len(lesion_volumes) < len(fractions):
        raise ValueError(f"{len(lesion_volumes)} participants cannot make {len(fractions)} sets")
    counts = {p: _class_counts(volumes) for p, volumes in lesion_volumes.items()}
    order = rng.permutation(sorted(counts))
    order = order[np.argsort([-counts[p][1:].sum() for p in order], kind="stable")]
    share = np.asarray(fractions)[:, None]
    total = np.maximum(sum(counts.values()), 1)
    have = np.zeros((len(fractions), len(total)))
    sets: list[list[int]] = [[] for _ in fractions]
    for rank, participant in enumerate(order):
        empty = [s for s, members in enumerate(sets) if not members]
        choices = empty if len(order) - rank <= len(empty) else range(len(sets))
        costs = []
        for s in choices:
            after = have.copy()
            after[s] += counts[participant]
            costs.append(((after / total - share * (sum(after) / total)) ** 2 / share).sum())
        best = list(choices)[int(np.argmin(costs))]
        have[best] += counts[participant]
        sets[best].append(int(participant))
    return [sorted(members) for members in sets]


def _class_counts(volumes: Sequence[float]) -> np.ndarray:
    """Return lesions by class; the scan itself counts under ``none``, so that scans too are dealt in proportion."""
    counts = np.zeros(len(SIZE_CLASSES))
    counts[0] = 1
    for volume in volumes:
        counts[SIZE_CLASSES.index(size_class(volume))] += 1
    return counts
