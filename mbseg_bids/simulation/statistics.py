"""Statistics of simulated microbleeds beside those of a cohort of real ones."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mbseg_bids.simulation.cohort import draw_lesion_count, draw_person
from mbseg_bids.simulation.lesions import draw_microbleed, visible_voxels
from mbseg_bids.simulation.protocol import COHORT_GEOMETRIES
from mbseg_bids.simulation.rendering import render

PERCENTILES = (5, 10, 25, 50, 75, 90, 95)

COHORT_VOLUMES: dict[int, float] = dict(zip(PERCENTILES, (4.3, 5.8, 7.9, 10.6, 18.1, 43.0, 60.2), strict=True))
"""Percentiles of the volumes (mm3) that readers outlined: 253 microbleeds of VALDO (T2*, 1.5 and 3 T)."""

COHORT_REGIONS: dict[str, float] = {
    "cerebral white matter": 0.39,
    "cortex": 0.38,
    "deep grey matter": 0.16,
    "cerebellum": 0.05,
    "brainstem": 0.02,
}
"""Share of the same microbleeds by place."""

COHORT_COUNTS: dict[str, float] = {"none": 0.31, "median": 1, "p75": 2, "p90": 9, "highest of 72": 83}
"""Microbleeds per scan of the same 72 scans; `none` is a share of scans."""


def observed_volumes(
    n: int,
    rng: np.random.Generator,
    *,
    geometries: Sequence[tuple[tuple[float, float, float], float]] = COHORT_GEOMETRIES,
    echo_time: float = 25.0,
) -> npt.NDArray[np.float64]:
    """Volumes (mm3) that a reader would outline of `n` microbleeds in uniform tissue; those not seen are left out.

    Each microbleed at 1.5 or 3 T in voxels drawn from `geometries` (mm, weight), its place in the voxel at random.
    """
    weights = np.array([weight for _, weight in geometries])
    volumes = []
    for _ in range(n):
        spacing = np.array(geometries[rng.choice(len(weights), p=weights / weights.sum())][0])
        shape = np.ceil(24 / spacing).astype(int).tolist()
        microbleed = draw_microbleed(spacing * (np.floor_divide(shape, 2) + rng.uniform(-0.5, 0.5, 3)), rng)
        patch = render(
            microbleed.sources,
            np.diag([*spacing, 1.0]),
            shape,
            echo_time=echo_time,
            field_strength=float(rng.choice([1.5, 3.0])),
        )
        assert patch is not None  # the lesion is in the middle of the grid
        volumes.append(visible_voxels(np.abs(patch.ratio)).sum() * np.prod(spacing))
    return np.array([volume for volume in volumes if volume > 0])


def cohort_counts(n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Numbers of microbleeds of `n` people."""
    people = [draw_person("sub-01", rng) for _ in range(n)]
    return np.array([draw_lesion_count(p["age"], p["hypertension"] == "yes", rng) for p in people])


def count_statistics(counts: npt.NDArray[np.integer], *, scans: int = 72) -> dict[str, float]:
    """The figures of `COHORT_COUNTS`; the highest is the median over groups of `scans`."""
    groups = counts[: len(counts) // scans * scans].reshape(-1, scans) if len(counts) >= scans else counts[None]
    p50, p75, p90 = np.percentile(counts, [50, 75, 90])
    return {
        "none": float((counts == 0).mean()),
        "median": float(p50),
        "p75": float(p75),
        "p90": float(p90),
        "highest of 72": float(np.median(groups.max(axis=1))),
    }
