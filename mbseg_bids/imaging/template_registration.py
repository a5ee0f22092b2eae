"""Registration of T1w to the template, with its check."""

import numpy as np
import numpy.typing as npt

from mbseg_bids.imaging.brain import dice
from mbseg_bids.imaging.grids import every_nth_voxel
from mbseg_bids.imaging.orientation_check import Pose, find_pose
from mbseg_bids.imaging.registration import TemplateTransforms, register_rigid_multistart, register_template
from mbseg_bids.imaging.transforms import resample
from mbseg_bids.imaging.volume import Volume

MINIMUM_OVERLAP = 0.90
"""Smallest Dice overlap of the template's brain with the T1w brain brought onto it."""
MINIMUM_CORRELATION = 0.6
"""Smallest correlation of the two images inside the template's brain."""
MAXIMUM_FOLDED = 0.01
"""Largest part of the brain that may be turned inside out."""


def register_template_checked(
    t1w: Volume, brain: npt.NDArray[np.bool_], template: Volume, *, preset: str
) -> tuple[TemplateTransforms, dict]:
    """Register, check, and start anew from a multi-start rigid registration where the check fails.

    A head that lies upside down or on its side by its header does not pass, however well it was bent to fit. It is not
    tried again: other starts are some degrees from the first.

    Parameters
    ----------
    t1w
        Bias corrected.
    brain
        Its mask.
    template
        T1w signal, zero outside the brain.
    preset
        Of the registration.

    Returns
    -------
    The transforms and the check: ``similarity`` (correlation), ``overlap``, ``folded``, ``passed``, ``retried``,
    ``reasons``; and ``pose``, the correlation ``as_it_lies`` and in the ``best`` of 24 poses, before any registration.
    """
    moving = t1w.with_data(np.where(brain, t1w.data, 0).astype(np.float32))
    pose = find_pose(moving, template)
    found: list[tuple[TemplateTransforms, dict]] = []
    for anew in (False,) if pose.doubtful else (False, True):
        start = np.linalg.inv(register_rigid_multistart(template, moving)) if anew else None
        transforms = register_template(moving, template, preset=preset, start=start)
        found.append((transforms, _with_pose(check_template(moving, brain, template, transforms), pose)))
        if found[-1][1]["passed"]:
            break
    transforms, check = max(found, key=lambda entry: entry[1]["overlap"] + entry[1]["similarity"])
    return transforms, {**check, "retried": len(found) > 1}


def check_template(
    t1w_brain: Volume, brain: npt.NDArray[np.bool_], template: Volume, transforms: TemplateTransforms
) -> dict:
    """Return correlation inside the template's brain, brain overlap and folding, and whether that will do."""
    grid = every_nth_voxel(template, 2)
    way = [transforms.template_to_t1w]
    target = resample(template, grid).data
    moved = resample(t1w_brain, grid, way).data
    mask = resample(Volume(brain.astype(np.uint8), t1w_brain.affine), grid, way, order=0).data > 0
    inside = target > 0
    correlation = float(np.corrcoef(target[inside], moved[inside])[0, 1]) if moved[inside].std() > 0 else 0.0
    overlap = dice(inside, mask)
    reasons = []
    if overlap < MINIMUM_OVERLAP:
        reasons.append(f"brains overlap by {overlap:.2f}, at least {MINIMUM_OVERLAP:.2f} expected")
    if correlation < MINIMUM_CORRELATION:
        reasons.append(
            f"correlation with the template {correlation:.2f}, at least {MINIMUM_CORRELATION} expected: "
            "not registered, or not the contrast it is named for"
        )
    if transforms.folded > MAXIMUM_FOLDED:
        reasons.append(f"{100 * transforms.folded:.1f} % of the brain is folded")
    return {
        "similarity": round(correlation, 4),
        "overlap": round(overlap, 4),
        "folded": round(transforms.folded, 5),
        "passed": not reasons,
        "reasons": reasons,
    }


def _with_pose(check: dict, pose: Pose) -> dict:
    """Add what the head's pose says to a check."""
    figures = {"as_it_lies": round(pose.correlation, 4), "best": round(pose.best, 4)}
    reasons = [*([pose.sentence] if pose.doubtful else []), *check["reasons"]]
    return {**check, "pose": figures, "passed": not reasons, "reasons": reasons}
