"""Whether a registration can be believed: measured, not hoped.

Two things that fail apart from each other are looked at. The similarity of the two images must be highest where the
registration put them, against twelve moved positions; and the brain, outlined independently on both, must fall
together. A registration that fails is done again from other starts; one that still fails is flagged, never hidden.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from mbseg_bids.imaging.brain import dice
from mbseg_bids.imaging.grids import Grid
from mbseg_bids.imaging.intensity import dilate_mm
from mbseg_bids.imaging.registration import is_slab, register_rigid, register_rigid_multistart
from mbseg_bids.imaging.transforms import field_of_view, grid_points, resample
from mbseg_bids.imaging.volume import Volume

SHIFT = 5.0
"""How far the image is moved along each axis to see whether the similarity falls, mm."""
TURN = 8.0
"""How far it is turned about each axis, degrees."""
CHECK_SPACING = 3.0
"""Voxel size at which similarity is taken, mm."""
MINIMUM_ADVANTAGE = 0.05
"""Smallest part by which the excess of the normalised mutual information over 1 must fall when the image is moved."""
EXPECTED_ADVANTAGE = 0.45
"""Advantage below which a registration that passes is doubted. docs/anatomy.md has what was measured on scans of one
person and of two."""
MINIMUM_OVERLAP = 0.88
"""Smallest Dice overlap of the two brain masks."""
MASK_MARGIN = 8.0
"""Registration looks at the brain and this much around it, mm: jaw and neck move on their own."""
_BINS = 32


@dataclass(frozen=True)
class RegistrationCheck:
    """What was measured of one registration.

    Attributes
    ----------
    similarity
        Normalised mutual information inside the brain, (H(a) + H(b)) / H(a, b); 1 = nothing in common.
    advantage
        Part by which similarity - 1 falls, at least, when the moving image is moved by 5 mm or turned by 8 degrees.
        Negative: another position is better.
    overlap
        Dice overlap of the brain masks inside the common field of view; None where only one is known.
    passed
        Whether both reach their limits.
    reasons
        What failed, one sentence each.
    """

    similarity: float
    advantage: float
    overlap: float | None
    passed: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class CheckedTransform:
    """A transform with its check and how it came about."""

    transform: npt.NDArray[np.float64]
    """Points of the moving image to points of the fixed one, RAS+ mm."""
    check: RegistrationCheck
    method: str
    """Name of the start that was kept."""
    attempts: tuple[str, ...]
    """Names of all starts tried, in order."""

    def as_dict(self) -> dict:
        """Return plain values for a JSON file."""
        check = asdict(self.check) | {"reasons": list(self.check.reasons)}
        return {**check, "method": self.method, "attempts": list(self.attempts), "retried": len(self.attempts) > 1}


def register_pair(
    fixed: Volume,
    moving: Volume,
    *,
    fixed_brain: npt.NDArray[np.bool_],
    moving_brain: npt.NDArray[np.bool_],
    brains_known: bool = True,
) -> CheckedTransform:
    """Register a contrast to T2* with six parameters, check it, and try other starts where the check fails.

    Parameters
    ----------
    fixed, moving
        T2*, and T1w or T2w; bias corrected.
    fixed_brain, moving_brain
        Masks outlined on each image on its own.
    brains_known
        False where one of them is only the head: their overlap then says nothing.
    """
    near = dilate_mm(fixed_brain, fixed.spacing, MASK_MARGIN)
    known = fixed_brain if brains_known else None

    def check(transform: npt.NDArray) -> RegistrationCheck:
        return check_rigid(fixed, moving, transform, fixed_brain=known, moving_brain=moving_brain)

    # Scans of one session mostly lie together by their headers; where they do not, the masks show the way.
    centred = np.eye(4)
    centred[:3, 3] = fixed.centre_of(fixed_brain) - moving.centre_of(moving_brain)
    start = max((np.eye(4), centred), key=lambda transform: check(transform).similarity)

    def greedy() -> npt.NDArray:
        # With the mask alone Greedy can lose its way from a poor start; without it the jaw pulls. So both, in turn.
        whole = register_rigid(fixed, moving, start=start)
        near_brain = register_rigid(fixed, moving, fixed_mask=near, start=whole)
        return max((near_brain, whole), key=lambda transform: check(transform).similarity)

    multistart = ("multistart", lambda: register_rigid_multistart(fixed, moving))
    wide = ("multistart_wide", lambda: register_rigid_multistart(fixed, moving, angle=50.0))
    candidates = (multistart, ("greedy", greedy), wide) if is_slab(fixed) else (("greedy", greedy), multistart, wide)
    return register_checked(candidates, check)


def register_checked(
    candidates: Sequence[tuple[str, Callable[[], npt.NDArray[np.float64]]]],
    check: Callable[[npt.NDArray[np.float64]], RegistrationCheck],
) -> CheckedTransform:
    """Try registrations in turn until one passes its check; else keep the best of them, flagged.

    Parameters
    ----------
    candidates
        Names and functions that register; tried in this order.
    check
        What judges the transform.

    Raises
    ------
    RuntimeError
        If none of them gave a transform at all.
    """
    tried: list[CheckedTransform] = []
    errors: list[str] = []
    for name, register in candidates:
        try:
            transform = register()
        except RuntimeError as error:
            errors.append(f"{name}: {error}")
            continue
        attempts = (*(t.method for t in tried), name)
        tried.append(CheckedTransform(transform, check(transform), name, attempts))
        if tried[-1].check.passed:
            return tried[-1]
    if not tried:
        raise RuntimeError("no registration could be computed; " + "; ".join(errors))
    best = max(tried, key=lambda t: (t.check.overlap or 0.0, t.check.similarity))
    return CheckedTransform(best.transform, best.check, best.method, tuple(t.method for t in tried))


def check_rigid(
    fixed: Volume,
    moving: Volume,
    transform: npt.NDArray[np.float64],
    *,
    fixed_brain: npt.NDArray[np.bool_] | None,
    moving_brain: npt.NDArray[np.bool_],
) -> RegistrationCheck:
    """Judge a rigid registration.

    Parameters
    ----------
    fixed, moving
        The two images.
    transform
        Takes points of ``moving`` to points of ``fixed``.
    fixed_brain, moving_brain
        Brain masks found on each image on its own; None where the one of ``fixed`` is not known.
    """
    back = np.linalg.inv(transform)
    grid = _coarse_grid(fixed)
    brain = resample(Volume(moving_brain.astype(np.uint8), moving.affine), grid, [back], order=0).data > 0
    seen = field_of_view(moving, grid, [back])
    if np.count_nonzero(brain) < 50:
        return RegistrationCheck(1.0, -1.0, 0.0, False, ("the images do not overlap",))
    fixed_values = resample(fixed, grid).data
    points = grid_points(grid.shape, grid.affine)[:, brain]
    values = fixed_values[brain]
    here = _similarity_at(values, moving, points, back)
    elsewhere = max(_similarity_at(values, moving, points, back @ move) for move in _moves(points.mean(axis=1)))
    advantage = (here - elsewhere) / max(here - 1, 1e-6)
    overlap = None
    if fixed_brain is not None:
        on_grid = resample(Volume(fixed_brain.astype(np.uint8), fixed.affine), grid, order=0).data > 0
        overlap = dice(on_grid & seen, brain)
    return _judge(here, advantage, overlap)


def loose_fit(check: RegistrationCheck) -> str | None:
    """Return a sentence if a registration passes but fits as scans of two people do, else None.

    Heads of two people lie upon each other once registered, so that the limits of the check are often reached; but
    their folds do not, and the similarity has no sharp peak.
    """
    if not check.passed or check.advantage >= EXPECTED_ADVANTAGE:
        return None
    return (
        f"fits only loosely: similarity gains {100 * check.advantage:.0f} % over moved positions, at least "
        f"{100 * EXPECTED_ADVANTAGE:.0f} % is usual for scans of one person; are both of the same person?"
    )


def normalised_mutual_information(first: npt.NDArray, second: npt.NDArray) -> float:
    """Return (H(a) + H(b)) / H(a, b) of paired values (Studholme et al. 1999); 1 = independent, 2 = identical."""
    ranges = [np.percentile(values, (0.5, 99.5)) for values in (first, second)]
    one, two = (np.clip(v, *r) for v, r in zip((first, second), ranges, strict=True))
    joint = np.histogram2d(one, two, bins=_BINS)[0]
    joint /= max(joint.sum(), 1)
    separate = _entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1))
    together = _entropy(joint)
    return float(separate / together) if together > 0 else 1.0


def _judge(similarity: float, advantage: float, overlap: float | None) -> RegistrationCheck:
    reasons = []
    if advantage < MINIMUM_ADVANTAGE:
        reasons.append(
            f"similarity gains {100 * advantage:.0f} % over moved positions, "
            f"at least {100 * MINIMUM_ADVANTAGE:.0f} % expected"
        )
    if overlap is not None and overlap < MINIMUM_OVERLAP:
        reasons.append(f"brain masks overlap by {overlap:.2f}, at least {MINIMUM_OVERLAP:.2f} expected")
    rounded = None if overlap is None else round(overlap, 4)
    return RegistrationCheck(round(similarity, 4), round(advantage, 4), rounded, not reasons, tuple(reasons))


def _coarse_grid(volume: Volume) -> Grid:
    """Return the grid of every n-th voxel, about 3 mm apart."""
    steps = [max(1, round(CHECK_SPACING / s)) for s in volume.spacing]
    affine = volume.affine @ np.diag([*steps, 1.0])
    affine[:3, 3] += volume.affine[:3, :3] @ ((np.array(steps) - 1) / 2)
    i, j, k = (max(1, n // s) for n, s in zip(volume.shape, steps, strict=True))
    return Grid((i, j, k), affine)


def _moves(centre: npt.NDArray) -> list[npt.NDArray[np.float64]]:
    moves = []
    for axis in range(3):
        for sign in (1, -1):
            shift = np.eye(4)
            shift[axis, 3] = sign * SHIFT
            moves.append(shift)
            angle = np.deg2rad(sign * TURN)
            a, b = [i for i in range(3) if i != axis]
            turn = np.eye(4)
            turn[a, a] = turn[b, b] = np.cos(angle)
            turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
            turn[:3, 3] = centre - turn[:3, :3] @ centre
            moves.append(turn)
    return moves


def _similarity_at(values: npt.NDArray, moving: Volume, points: npt.NDArray, back: npt.NDArray) -> float:
    from scipy import ndimage

    to_index = np.linalg.inv(moving.affine) @ back
    index = to_index[:3, :3] @ points + to_index[:3, 3:]
    found = ndimage.map_coordinates(moving.data.astype(np.float32, copy=False), index, order=1, mode="constant")
    return normalised_mutual_information(values, found)


def _entropy(probability: npt.NDArray) -> float:
    positive = probability[probability > 0]
    return float(-(positive * np.log(positive)).sum())
