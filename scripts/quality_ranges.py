"""Measure the quality of training scans and write the ranges that a user's scan is compared with.

    python scripts/quality_ranges.py SCANS [--scale cpu] [--jobs 2] [--slab-mm 20]

SCANS holds whole simulated scans of the training anatomies (the parts ``train`` and ``look``), as the step ``scans`` of
``scripts/make_weights.py`` makes them from label maps with the wide simulator. Measures of the image
are those of the whole scan. Of each scan of the part ``look`` a slab, chosen by the scan's name, is searched as a run
does.
Voxel sizes, echo times and field strengths are those of protocols drawn from the simulator. Written to
``mbseg_bids/data/quality_ranges.json``. What was measured on a scan is kept in ``--keep`` and not measured again.
"""

import argparse
import hashlib
import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from recipe.plans import SCALES, plans

from mbseg_bids import data
from mbseg_bids.detection.network.classify import classifier
from mbseg_bids.detection.search.region_growing import search_outwards
from mbseg_bids.detection.search.mask import search_region
from mbseg_bids.detection.network.weights import load_weights
from mbseg_bids.imaging.quality import measure_t2star, shares
from mbseg_bids.imaging.quality_ranges import MEASURES, PROBABILITY_EDGES, search_measures
from mbseg_bids.learning.examples.labelled_scan import LabelledScan, load_scan
from mbseg_bids.settings import DetectionSettings
from mbseg_bids.simulation.protocol import draw_protocol

RANGES = Path(data.__file__).parent / "quality_ranges.json"
N_PROTOCOLS, SWI_SHARE = 20_000, 0.2
"""Protocols drawn, as `simulate_training_case` draws them."""
SETTINGS = DetectionSettings()


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", type=Path)
    parser.add_argument("--keep", type=Path, default=Path("quality_measures"))
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--slab-mm", type=float, default=20.0)
    args = parser.parse_args()
    args.keep.mkdir(parents=True, exist_ok=True)
    planned = (args.scans / f"{plan.name}.npz" for plan in plans(SCALES[args.scale], "train", "look"))
    files = sorted(path for path in planned if path.is_file())
    asked = [path for path in files if path.stem.startswith("look")]
    with ProcessPoolExecutor(args.jobs) as pool:
        measured = list(pool.map(partial(measure_image, keep=args.keep), files))
        measured += pool.map(partial(measure_search, keep=args.keep, slab_mm=args.slab_mm), asked)
    ranges = {name: spread([m[name] for m in measured if m.get(name) is not None]) for name in MEASURES}
    ranges |= protocol_ranges()
    shipped = json.loads(data.WEIGHTS_MANIFEST.read_text(encoding="utf-8"))
    content = {
        "made_by": f"scripts/quality_ranges.py, {len(files)} scans, slabs of {args.slab_mm:g} mm of {len(asked)} for the network",
        "scans": "Simulated for training by the wide simulator (docs/simulation.md), one head each from the label maps "
        "of the training anatomies 1 to 9, with 0 to 69 microbleeds placed. No scan of a person.",
        "protocols": f"{N_PROTOCOLS} drawn from the same simulator",
        "range": "lowest and highest of the scans",
        "weights": {key: shipped["weights"][shipped["default"]][key] for key in ("file", "sha256")},
        "names": [path.stem for path in files],
        "measures": {name: ranges[name] for name in MEASURES if ranges.get(name)},
    }
    RANGES.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for name, found in content["measures"].items():
        print(f"{name:28s}", found)


def measure_image(path: Path, keep: Path) -> dict[str, float | None]:
    """Return the measures of the whole scan, without the network."""
    kept = keep / f"{path.stem}_image.json"
    if not kept.is_file():
        scan = load_scan(path)
        _keep(kept, measure_t2star(scan.stack[0], scan.brain, scan.regions, scan.spacing))
    return json.loads(kept.read_text())


def measure_search(path: Path, keep: Path, slab_mm: float) -> dict[str, float | None]:
    """Return what the network says of a slab."""
    kept = keep / f"{path.stem}_search.json"
    if not kept.is_file():
        torch.set_num_threads(1)
        scan = load_scan(path)
        brain = scan.brain & slab(scan, slab_mm)
        mask, seeds = search_region(scan.stack[0], brain, scan.tissue, scan.spacing, SETTINGS)
        model, weights = load_weights("default")
        ask = classifier(model, weights, scan.stack, device="cpu", n_workers=1, exact_from=SETTINGS.followed)
        probability, asked = search_outwards(mask, seeds, ask, SETTINGS.followed)
        search = {name: int(m.sum()) for name, m in (("brain", brain), ("mask", mask), ("searched", asked))}
        search = {f"n_{name}_voxels": n for name, n in search.items()}
        search["probability_histogram"] = shares(probability[asked], PROBABILITY_EDGES)
        _keep(kept, search_measures(search))
    return json.loads(kept.read_text())


def _keep(path: Path, found: dict[str, float | None]) -> None:
    path.write_text(json.dumps(found))
    print(path.stem, {name: round(value, 4) for name, value in found.items() if value is not None}, flush=True)


def slab(scan: LabelledScan, height_mm: float) -> np.ndarray:
    """Return the slices of a slab of the brain, shape (1, 1, K), chosen by the scan's name."""
    brain = np.flatnonzero(scan.brain.any(axis=(0, 1)))
    height = max(1, round(height_mm / scan.spacing[2]))
    seed = int.from_bytes(hashlib.sha256(scan.name.encode()).digest()[:8], "big")
    start = int(np.random.default_rng(seed).integers(brain[0], max(brain[0], brain[-1] - height + 1) + 1))
    inside = np.zeros((1, 1, scan.brain.shape[2]), bool)
    inside[..., start : start + height] = True
    return inside


def protocol_ranges() -> dict[str, dict[str, float]]:
    """Return the ranges of what a header tells."""
    rng = np.random.default_rng(0)
    drawn = [draw_protocol(rng, wide=True, swi_share=SWI_SHARE) for _ in range(N_PROTOCOLS)]
    return {
        "t2star_voxel_size_in_plane": spread([p.spacing[0] for p in drawn]),
        "t2star_slice_spacing": spread([p.spacing[2] for p in drawn]),
        "t2star_echo_time": spread([p.echo_time / 1000 for p in drawn]),
        "t2star_field_strength": spread([p.field_strength for p in drawn]),
    }


def spread(values: list[float]) -> dict[str, float]:
    """Return the lowest, the middle and the highest value and how many there are, rounded outwards a little."""
    if not values:
        return {}
    low, median, high = (float(f"{v:.3g}") for v in (min(values), float(np.median(values)), max(values)))
    step = 10.0 ** (np.floor(np.log10(max(abs(low), abs(high), 1e-12))) - 2)
    low = low - step if low > min(values) else low
    high = high + step if high < max(values) else high
    return {"low": float(f"{low:.3g}"), "median": median, "high": float(f"{high:.3g}"), "n": len(values)}


if __name__ == "__main__":
    main()
