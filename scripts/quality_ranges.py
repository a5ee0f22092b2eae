"""Measure the quality of training scans and write the ranges that a user's scan is compared with.

    python scripts/quality_ranges.py WORK [--scale cpu] [--jobs 2]

WORK is that of ``scripts/make_weights.py`` after its steps ``scans`` and ``detect``: simulated scans of the training
anatomies, made from label maps by the wide simulator (parts ``train`` and ``look``), and what the network said of a
slab of each scan of the part ``look``. Image measures are those of the whole scan; search mask and probabilities those
of the slab. Voxel sizes, echo times and field strengths are those of protocols drawn from the simulator. Written to
``mbseg_bids/data/quality_ranges.json``. What was measured on a scan is kept in ``WORK/quality``.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
from recipe import fit
from recipe.plans import SCALES, SETTINGS, plans, scan_file

from mbseg_bids import data
from mbseg_bids.detection.search.mask import search_mask
from mbseg_bids.imaging.labels import CSF
from mbseg_bids.imaging.quality import measure_t2star, shares
from mbseg_bids.imaging.quality_ranges import MEASURES, PROBABILITY_EDGES, search_measures
from mbseg_bids.learning.examples.labelled_scan import load_scan
from mbseg_bids.simulation.protocol import draw_protocol

N_PROTOCOLS, SWI_SHARE = 20_000, 0.2
"""Protocols drawn, as `simulate_training_case` draws them."""
MASK_STEP_MM = 3.0
"""Distance of the slices that the search mask is measured on: it is found in each slice alone."""


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    planned = plans(SCALES[args.scale], "train", "look")
    names = sorted(plan.name for plan in planned if not plan.narrow and plan.path(args.work).is_file())
    asked = [name for name in names if fit.probability_file(args.work, name).is_file()]
    with ProcessPoolExecutor(args.jobs) as pool:
        measured = list(pool.map(measure_image, repeat(args.work), names))
        measured += pool.map(measure_search, repeat(args.work), asked)
    ranges = {name: spread([m[name] for m in measured if m.get(name) is not None]) for name in MEASURES}
    ranges |= protocol_ranges()
    shipped = json.loads(data.WEIGHTS_MANIFEST.read_text(encoding="utf-8"))
    content = {
        "made_by": "scripts/quality_ranges.py",
        "scans": f"{len(names)} whole scans, of {len(asked)} of them a slab of {fit.SLAB_MM:g} mm for search mask and "
        "network; simulated for training by the wide simulator (docs/simulation.md) from the label maps of the "
        "training anatomies 1 to 9, with 0 to 69 microbleeds placed. No scan of a person.",
        "protocols": f"{N_PROTOCOLS} drawn from the same simulator",
        "range": "lowest and highest",
        "weights": {key: shipped["weights"][shipped["default"]][key] for key in ("file", "sha256")},
        "names": names,
        "measures": {name: ranges[name] for name in MEASURES if ranges.get(name)},
    }
    data.QUALITY_RANGES.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for name, found in content["measures"].items():
        print(f"{name:28s}", found)


def measure_image(work: Path, name: str) -> dict[str, float | None]:
    """Return the measures of the whole scan, without the network."""
    kept = work / "quality" / f"{name}_image.json"
    if not kept.is_file():
        scan = load_scan(scan_file(work, name))
        _keep(kept, measure_t2star(scan.stack[0], scan.brain, scan.regions, scan.spacing))
    return json.loads(kept.read_text())


def measure_search(work: Path, name: str) -> dict[str, float | None]:
    """Return what search and network said of a slab."""
    kept = work / "quality" / f"{name}_search.json"
    if not kept.is_file():
        scan, probability = fit.read(work, name)
        asked, brain = probability > 0, scan.brain & fit.slab(scan)
        found = search_measures(
            {
                "n_brain_voxels": int(brain.sum()),
                "n_searched_voxels": int(asked.sum()),
                "probability_histogram": shares(probability[asked], PROBABILITY_EDGES),
            }
        )
        step = max(1, round(MASK_STEP_MM / scan.spacing[2]))
        some = np.zeros_like(brain)
        some[..., ::step] = brain[..., ::step]
        mask = search_mask(
            scan.stack[0],
            some,
            scan.tissue == CSF,
            spacing=scan.spacing,
            quotient=min(SETTINGS.search_quotient, SETTINGS.ratio_threshold),
            ratio_threshold=min(SETTINGS.ratio_threshold, SETTINGS.ratio_threshold_deep_gm),
        )
        _keep(kept, found | {"dark_share": float(mask.sum() / some.sum())})
    return json.loads(kept.read_text())


def _keep(path: Path, found: dict[str, float | None]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found))
    print(path.stem, {name: round(value, 4) for name, value in found.items() if value is not None}, flush=True)


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
