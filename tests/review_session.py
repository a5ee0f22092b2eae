"""A session as a run leaves it, small: four lesions' worth of dark spots in a brain of constant brightness."""

from dataclasses import dataclass

import numpy as np
import pytest

from mbseg_bids.reports.session_files import SessionKey
from mbseg_bids.review.decide import Result, Scan
from mbseg_bids.review.table import Judgement

SHAPE = (30, 34, 12)
LESION_COLUMNS = (
    *("index", "name", "candidate_index", "region", "volume_mm3", "n_voxels", "diameter_mm", "longest_diameter_mm"),
    *("size_class", "i", "j", "k", "x_mm", "y_mm", "z_mm", "n_slices", "probability_mean", "probability_max"),
    *("contrast_ratio", "ratio_threshold", "lesion_probability", "certainty", "flags", "side", "contrasts"),
)
CANDIDATE_COLUMNS = (
    *("index", "name", "status", "reason", "lesion_index"),
    *(c for c in LESION_COLUMNS if c not in ("index", "name", "candidate_index")),
)
AFFINE = np.array([[-1.0, 0, 0, 15], [0, 1.0, 0, -17], [0, 0, 3.0, -18], [0, 0, 0, 1]])
KEY = SessionKey("01", "a")


def ball(centre, radius=2.2):
    grid = np.indices(SHAPE)
    return sum(((grid[a] - centre[a]) * (1, 1, 3)[a]) ** 2 for a in range(3)) <= radius**2


SPOTS = {1: (8, 8, 4), 2: (20, 10, 5), 3: (12, 24, 6), 4: (22, 26, 7)}
"""Candidates: 1 and 2 are lesions; 3 and 4 were rejected."""
UNSEEN = (15, 16, 9)
"""A dark spot that the program has not seen."""


def judge(item, decision="", kind=None, voxel=None, note="", key=KEY, time="2026-01-02T03:04:05Z"):
    kind = kind or {"CMB": "lesion", "CAN": "candidate", "ADD": "added"}[item[:3]]
    return Judgement(key, "abc", item, kind, decision, note, voxel, time)


@dataclass
class Small:
    automatic: Result
    scan: Scan


@pytest.fixture
def small():
    return make_small()


def make_small():
    candidates = np.zeros(SHAPE, np.int32)
    t2star = np.full(SHAPE, 60.0, np.float32)
    for label, centre in SPOTS.items():
        candidates[ball(centre)] = label
    t2star[candidates > 0] = 20
    t2star[ball(UNSEEN)] = 25
    lesions = np.where(candidates <= 2, candidates, 0).astype(np.int32)
    regions = np.full(SHAPE, 3, np.int16)
    regions[:, :16] = 1
    places = np.where(np.indices(SHAPE)[0] < 15, 21, 1).astype(np.int16)
    scan = Scan(t2star, np.ones(SHAPE, bool), regions, (candidates > 0) * 0.7, places, AFFINE)

    def row(columns, label, **cells):
        n = int((candidates == label).sum())
        measures = {"region": "cortical_gm", "volume_mm3": f"{3.0 * n}", "n_voxels": str(n), "diameter_mm": "4.0"}
        centre = SPOTS[label]
        mm = (AFFINE @ np.array([*centre, 1]))[:3]
        measures |= dict(zip("ijk", map(str, centre), strict=True))
        measures |= {f"{axis}_mm": f"{value:.2f}" for axis, value in zip("xyz", mm, strict=True)}
        judged = {"lesion_probability": "0.9", "certainty": "possible", "contrasts": "T2starw", "side": "left"}
        return dict.fromkeys(columns, "n/a") | measures | judged | cells | {"index": str(label)}

    lesion_rows = [row(LESION_COLUMNS, n, name=f"CMB-00{n}", candidate_index=str(n)) for n in (1, 2)]
    lesion_rows[0]["diameter_mm"], lesion_rows[1]["region"] = "2.5", "deep_gm"
    kept = [
        row(CANDIDATE_COLUMNS, n, name=f"CAND-00{n}", status="kept", reason="n/a", lesion_index=str(n)) for n in (1, 2)
    ]
    lost = [
        row(CANDIDATE_COLUMNS, 3, name="CAND-003", status="rejected", reason="second_look", certainty="mimic",
            lesion_probability="0.3"),
        row(CANDIDATE_COLUMNS, 4, name="CAND-004", status="rejected", reason="above_maximum_size",
            flags="above_maximum_size,touches_brain_edge", lesion_probability="0.1"),
    ]  # fmt: skip
    automatic = Result(lesions, candidates, lesion_rows, [*kept, *lost], LESION_COLUMNS, CANDIDATE_COLUMNS)
    return Small(automatic, scan)


