"""Which scans there are, what each is for, and how they are made."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np

from mbseg_bids.imaging.labels import BRAINSTEM, CEREBELLAR_GM, CEREBELLAR_WM, CEREBRAL_WM, CORTICAL_GM, DEEP_GM
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.learning.examples.labelled_scan import LabelledScan, from_case, load_scan, save_scan
from mbseg_bids.learning.examples.simulated import simulate
from mbseg_bids.settings import DetectionSettings
from mbseg_bids.simulation.lesions import REGION_SHARES
from mbseg_bids.simulation.protocol import draw_protocol

TRAINING, VALIDATION, TEST = tuple(range(1, 10)), (10, 11), (12, 13, 14)
"""Numbers of the label maps. Nobody is in two of these."""

GEOMETRIES = ((1.0, 1.0, 1.0), (1.0, 1.0, 3.0), (0.5, 0.5, 4.0), (1.0, 1.0, 5.5))
"""Voxel sizes (mm) of the test scans; their truth is on the detection grid, whose voxels are 1 mm in plane."""

FINEST = (1.0, 1.0, 1.0)
"""No scan without microbleeds has these voxels: it would take as long as all the others."""

FIRST_NARROW = 500
"""Seed of the first scan of the narrow breadth."""

EVEN_SHARES = {CORTICAL_GM: 0.34, DEEP_GM: 0.22, CEREBRAL_WM: 0.24, CEREBELLAR_GM: 0.07, CEREBELLAR_WM: 0.06}
EVEN_SHARES[BRAINSTEM] = 0.07
"""Of microbleeds by region, in half of the training scans: where they are rare is learned too."""

SETTINGS = DetectionSettings()
"""Of detection, in every step of the recipe."""


@dataclass(frozen=True)
class Scale:
    """How many simulated scans of each anatomy.

    Attributes
    ----------
    train
        Patches and neighbourhoods are cut from these.
    look, narrow
        Whole scans that the candidate classifier is fitted to: of the whole breadth of the simulator, and of the narrow
        one, whose scans look like good scans of people.
    planted_train, planted_look
        Plantings in each real background, for training and for the candidate classifier.
    training, validation, test
        Which anatomies.
    geometries
        Of the test scans.
    """

    train: int
    look: int
    narrow: int
    planted_train: int
    planted_look: int
    training: tuple[int, ...] = TRAINING
    validation: tuple[int, ...] = VALIDATION
    test: tuple[int, ...] = TEST
    geometries: tuple[tuple[float, float, float], ...] = GEOMETRIES


SCALES = {
    "toy": Scale(1, 1, 1, 1, 1, TRAINING[:2], VALIDATION[:1], TEST[:1], GEOMETRIES[-1:]),
    "cpu": Scale(5, 2, 2, 2, 2, geometries=GEOMETRIES[1:]),
    "gpu": Scale(45, 4, 4, 16, 3),
}
"""By the name of what computes; ``toy`` tries every step in minutes and is worth nothing else."""


@dataclass(frozen=True)
class ScanPlan:
    """One whole simulated scan.

    Attributes
    ----------
    part
        ``train``, ``look``, ``val`` (operating point), ``test`` and ``free`` (figures; with microbleeds and without).
    anatomy, seed
        Which decide it.
    n_lesions
        Microbleeds, visible or not.
    spacing
        mm; drawn where None.
    narrow
        Simulated in the narrow breadth, as all test scans are: their figures can be compared with those of weights
        before the whole breadth was there.
    even_shares
        Whether microbleeds are spread over regions by :data:`EVEN_SHARES`; drawn where None.
    """

    part: str
    anatomy: int
    seed: int
    n_lesions: int
    spacing: tuple[float, float, float] | None = None
    narrow: bool = False
    even_shares: bool | None = None

    @property
    def name(self) -> str:
        """Stem of its files."""
        return f"{self.part}_{self.anatomy:02d}_{self.seed:03d}"

    def path(self, work: Path) -> Path:
        """File of the scan."""
        return scan_file(work, self.name)

    def rng(self) -> np.random.Generator:
        """Return the generator of what a plan itself draws."""
        return np.random.default_rng([self.anatomy, self.seed, 77])


def plans(scale: Scale, *parts: str) -> Iterator[ScanPlan]:
    """Yield every scan of some parts."""
    for plan in _all_plans(scale):
        if plan.part in parts:
            yield plan


def _all_plans(scale: Scale) -> Iterator[ScanPlan]:
    for seed in range(1000, 1000 + scale.train):
        for anatomy in scale.training:
            plan = ScanPlan("train", anatomy, seed, 0)
            yield replace(plan, n_lesions=int(plan.rng().integers(30, 70)))
    for seed in range(200, 200 + scale.look):
        for anatomy in scale.training:
            plan = ScanPlan("look", anatomy, seed, 0)
            yield replace(plan, n_lesions=int(plan.rng().choice([0, 8, 20, 40])))
    for part, repetitions, anatomies in (("look", scale.narrow, scale.training), ("val", 2, scale.validation)):
        for seed in range(FIRST_NARROW, FIRST_NARROW + repetitions):
            for anatomy in anatomies:
                plan = ScanPlan(part, anatomy, seed, 0, narrow=True)
                rng = plan.rng()
                n_lesions = int(rng.choice([10, 30, 50]))
                yield replace(plan, n_lesions=n_lesions, even_shares=bool(rng.random() < 0.5))
    for seed, n_lesions in enumerate((0, 20, 40)):
        for anatomy in scale.validation:
            yield ScanPlan("val", anatomy, seed, n_lesions)
    for part, first, n_lesions in (("test", 300, 40), ("free", 400, 0)):
        for number, spacing in enumerate(scale.geometries):
            if part == "free" and spacing == FINEST:
                continue
            for anatomy in scale.test:
                yield ScanPlan(part, anatomy, first + number, n_lesions, spacing, narrow=True)


def make_scan(labelmaps: Path, work: Path, plan: ScanPlan) -> None:
    """Simulate one scan that is not there yet."""
    if plan.path(work).is_file():
        return
    rng = plan.rng()
    options: dict = {"n_lesions": plan.n_lesions}
    if plan.narrow:
        options["wide"] = False
        options["shares"] = EVEN_SHARES if plan.even_shares else REGION_SHARES
    elif plan.part in ("train", "look"):
        options |= {"vary_contrast": bool(rng.random() < 0.6), "mimic_load": float(rng.choice([0.7, 1.0, 1.6]))}
        options["shares"] = EVEN_SHARES if rng.random() < 0.5 else REGION_SHARES
    if plan.spacing is not None:
        three_d = plan.spacing[2] <= 2
        options["protocol"] = replace(
            draw_protocol(rng),
            spacing=plan.spacing,
            repetition_time=float(rng.uniform(30, 60) if three_d else rng.uniform(450, 1200)),
            flip_angle=float(rng.uniform(10, 20) if three_d else rng.uniform(15, 30)),
        )
    case, _ = simulate(labelmap(labelmaps, plan.anatomy), plan.anatomy, plan.seed, **options)
    save_scan(work / "scans", from_case(case, plan.name))
    print(plan.name, case.lesions.max(), "visible microbleeds", flush=True)


def scan_file(work: Path, name: str) -> Path:
    """Return the file of a scan, simulated or planted."""
    return work / "scans" / f"{name}.npz"


def read_scan(work: Path, plan: ScanPlan) -> LabelledScan:
    """Return a scan that was made."""
    return load_scan(plan.path(work))


@lru_cache(maxsize=4)
def labelmap(folder: Path, anatomy: int) -> Volume:
    """Read a label map by number."""
    image = nib.load(folder / f"labelmap_{anatomy:02d}.nii.gz")
    return Volume(np.asarray(image.dataobj), image.affine)
