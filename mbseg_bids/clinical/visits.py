"""Microbleeds of two visits of one person: which are the same, which are new, and which cannot be told.

A raw difference of counts says nothing: each count has its misses and false finds. So lesions are paired one to one by
place, and before an unpaired one is called new or gone, the other visit is searched at its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from mbseg_bids.imaging.volume import Volume

MATCH_MM = 5.0
"""Largest distance of the centroids of one lesion at two visits, after rigid registration."""
NETWORK_IN_DOUBT = 0.2
"""Probability of the network at which its search goes on growing: from there on, it saw something."""
NETWORK_REACH_MM = 2.5
"""How far about a place its highest probability counts."""

STABLE, NEW, NOT_SEEN, UNCERTAIN = "stable", "new", "not_seen_again", "uncertain"
STATUSES = (STABLE, NEW, NOT_SEEN, UNCERTAIN)
CANDIDATE, NETWORK, NOT_COVERED = "candidate", "network", "not_covered"
"""Why a lesion is uncertain."""

ARIA_H_CLASSES: tuple[str, ...] = ("none", "mild", "moderate", "severe")
"""Of NEW microhaemorrhages under anti-amyloid therapy: 0, 1-4, 5-9, 10 or more. Not the burden classes, whose 5 to 10
ends elsewhere. Superficial siderosis and macrohaemorrhages, which ARIA-H grades too, are not judged here."""
_FIRST_OF_CLASS = (0, 1, 5, 10)


def match_points(
    first: npt.NDArray[np.floating], second: npt.NDArray[np.floating], limit: float = MATCH_MM
) -> list[tuple[int, int]]:
    """Pair points one to one: as many pairs as possible, and of all such pairings that of least total distance.

    Parameters
    ----------
    first, second
        Points of shapes (n, 3) and (m, 3) in one space, mm.
    limit
        Largest distance of a pair, mm; included.

    Returns
    -------
    Pairs of row numbers, in the order of ``first``.
    """
    if not len(first) or not len(second):
        return []
    distance = np.linalg.norm(np.asarray(first)[:, None] - np.asarray(second)[None], axis=-1)
    allowed = distance <= limit + 1e-9
    # One forbidden pair costs more than all allowed pairs together, so the number of pairs comes first.
    cost = np.where(allowed, distance, limit * (min(distance.shape) + 1.0))
    rows, columns = linear_sum_assignment(cost)
    return [(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if allowed[i, j]]


@dataclass(frozen=True)
class Look:
    """What another visit has at the place of a lesion."""

    covered: bool
    """Whether its brain mask is there."""
    candidate: str = ""
    """Name of the nearest rejected candidate within 5 mm; empty for none."""
    probability: float = 0.0
    """Highest probability of the network within 2.5 mm."""

    @property
    def doubt(self) -> str:
        """Why this visit does not rule out the lesion; empty if it does."""
        if not self.covered:
            return NOT_COVERED
        if self.candidate:
            return CANDIDATE
        return NETWORK if self.probability >= NETWORK_IN_DOUBT else ""


def look_at(
    point: npt.NDArray[np.floating], candidates: Mapping[str, Sequence[float]], probability: Volume, brain: Volume
) -> Look:
    """Look up what a visit has at a place.

    Parameters
    ----------
    point
        Shape (3,), RAS+ mm of this visit's T2*.
    candidates
        Position of each rejected candidate by its name, in the same space.
    probability, brain
        Map of the network and mask, on any grids of this space.
    """
    gaps = {name: float(np.linalg.norm(np.subtract(place, point))) for name, place in candidates.items()}
    nearest = min(gaps, key=lambda name: gaps[name], default="")
    return Look(
        covered=bool(_largest_near(brain, point) > 0),
        candidate=nearest if nearest and gaps[nearest] <= MATCH_MM else "",
        probability=_largest_near(probability, point),
    )


def _largest_near(volume: Volume, point: npt.NDArray[np.floating]) -> float:
    """Return the largest value of the voxels within reach of a point and of its own voxel; 0 off the grid."""
    to_index = np.linalg.inv(volume.affine)
    centre = to_index[:3, :3] @ point + to_index[:3, 3]
    reach = NETWORK_REACH_MM / np.asarray(volume.spacing)
    low = np.maximum(np.floor(centre - reach), 0).astype(int)
    high = np.minimum(np.ceil(centre + reach) + 1, volume.shape).astype(int)
    if (high <= low).any():
        return 0.0
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    index = np.indices(tuple(high - low)).reshape(3, -1) + low[:, None]
    offsets = volume.affine[:3, :3] @ (index - centre[:, None])
    near = (np.linalg.norm(offsets, axis=0) <= NETWORK_REACH_MM) | (np.abs(index - centre[:, None]) <= 0.5).all(axis=0)
    return float(volume.data[box].ravel()[near].max(initial=0))


@dataclass(frozen=True)
class SeenLesion:
    """A microbleed at one visit: its name in the lesion table, its centroid in a common space (mm), volume (mm3)."""

    name: str
    position: tuple[float, float, float]
    volume: float


@dataclass(frozen=True)
class Change:
    """One microbleed over two visits; what one of them does not have is None."""

    status: str
    before: SeenLesion | None
    after: SeenLesion | None
    distance: float | None = None
    look: Look | None = None

    @property
    def volume_ratio(self) -> float | None:
        """Volume after over volume before, of a lesion seen twice."""
        return self.after.volume / self.before.volume if self.before and self.after else None


def compare_visits(
    before: Sequence[SeenLesion],
    after: Sequence[SeenLesion],
    looks_before: Mapping[str, Look],
    looks_after: Mapping[str, Look],
) -> list[Change]:
    """Say of each microbleed of two visits what became of it.

    Parameters
    ----------
    before, after
        Positions in one space.
    looks_before
        What the visit before has at the place of each lesion seen after, by its name; ``looks_after`` the other way.
    """
    pairs = match_points(_points(before), _points(after))
    seen_before, seen_after = {i for i, _ in pairs}, {j for _, j in pairs}
    gaps = [float(np.linalg.norm(np.subtract(before[i].position, after[j].position))) for i, j in pairs]
    changes = [Change(STABLE, before[i], after[j], gap) for (i, j), gap in zip(pairs, gaps, strict=True)]
    for number, lesion in enumerate(after):
        if number not in seen_after:
            look = looks_before[lesion.name]
            changes.append(Change(UNCERTAIN if look.doubt else NEW, None, lesion, look=look))
    for number, lesion in enumerate(before):
        if number not in seen_before:
            look = looks_after[lesion.name]
            changes.append(Change(UNCERTAIN if look.doubt else NOT_SEEN, lesion, None, look=look))
    return changes


def count_changes(changes: Sequence[Change]) -> dict[str, int]:
    """Return the number of microbleeds by status; those uncertain apart by the visit that has them."""
    counts = {status: sum(c.status == status for c in changes) for status in (STABLE, NEW, NOT_SEEN)}
    counts["uncertain_new"] = sum(c.status == UNCERTAIN and c.after is not None for c in changes)
    counts["uncertain_not_seen_again"] = sum(c.status == UNCERTAIN and c.before is not None for c in changes)
    return counts


def aria_h_class(n_new: int) -> str:
    """Return the ARIA-H class of a number of NEW microhaemorrhages; for people under anti-amyloid therapy only.

    Mild 1-4, moderate 5-9, severe 10 or more, as in the prescribing information of the antibodies and Barakos et al.
    2022 (doi:10.14283/jpad.2022.21).

    Raises
    ------
    ValueError
        If the number is negative.
    """
    if n_new < 0:
        raise ValueError(f"a count cannot be negative: {n_new}")
    return ARIA_H_CLASSES[sum(n_new >= first for first in _FIRST_OF_CLASS) - 1]


ACQUISITION: dict[str, tuple[str, float]] = {
    "t2star_sequence": ("sequence", 0.0),
    "t2star_echo_time": ("echo time (s)", 0.0011),
    "t2star_field_strength": ("field strength (T)", 0.11),
    "t2star_voxel_size_in_plane": ("voxel size in plane (mm)", 0.051),
    "t2star_slice_thickness": ("slice thickness (mm)", 0.051),
    "t2star_slice_spacing": ("slice spacing (mm)", 0.051),
}
"""Facts of the T2* scan on which counts hang: words, and the largest difference that is none."""


def acquisition_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return what differs between the T2* scans of two visits, in words; what is known of one alone counts as well."""
    changed = []
    for name, (words, tolerance) in ACQUISITION.items():
        old, new = before.get(name), after.get(name)
        if old is None and new is None:
            continue
        numbers = isinstance(old, int | float) and isinstance(new, int | float)
        if (abs(old - new) > tolerance) if numbers else old != new:  # type: ignore[operator]
            changed.append(f"{words} {_word(old)}, then {_word(new)}")
    return changed


def _word(value: Any) -> str:
    if value is None:
        return "not known"
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)


def _points(lesions: Sequence[SeenLesion]) -> npt.NDArray[np.float64]:
    return np.array([lesion.position for lesion in lesions], np.float64).reshape(-1, 3)
