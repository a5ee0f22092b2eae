"""Agreement of two derivative trees, lesion by lesion: counts of each scan, scores pooled with intervals."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from mbseg_bids.clinical.size import SIZE_CLASSES, equal_sphere_diameter, size_class
from mbseg_bids.detection.geometry.components import centroids
from mbseg_bids.evaluation.intervals import Bootstrap, Metric, pool
from mbseg_bids.evaluation.lesion import ALL_REGIONS, Matches, MatchRule, match_lesions
from mbseg_bids.evaluation.pairs import Lesions, ScanPair, crop_to_lesions, pair_trees, read_pair
from mbseg_bids.imaging.labels import REGIONS, UNASSIGNED
from mbseg_bids.imaging.volume import Volume

ALL = "all"
THICK, THICK_MM = "thick_slices", 3.95
"""Scans whose voxels are 4 mm long or more (sizes are rounded), as in clinical T2* with thick slices."""
COUNTED, ANY = "counted", "any"
"""Sizes beside the classes of the paper: lesions that the smallest size lets count, and all of them."""
SIZES = (COUNTED, ANY, *SIZE_CLASSES)
REGION_ROWS = (ALL_REGIONS, *REGIONS.values(), UNASSIGNED)
RULES: tuple[MatchRule, ...] = ("overlap", "distance")
SCAN = ("participant_id", "session_id", "spacing")
"""Columns that name a scan and its geometry."""
GROUPS = ("match", "scans", "spacing", "size", "region")
"""Columns that name a row of the pooled scores."""

METRICS = (
    Metric("sensitivity", {"n_detected": 1}, {"n_truth": 1}),
    Metric("precision", {"n_correct": 1}, {"n_predicted": 1}),
    Metric("dice", {"n_detected": 1, "n_correct": 1}, {"n_truth": 1, "n_predicted": 1}, things=0.5),
    Metric("false_per_scan", {"n_predicted": 1, "n_correct": -1}, {"n_scans": 1}, kind="rate"),
)
VOXEL_METRICS = (
    Metric("voxel_dice", {"n_voxels_common": 2}, {"n_voxels_truth": 1, "n_voxels_predicted": 1}, kind="mean"),
    Metric("voxel_dice_mean", {"sum_of_voxel_dice": 1}, {"n_voxel_dice": 1}, kind="mean"),
)


@dataclass(frozen=True, eq=False)
class TreeScore:
    """Agreement of two trees.

    Attributes
    ----------
    counts
        One row for each scan, match rule, size and region: what was counted.
    lesions
        One row for each lesion of either tree and match rule: what became of it.
    missing
        (participant, session) of the scans of the truth that have no result.
    """

    counts: pd.DataFrame
    lesions: pd.DataFrame
    missing: tuple[tuple[str, str], ...]

    def scans(self) -> pd.DataFrame:
        """Return counts and scores of every single scan, lesions of counted size, regions that occur in it."""
        frame = self.counts[self.counts["size"] == COUNTED]
        something = (frame["region"] == ALL) | (frame["n_truth"] > 0) | (frame["n_predicted"] > 0)
        frame = frame[something].drop(columns=["size", "lesion_free", "sum_of_voxel_dice", "n_voxel_dice"])
        for metric in (*METRICS[:3], VOXEL_METRICS[0]):
            over, under = (
                sum(weight * frame[name] for name, weight in part.items())
                for part in (metric.numerator, metric.denominator)
            )
            frame[metric.name] = over / under.where(under > 0)
        frame = with_differences(frame.drop(columns="n_scans"))
        frame.loc[frame["region"] != ALL, [c for c in frame if "voxel" in c]] = math.nan
        return frame.reset_index(drop=True)

    def pooled(self, bootstrap: Bootstrap | None = None) -> pd.DataFrame:
        """Return the scores pooled over scans, with intervals over participants.

        Every scan counts for every region, lesions in it or not. Rows are for all scans, for those whose truth has
        lesions and those whose truth has none, for those with slices of 4 mm and more where there are thinner ones
        too, and for each voxel size, where there are several.
        """
        return pool_counts(self.counts, bootstrap)


def pool_counts(counts: pd.DataFrame, bootstrap: Bootstrap | None = None) -> pd.DataFrame:
    """Pool counts of scans as :meth:`TreeScore.pooled` says."""
    frames = [counts.assign(scans=ALL, spacing=ALL)]
    for name, chosen in (("with_lesions", ~counts["lesion_free"]), ("lesion_free", counts["lesion_free"])):
        frames.append(counts[chosen].assign(scans=name, spacing=ALL))
    thick = counts["spacing"].map(lambda name: float(name.rsplit("x", 1)[-1]) >= THICK_MM)
    if thick.any() and not thick.all():
        frames.append(counts[thick].assign(scans=THICK, spacing=ALL))
    if counts["spacing"].nunique() > 1:
        ordered = sorted(counts["spacing"].unique(), key=lambda name: [float(s) for s in name.split("x")])
        frames += [counts[counts["spacing"] == name].assign(scans=ALL) for name in ordered]
    stacked = pd.concat(frames, ignore_index=True).drop(columns="lesion_free")
    pooled = pool(stacked, GROUPS, (*METRICS, *VOXEL_METRICS), bootstrap)
    # Voxels are counted where every one of them belongs: all regions, all sizes (or all that count).
    voxels = [c for c in pooled if "voxel" in c]
    whole = (pooled["region"] == ALL) & pooled["size"].isin((COUNTED, ANY))
    pooled[voxels] = pooled[voxels].where(whole)
    pooled = with_differences(pooled.drop(columns=["sum_of_voxel_dice", "n_voxel_dice"]))
    something = (pooled["n_truth"] > 0) | (pooled["n_predicted"] > 0) | pooled["region"].isin((ALL, *REGIONS.values()))
    return pooled[something].reset_index(drop=True)


def with_differences(frame: pd.DataFrame) -> pd.DataFrame:
    """Add what was missed and what is false, after the counts they come from."""
    place = frame.columns.get_loc("n_correct") + 1
    frame = frame.copy()
    frame.insert(place, "n_missed", frame["n_truth"] - frame["n_detected"])
    frame.insert(place + 1, "n_false", frame["n_predicted"] - frame["n_correct"])
    return frame


def score_trees(
    truth_tree: Path,
    result_tree: Path,
    *,
    rules: Sequence[MatchRule] = RULES,
    maximum_distance: float = 5.0,
    minimum_volume: float = 0.0,
    minimum_diameter: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> TreeScore:
    """Compare the lesion segmentations of two derivative trees, paired by participant and session.

    Parameters
    ----------
    truth_tree, result_tree
        Derivative trees; every pair is found and its headers are checked before any image is read.
    rules, maximum_distance
        As in :func:`mbseg_bids.evaluation.lesion.match_lesions`.
    minimum_volume, minimum_diameter
        mm3 and mm (equal sphere). A true lesion counts if it reaches both; a smaller one counts neither as missed nor,
        where found, as false. Sizes ``any``, ``small``, ``medium``, ``large`` of the tables know no such limit.
    progress
        Called with (scans done, scans in all).

    Raises
    ------
    NothingSelectedError
        If a tree has no segmentation, or none with a result.
    UnreadableDataError
        If an image or table cannot be read, a scan has two segmentations, labels are no whole numbers, or two images
        are on different grids.
    """
    pairs, missing = pair_trees(truth_tree, result_tree)
    limit = smallest_volume(minimum_volume, minimum_diameter)
    counts, lesions = [], []
    for done, pair in enumerate(pairs, start=1):
        truth, predicted = crop_to_lesions(*read_pair(pair))
        of_scan, rows = score_scan(truth, predicted, rules, maximum_distance, limit)
        counts += [scan_columns(pair, truth.labels) | row for row in of_scan]
        lesions += [scan_columns(pair, truth.labels) | row for row in rows]
        if progress:
            progress(done, len(pairs))
    return TreeScore(pd.DataFrame(counts), pd.DataFrame(lesions, columns=[*SCAN, *LESION_COLUMNS]), tuple(missing))


def smallest_volume(minimum_volume: float, minimum_diameter: float) -> float:
    """Return the volume in mm3 that a lesion must have to reach both limits."""
    return max(minimum_volume, math.pi / 6 * minimum_diameter**3)


def scan_columns(pair: ScanPair, labels: Volume) -> dict[str, str]:
    """Return the columns that name a scan."""
    return dict(zip(SCAN, (pair.participant, pair.session, spacing_name(labels.spacing)), strict=True))


def spacing_name(spacing: Sequence[float]) -> str:
    """Return a voxel size as text, smallest side first, to 0.05 mm: ``0.5x0.5x0.8``."""
    return "x".join(f"{round(20 * s) / 20:g}" for s in sorted(spacing))


def score_scan(
    truth: Lesions,
    predicted: Lesions,
    rules: Sequence[MatchRule],
    maximum_distance: float,
    minimum_volume: float,
    sizes: Sequence[str] = SIZES,
) -> tuple[list[dict], list[dict]]:
    """Return the rows of one scan: counts by match rule, size and region, and one row for each lesion."""
    spacing = truth.labels.spacing
    sides = _Side.of(truth), _Side.of(predicted)
    common = _common_voxels(truth.labels.data, predicted.labels.data)
    counts, lesions = [], []
    for rule in rules:
        matches = match_lesions(
            truth.labels.data,
            predicted.labels.data,
            spacing,
            rule=rule,
            maximum_distance=maximum_distance,
            minimum_volume=minimum_volume,
        )
        for size in sizes:
            chosen = _of_size(matches, sides, size)
            for region in REGION_ROWS:
                of_truth, of_result = (
                    labels if region == ALL_REGIONS else {k for k in labels if side.region[k] == region}
                    for labels, side in zip(chosen, sides, strict=True)
                )
                row = {"match": rule, "size": size, "region": region, "lesion_free": not sides[0].region}
                counts.append(row | _count(matches, of_truth, of_result, sides, common))
        lesions += _lesion_rows(rule, matches, sides)
    return counts, lesions


@dataclass(frozen=True)
class _Side:
    """Measures of the lesions of one segmentation, by label."""

    region: dict[int, str]
    n_voxels: dict[int, int]
    volume: dict[int, float]
    centre: dict[int, npt.NDArray[np.float64]]
    """Scanner RAS+, mm."""

    @classmethod
    def of(cls, lesions: Lesions) -> "_Side":
        labels = lesions.labels
        sizes = np.bincount(labels.data[labels.data > 0])
        present = np.flatnonzero(sizes).tolist()
        centres = centroids(labels.data, len(sizes)) @ labels.affine[:3, :3].T + labels.affine[:3, 3]
        return cls(
            region={k: lesions.regions.get(k, UNASSIGNED) for k in present},
            n_voxels={k: int(sizes[k]) for k in present},
            volume={k: float(sizes[k] * math.prod(labels.spacing)) for k in present},
            centre={k: centres[k - 1] for k in present},
        )


_Sides = tuple[_Side, _Side]


def _common_voxels(truth: npt.NDArray[np.int32], predicted: npt.NDArray[np.int32]) -> dict[tuple[int, int], int]:
    both = (truth > 0) & (predicted > 0)
    pairs, n = np.unique(np.stack([truth[both], predicted[both]]), axis=1, return_counts=True)
    return {(int(t), int(p)): int(count) for (t, p), count in zip(pairs.T, n, strict=True)}


def _of_size(matches: Matches, sides: _Sides, size: str) -> tuple[set[int], set[int]]:
    """Return the true and the predicted labels of a size; a class goes by each lesion's own volume."""
    if size == COUNTED:
        return set(matches.truth), set(matches.predicted)
    truth, predicted = ({k for k, v in side.volume.items() if size in (ANY, size_class(v))} for side in sides)
    return truth, predicted


