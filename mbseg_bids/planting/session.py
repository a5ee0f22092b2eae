"""One session: planted again and again, detected each time, everything counted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mbseg_bids.clinical.size import size_class
from mbseg_bids.detection.rules.intensity_ratio import contrast_ratios
from mbseg_bids.imaging.grids import restore_labels, to_detection_grid
from mbseg_bids.imaging.intensity import standardise
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.planting.count import Fate, fates, not_planted
from mbseg_bids.planting.detect import AS_RUN, WITHOUT_SECOND_LOOK, Detector, Found
from mbseg_bids.planting.plant import Acquisition, Planting, Recipe, plant, with_effects
from mbseg_bids.planting.scan import Scan


@dataclass(frozen=True)
class SessionResult:
    """What came of one session.

    Attributes
    ----------
    name
        ``sub-X`` or ``sub-X_ses-Y``.
    planted
        One row a planted lesion.
    others
        One row a lesion found that was not planted and not there before: ``repetition``, ``steps``, ``region``,
        ``size_class``.
    repetitions, steps
        How often planted; names of the variants of detection.
    acquisition, slice_thickness
        Of the scan.
    n_reported, n_again
        Lesions that the run reported in the scan as it is, and those of them that detection finds here again.
    n_wanted
        Lesions that were to be planted.
    warnings
        What a reader should know.
    """

    name: str
    planted: list[dict[str, Any]]
    others: list[dict[str, Any]]
    repetitions: int
    steps: tuple[str, ...]
    acquisition: Acquisition
    slice_thickness: float
    n_reported: int
    n_again: int
    n_wanted: int
    warnings: tuple[str, ...] = ()


def plant_session(
    scan: Scan,
    recipe: Recipe,
    acquisition: Acquisition,
    detector: Detector,
    *,
    repetitions: int,
    seed: int,
    said: Callable[[str], None] = lambda text: None,
) -> SessionResult:
    """Plant in a session and count; the draw depends on the seed, the session's name and the repetition alone."""
    before = detector(_stack(scan, scan.site.t2star, scan.others), scan.head)
    again = set(np.unique(scan.reported[(scan.reported > 0) & (before[AS_RUN].native.lesions > 0)]).tolist())
    n_reported = len(np.unique(scan.reported[scan.reported > 0]))
    said(f"{scan.name}: {len(again)} of the {n_reported} lesions of the run found again before planting")
    planted: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for repetition in range(1, repetitions + 1):
        rng = np.random.default_rng([seed, repetition, *scan.name.encode()])
        planting = plant(scan.site, recipe, acquisition, rng)
        stack = _stack(scan, planting.t2star, with_effects(scan.others, planting.lesions, scan.grid))
        truth = _on_detection_grid(planting.truth, scan)
        found = detector(stack, scan.head)
        rows = lesion_rows(planting, truth, stack[0], scan, found)
        planted += [{"repetition": repetition} | row for row in rows]
        for steps, result in found.items():
            known = (scan.reported > 0) | (before[steps].native.lesions > 0)
            others += [
                {"repetition": repetition, "steps": steps, "region": row["region"], "size_class": row["size_class"]}
                for row in not_planted(planting.truth.data, known, result)
            ]
        said(f"{scan.name}: repetition {repetition}, {sum(row['found'] for row in rows)} of {len(rows)} found")
    warnings = [*scan.warnings]
    if recipe.near_vessels and not np.isfinite(scan.site.ground.from_vessel).any():
        warnings.append("no vessel was found to plant beside")
    return SessionResult(
        scan.name, planted, others, repetitions, tuple(before), acquisition, scan.slice_thickness, n_reported,
        len(again), recipe.lesions * repetitions, tuple(warnings),
    )  # fmt: skip


def lesion_rows(
    planting: Planting, truth: npt.NDArray[np.int32], t2star: npt.NDArray[np.floating], scan: Scan,
    found: dict[str, Found],
) -> list[dict[str, Any]]:  # fmt: skip
    """Return one row a planted lesion; ``truth`` and ``t2star`` on the detection grid, planted."""
    ratios = contrast_ratios(t2star, truth, scan.head.brain, scan.head.spacing)
    came: dict[str, dict[int, Fate]] = {
        steps: fates(planting.truth.data, truth, result) for steps, result in found.items()
    }
    rows = []
    for label, lesion in enumerate(planting.lesions, start=1):
        volume = float(lesion.visible.sum()) * planting.truth.voxel_volume
        x, y, z = planting.truth.centre_of(planting.truth.data == label).tolist()
        fate = came[AS_RUN][label]
        rows.append(
            {
                "lesion": label,
                "region": lesion.region,
                **{"x_mm": x, "y_mm": y, "z_mm": z},
                "volume_mm3": volume,
                "diameter_mm": lesion.diameter,
                "size_class": size_class(volume),
                "contrast_ratio": ratios.get(label, float("nan")),
                "near_vessel": lesion.near_vessel,
                "vessel_distance_mm": lesion.from_vessel,
                "found": fate.found,
                "probability_max": fate.probability,
                "lost_at": fate.lost_at,
                "found_without_second_look": came.get(WITHOUT_SECOND_LOOK, came[AS_RUN])[label].found,
            }
        )
    return rows


def _stack(scan: Scan, t2star: Volume, others: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Return what a run shows the network: T2* brought to the detection grid and to 0-100, then T2w and T1w."""
    values = standardise(to_detection_grid(t2star, scan.grid).data, scan.head.brain)
    return np.concatenate([values[None], others]).astype(np.float32)


def _on_detection_grid(truth: Volume, scan: Scan) -> npt.NDArray[np.int32]:
    moved = to_detection_grid(truth, scan.grid, order=0).data.astype(np.int32)
    return restore_labels(moved, scan.grid.affine, truth)
