"""An output directory as a run would leave it, made of a few ellipsoids."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

SHAPE, SPACING = (72, 90, 24), (2.0, 2.0, 5.0)
LESIONS_MM = {1: (-40.0, 10.0, 5.0), 2: (30.0, -30.0, 20.0), 3: (10.0, 0.0, 0.0)}
"""Centre of each lesion, RAS+ mm: the first is on the patient's left."""
LESION_REGIONS = {1: "cortical_gm", 2: "cerebral_wm", 3: "deep_gm"}
LESION_COLUMNS = (
    *("index", "name", "region", "volume_mm3", "n_voxels", "diameter_mm", "size_class", "i", "j", "k"),
    *("x_mm", "y_mm", "z_mm", "n_slices", "probability_mean", "probability_max", "contrast_ratio"),
    *("ratio_threshold", "flags"),
)
LEFT_MARKER_MM = (-50.0, 0.0, 0.0)
"""A bright ball on the patient's left in T1w and T2*."""


@dataclass
class Fake:
    """Arrays with axes Right, Anterior, Superior."""

    affine: np.ndarray
    images: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]


@cache
def fake_arrays(shape=SHAPE, spacing=SPACING) -> Fake:
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -(np.array(shape) - 1) / 2 * spacing
    grid = np.indices(shape).reshape(3, -1)
    mm = (affine[:3, :3] @ grid + affine[:3, 3:]).reshape(3, *shape)

    def ball(centre, radii):
        return sum(((mm[a] - centre[a]) / radii[a]) ** 2 for a in range(3)) <= 1

    head, brain = ball((0, 0, 0), (68, 85, 58)), ball((0, 0, 0), (60, 75, 50))
    white, deep = ball((0, 0, 5), (48, 62, 36)), ball((0, 0, 0), (20, 26, 14))
    csf = ball((-8, 0, 8), (5, 22, 9)) | ball((8, 0, 8), (5, 22, 9))
    cerebellum = ball((0, -45, -30), (35, 20, 14)) & brain
    marker = ball(LEFT_MARKER_MM, (4, 4, 6))
    lesions = np.zeros(shape, np.int16)
    for label, centre in LESIONS_MM.items():
        lesions[ball(centre, (2.5, 2.5, 4.0))] = label
    regions = np.zeros(shape, np.int16)
    for label, mask in ((1, brain), (3, white), (2, deep), (4, cerebellum)):
        regions[mask] = label
    regions[csf] = 0
    images = {}
    for name, (skin, grey, wm, fluid) in {
        "T2starw": (20, 62, 55, 85),
        "T2w": (15, 60, 45, 98),
        "T1w": (50, 55, 85, 20),
    }.items():
        image = np.zeros(shape, np.float32)
        for value, mask in ((skin, head), (grey, brain), (wm, white), (grey, deep), (fluid, csf)):
            image[mask] = value
        images[name] = image
    for name in ("T2starw", "T1w"):
        images[name][marker] = 99
    images["T2starw"][lesions > 0] = 12
    noise = np.random.default_rng(1).normal(0, 2, shape).astype(np.float32)
    images = {name: np.clip(image + noise * (image > 0), 0, 100) for name, image in images.items()}
    labels = {"brain": brain.astype(np.int16), "regions": regions, "lesions": lesions, "candidates": lesions.copy()}
    labels["candidates"][ball((-20, 40, 10), (2, 2, 4))] = 4
    return Fake(affine, images, labels)


def oriented(array: np.ndarray, affine: np.ndarray, axcodes: str = "RAS", tilt: float = 0.0) -> nib.Nifti1Image:
    """Return the array in another voxel order, the world turned about the vertical axis by ``tilt`` degrees."""
    image = nib.Nifti1Image(array, affine)
    wanted = nib.orientations.axcodes2ornt(tuple(axcodes))
    image = image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(affine), wanted))
    angle = np.deg2rad(tilt)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return nib.Nifti1Image(np.asarray(image.dataobj), turn @ image.affine)