def _count(
    matches: Matches, truth: set[int], predicted: set[int], sides: _Sides, common: dict[tuple[int, int], int]
) -> dict[str, float]:
    found, right = {t for t, _ in matches.pairs}, {p for _, p in matches.pairs}
    n_voxels = [sum(side.n_voxels[k] for k in labels) for side, labels in zip(sides, (truth, predicted), strict=True)]
    n_common = sum(n for (t, p), n in common.items() if t in truth and p in predicted)
    return {
        "n_scans": 1,
        "n_truth": len(truth),
        "n_predicted": len(predicted),
        "n_detected": len(truth & found),
        "n_correct": len(predicted & right),
        "n_voxels_truth": n_voxels[0],
        "n_voxels_predicted": n_voxels[1],
        "n_voxels_common": n_common,
        "sum_of_voxel_dice": 2 * n_common / sum(n_voxels) if any(n_voxels) else 0.0,
        "n_voxel_dice": int(any(n_voxels)),
    }


LESION_COLUMNS = (
    "match", "segmentation", "index", "verdict", "partners", "region", "n_voxels", "volume_mm3", "diameter_mm",
    "size_class", "x_mm", "y_mm", "z_mm",
)  # fmt: skip


def _lesion_rows(rule: MatchRule, matches: Matches, sides: _Sides) -> list[dict]:
    """Return a row for every lesion of both segmentations, the truth first."""
    verdicts = (
        ("truth", matches.ignored_truth, matches.detected, "detected", "missed"),
        ("result", matches.ignored_predicted, matches.correct, "correct", "false"),
    )
    rows = []
    for which, (segmentation, ignored, matched, yes, no) in enumerate(verdicts):
        side = sides[which]
        partners: dict[int, list[int]] = {}
        for pair in matches.pairs:
            partners.setdefault(pair[which], []).append(pair[1 - which])
        for label, volume in side.volume.items():
            verdict = "ignored" if label in ignored else yes if label in matched else no
            others = ",".join(map(str, partners.get(label, []))) or "n/a"
            place = [round(float(x), 2) + 0.0 for x in side.centre[label]]
            values = (
                rule, segmentation, label, verdict, others, side.region[label], side.n_voxels[label], round(volume, 3),
                round(equal_sphere_diameter(volume), 2), size_class(volume), *place,
            )  # fmt: skip
            rows.append(dict(zip(LESION_COLUMNS, values, strict=True)))
    return rows
