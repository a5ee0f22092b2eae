"""Simulated microbleeds planted in real scans: what is found of them, and what is found that was not planted.

    python scripts/planted.py OUTPUT_DIR [--lesions 30] [--repetitions 5] [--seed 0] [--markdown FILE]

OUTPUT_DIR is of ``mbseg-bids`` on scans without known microbleeds. Anatomy, contrast, noise, vessels and artefacts are
real; only the signal lost about the planted sources is simulated (``mbseg_bids.simulation.rendering``). Half-real
figures: better than a simulated head at telling how a network copes with a scanner, no substitute for labelled scans.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from mbseg_bids.detection.classify import classifier
from mbseg_bids.detection.lesions import segment_lesions
from mbseg_bids.detection.outward_search import search_outwards
from mbseg_bids.detection.search_mask import search_region
from mbseg_bids.detection.second_look import load_second_look
from mbseg_bids.detection.weights import load_weights
from mbseg_bids.evaluation.lesion import match_lesions
from mbseg_bids.imaging.grids import Grid, detection_grid, to_detection_grid
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.learning.derivatives import ScanFiles
from mbseg_bids.learning.labelled import LabelledCase, read_case
from mbseg_bids.settings import DetectionSettings
from mbseg_bids.simulation.lesions import block_truth, draw_microbleed
from mbseg_bids.simulation.rendering import render

APART = 9.0
"""mm between planted lesions."""


@dataclass
class Count:
    """What came of the planted lesions of one scan, all repetitions together."""

    planted: int = 0
    found: int = 0
    false: int = 0


def main() -> None:
    """Plant, detect and count in every session of an output folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("--lesions", type=int, default=30)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--echo-time", type=float, default=25.0, help="ms, of the dephasing that is planted")
    parser.add_argument("--field-strength", type=float, default=3.0, help="tesla")
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    lines = ["| scan | second look | planted | found | not planted, a scan |", "|---|---|---|---|---|"]
    for scan in scans(args.output_dir):
        case, grid, regions = read(scan)
        counts = {"yes": Count(), "no": Count()}
        for repetition in range(args.repetitions):
            stack, truth = plant(case, grid, regions, args, np.random.default_rng([args.seed, repetition]))
            for look, found in detect(case, stack, regions, grid).items():
                matches = match_lesions(truth, found, case.spacing)
                counts[look].planted += len(matches.truth)
                counts[look].found += len(matches.detected)
                counts[look].false += len(matches.predicted) - len(matches.correct)
        for look, count in counts.items():
            share = count.found / max(count.planted, 1)
            found, false = f"{count.found} ({share:.0%})", f"{count.false / args.repetitions:.1f}"
            lines.append(f"| {scan.name} | {look} | {count.planted} | {found} | {false} |")
            print(lines[-1], flush=True)
    if args.markdown:
        args.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


def scans(output_dir: Path) -> list[ScanFiles]:
    """Return every session of an output folder, as a scan without labels."""
    found = []
    for t2star in sorted(output_dir.glob("sub-*/**/*_space-T2starw_desc-preproc_T2starw.nii.gz")):
        stem = t2star.name.removesuffix("_space-T2starw_desc-preproc_T2starw.nii.gz")
        entities = dict(part.split("-", 1) for part in stem.split("_") if "-" in part)

        def beside(ending: str, folder: Path = t2star.parent, stem: str = stem) -> Path | None:
            path = folder / f"{stem}_space-T2starw_{ending}.nii.gz"
            return path if path.is_file() else None

        found.append(
            ScanFiles(
                entities["sub"],
                entities.get("ses", ""),
                t2star,
                beside("desc-brain_mask"),
                beside("seg-regions_dseg"),
                beside("desc-preproc_T2w"),
                beside("desc-preproc_T1w"),
                None,
            )
        )
    return found


def read(scan: ScanFiles) -> tuple[LabelledCase, Grid, npt.NDArray[np.int32]]:
    """Return a scan on its detection grid, with its regions."""
    image = nib.load(scan.t2star)
    grid = detection_grid(image.shape[:3], image.affine)
    regions = nib.load(scan.regions)
    native = Volume(np.asanyarray(regions.dataobj), regions.affine)
    return read_case(scan), grid, to_detection_grid(native, grid, order=0).data.astype(np.int32)


def plant(
    case: LabelledCase, grid: Grid, regions: npt.NDArray[np.int32], args: argparse.Namespace, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Return the stack with microbleeds in it, and their truth."""
    stack, truth = case.stack.copy(), np.zeros(case.brain.shape, np.int32)
    places = np.argwhere(ndimage.binary_erosion(case.brain, iterations=2) & (regions > 0))
    centres: list[npt.NDArray] = []
    for voxel in rng.permutation(places):
        centre = grid.affine[:3, :3] @ (voxel + rng.uniform(-0.5, 0.5, 3)) + grid.affine[:3, 3]
        if centres and np.linalg.norm(np.array(centres) - centre, axis=1).min() < APART:
            continue
        centres.append(centre)
        feature = draw_microbleed(centre, rng)
        patch = render(
            feature.sources, grid.affine, grid.shape, echo_time=args.echo_time, field_strength=args.field_strength
        )
        stack[0][patch.box] *= np.abs(patch.ratio)
        for channel, signal in ((1, feature.t2w), (2, feature.t1w)):
            stack[channel][patch.box] *= 1 - patch.occupancy * (1 - signal)
        visible = block_truth(patch, 1)
        truth[patch.box][visible] = len(centres)
        if len(centres) == args.lesions:
            break
    return stack, truth


def detect(
    case: LabelledCase, stack: npt.NDArray[np.float32], regions: npt.NDArray[np.int32], grid: Grid
) -> dict[str, npt.NDArray[np.int32]]:
    """Return the lesions found in a stack, with criteria and second look (``yes``) and without."""
    settings = DetectionSettings()
    model, metadata = load_weights()
    mask, seeds = search_region(stack[0], case.brain, case.tissue, case.spacing, settings)
    torch.set_num_threads(1)
    probability = search_outwards(mask, seeds, classifier(model, metadata, stack, n_workers=2), settings.followed)[0]
    arguments = (stack, probability, case.brain, regions, case.spacing, grid.affine)
    paper = replace(settings, reader_criteria=False)
    return {
        name: segment_lesions(*arguments, chosen, tissue=case.tissue, second_look=look).lesions
        for name, chosen, look in (("yes", settings, load_second_look()), ("no", paper, None))
    }


if __name__ == "__main__":
    main()
