"""Planted microbleeds, of known truth: in real scans, whose own dark places are none, and again in simulated ones."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.detection.search.mask import search_region
from mbseg_bids.imaging.grids import Grid, detection_grid, to_detection_grid
from mbseg_bids.imaging.labels import GM, WM
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.learning.examples.derivatives import ScanFiles
from mbseg_bids.learning.examples.labelled import LabelledCase, read_case
from mbseg_bids.learning.examples.labelled_scan import LabelledScan, load_scan, save_scan
from mbseg_bids.simulation.case import Case
from mbseg_bids.simulation.lesions import block_truth, draw_microbleed
from mbseg_bids.simulation.mimics import IGNORED_MIMICS
from mbseg_bids.simulation.rendering import render
from recipe.output_scans import scans
from recipe.plans import SETTINGS, Scale, scan_file

FIRST = 101
"""Number of the first real background among the anatomies."""
FIRST_LOOK = 100
"""Number of the first planting that the candidate classifier is fitted to."""
APART = 9.0
"""mm between planted microbleeds."""
N_LESIONS = 25


@dataclass(frozen=True, eq=False)
class Background:
    """A real scan on its detection grid, with its regions."""

    case: LabelledCase | Case
    grid: Grid
    regions: npt.NDArray[np.int32]


def save_backgrounds(work: Path, output_dir: Path, participants: list[str]) -> None:
    """Write the sessions of some participants of an output folder as scans without microbleeds, to plant in."""
    chosen = [scan for scan in scans(output_dir) if scan.participant in participants]
    for number, scan in enumerate(chosen, start=FIRST):
        background = read(scan)
        nothing = np.zeros(background.case.brain.shape, np.uint8)
        made = _as_scan(background, f"real_{number}", background.case.stack, nothing)
        print(save_scan(work / "backgrounds", made), scan.name, flush=True)


def about(work: Path) -> str:
    """Return what ``backgrounds/about.txt`` says of the real scans, for the model card; empty where there is none."""
    path = work / "backgrounds" / "about.txt"
    return " ".join(path.read_text(encoding="utf-8").split()) if path.is_file() else ""


def plantings(work: Path, scale: Scale, *parts: str) -> Iterator[tuple[Path, str]]:
    """Yield the background and the name of every scan with planted microbleeds of some parts."""
    repetitions = {"train": range(scale.planted_train), "look": range(FIRST_LOOK, FIRST_LOOK + scale.planted_look)}
    for part in parts:
        for repetition in repetitions[part]:
            for background in sorted((work / "backgrounds").glob("real_*.npz")):
                yield background, f"{background.stem}_{part}-{repetition:03d}"


def plant_scan(work: Path, background: Path, name: str) -> None:
    """Write a scan of :func:`plantings`, unless it is there."""
    if scan_file(work, name).is_file():
        return
    scan = load_scan(background)
    grid = Grid(scan.brain.shape, scan.affine)
    made = plant(Background(scan.as_case(), grid, scan.regions), name, np.random.default_rng([*numbers(name), 9]))
    save_scan(work / "scans", made)
    print(name, int(made.lesions.max()), "planted", flush=True)


def numbers(name: str) -> tuple[int, int]:
    """Return the numbers of background and repetition in the name of a scan with planted microbleeds."""
    return int(name.split("_")[1]), int(name.split("-")[1])


def names(work: Path, part: str) -> list[str]:
    """Return the names of the planted scans of a part."""
    return [path.stem for path in sorted((work / "scans").glob(f"real_*_{part}-*.npz"))]


def read(scan: ScanFiles) -> Background:
    """Return a session of an output folder on its detection grid."""
    image = nib.load(scan.t2star)
    grid = detection_grid(image.shape[:3], image.affine)
    regions = nib.load(scan.regions)
    native = Volume(np.asanyarray(regions.dataobj), regions.affine)
    return Background(read_case(scan), grid, to_detection_grid(native, grid, order=0).data.astype(np.int32))


def plant_again(scan: LabelledScan, rng: np.random.Generator) -> LabelledScan:
    """Return a simulated scan with further microbleeds; only these are examples, its own are ignored.

    To simulate another scan takes ten times as long, and most of what is dark about a microbleed is that of its scan.
    """
    made = plant(Background(scan.as_case(), Grid(scan.brain.shape, scan.affine), scan.regions), scan.name, rng)
    own = (scan.lesions > 0) & (made.lesions == 0)
    return replace(made, mimics=np.where(own, min(IGNORED_MIMICS), scan.mimics).astype(scan.mimics.dtype))


def plant(background: Background, name: str, rng: np.random.Generator) -> LabelledScan:
    """Return the scan with microbleeds where readers would count them, and where nothing dark was before."""
    case, grid = background.case, background.grid
    stack, truth = case.stack.copy(), np.zeros(case.brain.shape, np.int32)
    echo_time, field_strength = float(rng.uniform(18, 35)), float(rng.choice([1.5, 3.0]))
    centres: list[npt.NDArray] = []
    for voxel in rng.permutation(np.argwhere(_places(background))):
        centre = grid.affine[:3, :3] @ (voxel + rng.uniform(-0.5, 0.5, 3)) + grid.affine[:3, 3]
        if centres and np.linalg.norm(np.array(centres) - centre, axis=1).min() < APART:
            continue
        feature = draw_microbleed(centre, rng)
        patch = render(feature.sources, grid.affine, grid.shape, echo_time=echo_time, field_strength=field_strength)
        visible = None if patch is None else block_truth(patch, 1)
        if patch is None or visible is None or not visible.any():
            continue
        centres.append(centre)
        stack[0][patch.box] *= np.abs(patch.ratio)
        for channel, signal in ((1, feature.t2w), (2, feature.t1w)):
            stack[channel][patch.box] *= 1 - patch.occupancy * (1 - signal)
        truth[patch.box][visible] = len(centres)
        if len(centres) == N_LESIONS:
            break
    truth[~case.brain] = 0
    return _as_scan(background, name, stack, truth)


def _as_scan(
    background: Background, name: str, stack: npt.NDArray[np.float32], truth: npt.NDArray[np.integer]
) -> LabelledScan:
    """Return a background as a scan to store, with these contrasts and microbleeds."""
    case = background.case
    levels = np.clip(np.rint(stack * 2.55), 0, 255).astype(np.uint8)
    images = {"lesions": truth, "mimics": np.zeros(truth.shape, np.uint8), "tissue": case.tissue, "brain": case.brain}
    regions = background.regions.astype(np.uint8)
    return LabelledScan(name, levels, **images, regions=regions, spacing=case.spacing, affine=background.grid.affine)


def _places(background: Background) -> npt.NDArray[np.bool_]:
    """Return where microbleeds may be: in parenchyma, most of what is about it too, nothing dark there yet."""
    case = background.case
    parenchyma = ((case.tissue == GM) | (case.tissue == WM)).astype(np.float32)
    size = [max(1, round(5 / step)) for step in case.spacing]
    surrounded = ndimage.uniform_filter(parenchyma, size) > 0.65
    mask, _ = search_region(case.stack[0], case.brain, case.tissue, case.spacing, SETTINGS)
    dark = ndimage.binary_dilation(mask, iterations=1)
    inside = ndimage.binary_erosion(case.brain, iterations=2)
    return inside & surrounded & ~dark & (background.regions > 0) & (parenchyma > 0)
