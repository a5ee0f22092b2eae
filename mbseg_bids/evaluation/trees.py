"""Agreement of two derivative trees: pairs of lesion segmentations, one score a scan."""

import math
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pandas as pd

from mbseg_bids.errors import NothingSelectedError, UnreadableDataError
from mbseg_bids.evaluation.lesion import ALL_REGIONS, Matches, MatchRule, Score, match_lesions, score_by_region
from mbseg_bids.imaging.labels import REGIONS, UNASSIGNED

PATTERN = "sub-*/**/*_space-T2starw_seg-CMB_dseg.nii.gz"
NO_SESSION = "n/a"


@dataclass(frozen=True)
class ScanScore:
    """Agreement of one scan. ``scores`` by region, with ``all``; ``lesions``: what became of every single one."""

    participant: str
    session: str
    scores: dict[str, Score]
    lesions: pd.DataFrame


@dataclass(frozen=True)
class TreeScore:
    """Agreement of two trees; ``missing`` are the scans of the truth that have no result."""

    scans: tuple[ScanScore, ...]
    missing: tuple[tuple[str, str], ...]

    def pooled(self) -> dict[str, Score]:
        """Return the scores added up over scans; every scan counts for every region, lesions in it or not."""
        regions = [ALL_REGIONS, *REGIONS.values(), UNASSIGNED]
        empty = Score(n_scans=1)
        return {
            region: sum((scan.scores.get(region, empty) for scan in self.scans), Score())
            for region in regions
            if any(region in scan.scores for scan in self.scans)
        }

    def table(self) -> pd.DataFrame:
        """Return one row a scan and region, then the pooled ones with ``all`` as participant."""
        rows = [
            _row(scan.participant, scan.session, region, score)
            for scan in self.scans
            for region, score in scan.scores.items()
        ]
        rows += [_row("all", NO_SESSION, region, score) for region, score in self.pooled().items()]
        return pd.DataFrame(rows)


def score_trees(
    truth_tree: Path,
    result_tree: Path,
    *,
    rule: MatchRule = "overlap",
    maximum_distance: float = 5.0,
    minimum_volume: float = 0.0,
) -> TreeScore:
    """Compare the lesion segmentations of two derivative trees, paired by participant and session.

    Regions are read from the table beside each image. Parameters as in
    :func:`mbseg_bids.evaluation.lesion.match_lesions`.

    Raises
    ------
    NothingSelectedError
        If the truth has no segmentation, or none with a result.
    UnreadableDataError
        If an image or table cannot be read, a scan has two segmentations, or two images are on different grids.
    """
    truth, results = find_segmentations(truth_tree), find_segmentations(result_tree)
    if not truth:
        raise NothingSelectedError(f"no {PATTERN} in {truth_tree}", "give the tree with the truth first")
    scans = []
    for key in sorted(truth.keys() & results.keys()):
        true, predicted, spacing = _read_pair(truth[key], results[key])
        matches = match_lesions(
            true, predicted, spacing, rule=rule, maximum_distance=maximum_distance, minimum_volume=minimum_volume
        )
        regions = _regions(truth[key]), _regions(results[key])
        volume = math.prod(spacing)
        lesions = _lesion_rows(
            matches, *regions, np.bincount(true.ravel()) * volume, np.bincount(predicted.ravel()) * volume
        )
        scans.append(ScanScore(*key, score_by_region(matches, *regions), lesions))
    if not scans:
        raise NothingSelectedError(
            f"no scan of {truth_tree} has a result in {result_tree}", "run the participant level"
        )
    return TreeScore(tuple(scans), tuple(sorted(truth.keys() - results.keys())))


def find_segmentations(tree: Path) -> dict[tuple[str, str], Path]:
    """Return the lesion segmentations on the native T2* grid by (participant, session), with ``sub-`` and ``ses-``."""
    found: dict[tuple[str, str], Path] = {}
    for path in sorted(Path(tree).glob(PATTERN)):
        entities = dict(part.split("-", 1) for part in path.name.split("_") if "-" in part)
        key = (f"sub-{entities['sub']}", f"ses-{entities['ses']}" if "ses" in entities else NO_SESSION)
        if key in found:
            raise UnreadableDataError(
                f"two segmentations of one scan: {found[key]} and {path}", "leave one in the tree"
            )
        found[key] = path
    return found


def _read_pair(
    truth: Path, result: Path
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], tuple[float, float, float]]:
    try:
        images = [nib.load(path) for path in (truth, result)]
        arrays = [np.asanyarray(image.dataobj).astype(np.int32) for image in images]
    except (OSError, EOFError, ValueError, nib.filebasedimages.ImageFileError) as error:
        raise UnreadableDataError(f"cannot read {truth} or {result}: {error}", "write it again") from error
    if arrays[0].shape != arrays[1].shape or not np.allclose(images[0].affine, images[1].affine, atol=1e-3):
        raise UnreadableDataError(f"{truth} and {result} are on different grids", "compare on the native T2* grid")
    return arrays[0], arrays[1], tuple(float(s) for s in nib.affines.voxel_sizes(images[0].affine))


def _regions(segmentation: Path) -> dict[int, str]:
    path = Path(str(segmentation).removesuffix(".nii.gz") + ".tsv")
    if not path.exists():
        return {}
    try:
        table = pd.read_csv(path, sep="\t", keep_default_na=False)
        return dict(zip(table["index"].astype(int).tolist(), table["region"].tolist(), strict=True))
    except (OSError, ValueError, KeyError) as error:
        raise UnreadableDataError(f"cannot read the lesion table {path}: {error}", "write it again") from error


def _row(participant: str, session: str, region: str, score: Score) -> dict:
    return {
        "participant_id": participant,
        "session_id": session,
        "region": region,
        "n_scans": score.n_scans,
        "n_truth": score.n_truth,
        "n_predicted": score.n_predicted,
        "n_detected": score.n_detected,
        "n_correct": score.n_correct,
        "n_missed": score.n_missed,
        "n_false": score.n_false,
        "sensitivity": round(score.sensitivity, 4),
        "precision": round(score.precision, 4),
        "dice": round(score.dice, 4),
        "false_per_scan": round(score.false_per_scan, 4),
    }


def _lesion_rows(
    matches: Matches,
    truth_regions: dict[int, str],
    predicted_regions: dict[int, str],
    truth_volumes: npt.NDArray[np.float64],
    predicted_volumes: npt.NDArray[np.float64],
) -> pd.DataFrame:
    """Return a row for every true lesion, then for every predicted one that is false or ignored."""
    rows = []
    for label in sorted(matches.truth | matches.ignored_truth):
        partners = [p for t, p in matches.pairs if t == label]
        verdict = "ignored" if label in matches.ignored_truth else "detected" if partners else "missed"
        region, volume = truth_regions.get(label, UNASSIGNED), truth_volumes[label]
        rows.append((verdict, str(label), ",".join(map(str, partners)) or "n/a", region, round(volume, 3)))
    for label in sorted((matches.predicted - matches.correct) | matches.ignored_predicted):
        verdict = "ignored" if label in matches.ignored_predicted else "false"
        partners = [t for t, p in matches.pairs if p == label]
        region, volume = predicted_regions.get(label, UNASSIGNED), predicted_volumes[label]
        rows.append((verdict, ",".join(map(str, partners)) or "n/a", str(label), region, round(volume, 3)))
    return pd.DataFrame(rows, columns=["verdict", "truth_index", "predicted_index", "region", "volume_mm3"])