def fake_summary(participant: str, session: str = "", **changes: Any) -> dict[str, Any]:
    name = f"sub-{participant}" + (f"_ses-{session}" if session else "")
    folder = f"sub-{participant}/" + (f"ses-{session}/" if session else "") + "anat"
    check = {"similarity": 0.61, "overlap": 0.97, "passed": True, "retried": False}
    return {
        "participant": participant,
        "session": session or None,
        "inputs": {
            contrast: {
                "path": f"{folder}/{name}_{contrast}.nii.gz",
                "reason": "the only one of its kind",
                "shape": list(SHAPE),
                "spacing": list(SPACING),
                "metadata": {"EchoTime": 0.02, "MagneticFieldStrength": 3, "SliceThickness": 5.0},
            }
            for contrast in ("T2starw", "T2w", "T1w")
        },
        "settings": {"detection": {"ratio_threshold": 1.2, "weights": "default"}},
        "anatomy": {
            "registration": {n: dict(check) for n in ("t1w_to_t2star", "t2w_to_t2star", "t1w_to_template")},
            "reuse": {},
            "warnings": [],
            "region_ml": {"cortical_gm": 498.4, "deep_gm": 46.0},
            "memory_gb": {"registration": 5.23, "n4": None},
        },
        "detection": {
            "n_lesions": 3,
            "search": {"n_searched_voxels": 5120, "highest_probability": 0.99},
            "weights": {"name": "first", "sha256": "ab" * 32, "input_size": 64},
            "warnings": [],
        },
        "warnings": [],
        "software": {"mbseg-bids": "0.1.0", "torch": "2.13.0"},
        "durations": {"anatomy": {"n4": 12.5, "registration": 140.0}, "detection": {"classification": 61.0}},
    } | changes


def lesion_rows(fake: Fake, probability: float = 0.93) -> list[dict[str, Any]]:
    rows = []
    for label, region in LESION_REGIONS.items():
        voxels = np.argwhere(fake.labels["lesions"] == label)
        if not len(voxels):
            continue
        volume = len(voxels) * abs(np.linalg.det(fake.affine[:3, :3]))
        i, j, k = voxels.mean(axis=0).round().astype(int)
        x, y, z = LESIONS_MM[label]
        rows.append(
            {"index": label, "name": f"CMB-{label:03d}", "region": region, "volume_mm3": round(volume, 2)}
            | {"n_voxels": len(voxels), "diameter_mm": round((6 * volume / np.pi) ** (1 / 3), 2), "size_class": "large"}
            | {"i": i, "j": j, "k": k, "x_mm": x, "y_mm": y, "z_mm": z, "n_slices": 2, "probability_mean": 0.8}
            | {"probability_max": probability, "contrast_ratio": 3.9, "ratio_threshold": 1.2, "flags": "n/a"}
        )
    return rows


def write_session(
    output_dir: Path,
    participant: str = "01",
    session: str = "",
    *,
    axcodes: str = "RAS",
    tilt: float = 0.0,
    summary: dict[str, Any] | None = None,
    rows: list[dict[str, Any]] | None = None,
    images: bool = True,
    grid: tuple[tuple[int, ...], tuple[float, ...]] = (SHAPE, SPACING),
) -> Path:
    """Write one session; return its ``anat`` folder."""
    fake = fake_arrays(*grid)
    prefix = f"sub-{participant}" + (f"_ses-{session}" if session else "")
    anat = output_dir / f"sub-{participant}" / (f"ses-{session}" if session else "") / "anat"
    anat.mkdir(parents=True, exist_ok=True)
    (output_dir / "logs").mkdir(exist_ok=True)
    summary = fake_summary(participant, session) if summary is None else summary
    (output_dir / "logs" / f"{prefix}_summary.json").write_text(json.dumps(summary))
    (output_dir / "logs" / f"{prefix}_done.json").write_text("{}")
    rows = lesion_rows(fake) if rows is None else rows
    columns = [*LESION_COLUMNS, *(key for key in (rows[0] if rows else ()) if key not in LESION_COLUMNS)]
    pd.DataFrame(rows, columns=columns).to_csv(
        anat / f"{prefix}_space-T2starw_seg-CMB_dseg.tsv", sep="\t", index=False, na_rep="n/a"
    )
    kept = [{"status": "kept", "reason": "n/a"} | row for row in rows]
    lost = {"index": 4, "name": "candidate-004", "status": "rejected", "reason": "intensity_ratio"}
    lost |= {"region": "cerebral_wm", "volume_mm3": 20.0, "flags": "n/a"}
    pd.DataFrame([*kept, lost]).to_csv(
        anat / f"{prefix}_space-T2starw_seg-CMBcandidates_dseg.tsv", sep="\t", index=False, na_rep="n/a"
    )
    if images:
        named = {f"space-T2starw_desc-preproc_{n}": a for n, a in fake.images.items()}
        named |= {
            "space-T2starw_desc-brain_mask": fake.labels["brain"],
            "space-T2starw_seg-regions_dseg": fake.labels["regions"],
            "space-T2starw_seg-CMB_dseg": fake.labels["lesions"],
            "space-T2starw_seg-CMBcandidates_dseg": fake.labels["candidates"],
        }
        for name, array in named.items():
            nib.save(oriented(array, fake.affine, axcodes, tilt), anat / f"{prefix}_{name}.nii.gz")
    return anat
