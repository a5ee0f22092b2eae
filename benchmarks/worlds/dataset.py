"""Write a BIDS dataset of simulated participants, and its truth as a derivative tree that ``mbseg evaluate`` reads."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.worlds.acquire import save
from benchmarks.worlds.heads import Anatomy, load_freesurfer, load_icbm, load_labelmap
from benchmarks.worlds.scan import T1W_ECHO_TIME, T2W_ECHO_TIME, Scan, simulate

HELD_OUT_LABELMAPS = ("labelmap_12.nii.gz", "labelmap_13.nii.gz", "labelmap_14.nii.gz")
"""Those of the label maps that no network of the project was trained on."""
LESIONS = (5, 25)
"""Fewest and most microbleeds of a scan that has any."""
TRUTH = Path("derivatives", "truth")
LOCK = 0x10CED
"""Mixed into the seed of a locked set, so that no scan of it equals one of a set made before."""
README = """Simulated heads with known microbleeds, made by benchmarks/worlds of mbseg_bids.

No person was scanned. The scans serve to try the App on; nothing may be trained, fitted or chosen on them.
The truth is in derivatives/truth: `mbseg evaluate derivatives/truth RESULT`.
"""
COLUMNS = {
    "index": "Number of the lesion in the label map",
    "name": "Name of the lesion",
    "region": "Region of the voxel that the lesion was planted in",
    "n_voxels": "Voxels of the native T2* grid below 0.7 of the signal without the lesion, both without noise",
    "volume_mm3": "Their volume",
    "x_mm": "Centre of the haemosiderin, scanner RAS+",
    "y_mm": "Centre of the haemosiderin, scanner RAS+",
    "z_mm": "Centre of the haemosiderin, scanner RAS+",
    "susceptibility_ppm": "Mean susceptibility within the haemosiderin, difference from water",
    "drawn_volume_mm3": "Volume that it would show at 2.2 T and 25 ms",
}


@dataclass(frozen=True)
class Plan:
    """What one participant gets."""

    participant: str
    head: int
    n_lesions: int
    thick: bool
    seed: np.random.SeedSequence


def head_loaders(freesurfer: Path, labelmaps: Path, cerebra: Path | None) -> list[Callable[[], Anatomy]]:
    """Return what reads each anatomy (once); the ICBM152 head only where the atlas of its nuclei is given."""
    loaders: list[Callable[[], Anatomy]] = [partial(load_freesurfer, freesurfer)]
    loaders += [partial(load_labelmap, labelmaps / name) for name in HELD_OUT_LABELMAPS]
    if cerebra:
        loaders.append(partial(load_icbm, cerebra))
    return [cache(loader) for loader in loaders]


def plan_scans(n: int, seed: int, n_heads: int, locked: bool = False) -> list[Plan]:
    """Return what each of ``n`` participants gets: lesions in half of them, thick slices in a third, heads in turn."""
    root = np.random.SeedSequence([seed, LOCK] if locked else [seed])
    order, *seeds = root.spawn(n + 1)
    rng = np.random.default_rng(order)
    heads = [int(h) for _ in range(n // n_heads + 1) for h in rng.permutation(n_heads)]
    kinds = [(i % 2 == 0, i % 3 == 0) for i in range(n)]
    plans = []
    for i, place in enumerate(rng.permutation(n)):
        with_lesions, thick = kinds[place]
        count = int(rng.integers(LESIONS[0], LESIONS[1] + 1)) if with_lesions else 0
        plans.append(Plan(f"{'locked' if locked else 'world'}{i + 1:02d}", heads[i], count, thick, seeds[i]))
    return plans


def write_dataset(
    out: Path,
    heads: Sequence[Callable[[], Anatomy]],
    plans: list[Plan],
    progress: Callable[[str, Scan], None] | None = None,
) -> None:
    """Simulate and write every participant; those whose truth is there already are left as they are.

    Parameters
    ----------
    out
        Folder of the dataset.
    heads, plans
        From :func:`head_loaders` and :func:`plan_scans`.
    progress
        Called with the participant's label and the scan after each.
    """
    write_descriptions(out)
    for plan in plans:
        if _truth_path(out, plan.participant).exists():
            continue
        scan = simulate(heads[plan.head](), plan.seed, plan.n_lesions, plan.thick)
        write_scan(out, plan.participant, scan)
        if progress:
            progress(plan.participant, scan)


def write_descriptions(out: Path) -> None:
    """Write what BIDS asks of the dataset and of the tree of its truth."""
    common = {"BIDSVersion": "1.10.0", "License": "CC0"}
    raw = {"Name": "Simulated heads with microbleeds (worlds)", "DatasetType": "raw"}
    derived = {
        "Name": "Truth of the simulated microbleeds",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "benchmarks.worlds"}],
    }
    for folder, description in ((out, raw), (out / TRUTH, derived)):
        folder.mkdir(parents=True, exist_ok=True)
        _write_json(folder / "dataset_description.json", description | common)
        (folder / "README").write_text(README)


def write_scan(out: Path, participant: str, scan: Scan) -> None:
    """Write the images of a participant with their sidecars, and the truth last."""
    stem = f"sub-{participant}"
    folder = out / stem / "anat"
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, image in (("T1w", scan.t1w), ("T2w", scan.t2w), ("T2starw", scan.t2star)):
        save(folder / f"{stem}_{suffix}.nii.gz", image.data, image.affine)
        _write_json(folder / f"{stem}_{suffix}.json", sidecar(scan, suffix))
    truth = _truth_path(out, participant)
    truth.parent.mkdir(parents=True, exist_ok=True)
    table = truth.with_name(truth.name.removesuffix(".nii.gz") + ".tsv")
    rows = ["\t".join(COLUMNS), *("\t".join(str(v) for v in row) for row in lesion_rows(scan))]
    table.write_text("\n".join(rows) + "\n")
    columns = {name: {"Description": text} for name, text in COLUMNS.items()}
    _write_json(table.with_suffix(".json"), columns | {"Invisible": len(scan.hidden), "Head": scan.head})
    save(truth, scan.truth.data, scan.truth.affine)


def lesion_rows(scan: Scan) -> Iterator[tuple[Any, ...]]:
    """Return the rows of the lesion table, columns as in ``COLUMNS``."""
    sizes = np.bincount(scan.truth.data.ravel(), minlength=len(scan.lesions) + 1)
    voxel = float(abs(np.linalg.det(scan.truth.affine[:3, :3])))
    for number, lesion in enumerate(scan.lesions, start=1):
        x, y, z = scan.to_world[:3, :3] @ lesion.centre + scan.to_world[:3, 3]
        yield (
            number, f"CMB-{number:03d}", lesion.region, int(sizes[number]), round(sizes[number] * voxel, 3),
            round(x, 2), round(y, 2), round(z, 2), round(lesion.chi, 3), round(lesion.volume, 2),
        )  # fmt: skip


def sidecar(scan: Scan, suffix: str) -> dict[str, Any]:
    """Return the BIDS metadata of an image."""
    protocol = scan.protocol
    slices, echo, kind, technique = {
        "T1w": (protocol.t1w, T1W_ECHO_TIME, "3D", "GR"),
        "T2w": (protocol.t2w, T2W_ECHO_TIME, "2D" if protocol.t2w.thickness > 2 else "3D", "SE"),
        "T2starw": (protocol.t2star, protocol.echo_time, "2D" if protocol.t2star.thickness > 2 else "3D", "GR"),
    }[suffix]
    return {
        "Modality": "MR",
        "MagneticFieldStrength": protocol.b0,
        "EchoTime": round(float(echo), 5),
        "SliceThickness": round(float(slices.thickness), 3),
        "SpacingBetweenSlices": round(float(slices.spacing), 3),
        "MRAcquisitionType": kind,
        "ScanningSequence": technique,
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "SIMULATED"],
        "Manufacturer": "Simulated",
    }


def write_checksums(out: Path) -> Path:
    """Write the SHA-256 of every image and table of a locked set, so that a later change shows."""
    path = out / "checksums.sha256"
    files: Iterable[Path] = sorted(p for p in out.rglob("*") if p.is_file() and p != path)
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(out).as_posix()}" for p in files]
    path.write_text("\n".join(lines) + "\n")
    return path


def _truth_path(out: Path, participant: str) -> Path:
    stem = f"sub-{participant}"
    return out / TRUTH / stem / "anat" / f"{stem}_space-T2starw_seg-CMB_dseg.nii.gz"


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