def write_session(out, small, key=KEY, *, with_sheets=True):
    """Write a session to an output folder as a run does, with T1w and template spaces; return its folder."""
    import gzip
    import json

    import nibabel as nib

    prefix = key.prefix
    anat = out / f"sub-{key.participant}" / (f"ses-{key.session}" if key.session else "") / "anat"
    anat.mkdir(parents=True, exist_ok=True)
    (out / "logs").mkdir(exist_ok=True)
    automatic, scan = small.automatic, small.scan
    images = {
        "seg-CMB_dseg": automatic.lesions.astype(np.uint8),
        "seg-CMBcandidates_dseg": automatic.candidates.astype(np.uint8),
        "label-CMB_mask": (automatic.lesions > 0).astype(np.uint8),
        "label-CMB_probseg": scan.probability.astype(np.float32),
        "desc-preproc_T2starw": scan.t2star,
        "desc-brain_mask": scan.brain.astype(np.uint8),
        "seg-regions_dseg": scan.regions.astype(np.uint8),
    }
    if with_sheets:
        images["seg-MARS_dseg"] = scan.places.astype(np.uint8)
        for name in ("MARS", "BOMBS"):
            (anat / f"{prefix}_space-T2starw_seg-{name}_dseg.tsv").write_text("index\tname\n")
            (anat / f"{prefix}_space-T2starw_seg-{name}_dseg.json").write_text(json.dumps({"Description": "x"}))
    for name, data in images.items():
        path = anat / f"{prefix}_space-T2starw_{name}.nii.gz"
        path.write_bytes(gzip.compress(nib.Nifti1Image(data, scan.affine).to_bytes(), mtime=0))
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text(
            json.dumps({"Description": "automatic", "SpatialReference": "bids:raw:x", "Sources": ["bids:raw:x"]})
        )
    for space, affine in (("T1w", np.diag([2.0, 2, 2, 1])), ("MNI152NLin2009aSym", np.diag([1.0, 1, 1, 1]))):
        moved = affine.copy()
        moved[:3, 3] = (-16, -18, -18)
        for name in ("seg-CMB_dseg", "label-CMB_mask"):
            data = np.zeros((34, 36, 36), np.uint8)
            data[10:12, 10:12, 10] = 1
            data[20:22, 10:12, 10] = 1 if name == "label-CMB_mask" else 2
            nib.save(nib.Nifti1Image(data, moved), anat / f"{prefix}_space-{space}_{name}.nii.gz")
            (anat / f"{prefix}_space-{space}_{name}.json").write_text(json.dumps({"Description": "automatic"}))
    for name, rows, columns in (
        ("seg-CMB_dseg", automatic.lesion_rows, LESION_COLUMNS),
        ("seg-CMBcandidates_dseg", automatic.candidate_rows, CANDIDATE_COLUMNS),
    ):
        lines = ["\t".join(columns), *("\t".join(row[c] for c in columns) for row in rows)]
        (anat / f"{prefix}_space-T2starw_{name}.tsv").write_text("\n".join(lines) + "\n")
    check = {"similarity": 1.1, "overlap": 0.97, "passed": True, "transform": np.eye(4).tolist()}
    summary = {
        "settings": {"detection": {"ratio_threshold": 1.2, "ratio_threshold_deep_gm": 1.4}},
        "anatomy": {"registration": dict.fromkeys(("t1w_to_t2star", "t2w_to_t2star"), check)},
        "detection": {"n_lesions": len(automatic.lesion_rows)},
        "missing_contrasts": ["T2w", "T1w"],
    }
    (out / "logs" / f"{prefix}_summary.json").write_text(json.dumps(summary))
    (out / "logs" / f"{prefix}_done.json").write_text("{}")
    return anat


def write_review(path, out, judgements, reader="R"):
    """Write judgements as the report exports them, of the results that are in the folder."""
    from mbseg_bids.reports.session_files import SessionFiles
    from mbseg_bids.review.table import COLUMNS

    lines = ["\t".join(COLUMNS)]
    for j in judgements:
        session = f"ses-{j.key.session}" if j.key.session else "n/a"
        voxel = j.voxel or ("n/a",) * 3
        mm = (AFFINE @ [*j.voxel, 1])[:3] if j.voxel else ("n/a",) * 3
        cells = [f"sub-{j.key.participant}", session, SessionFiles(out, j.key).result_hash(), j.item, j.kind]
        cells += [j.decision or "n/a", j.note or "n/a", *voxel, *mm, "n/a", "n/a", "n/a", reader, j.time]
        lines.append("\t".join(map(str, cells)))
    path.write_text("\n".join(lines) + "\n")
    return path
