"""From the trained network to the shipped files: operating point, second look, figures on scans of unseen anatomies.

    python scripts/finish_weights.py LABELMAPS WORK [--steps scans detect look test ship] [--jobs 2]

after ``scripts/train_weights.py`` and ``scripts/train_lesion_network.py``, with the same folders. Finished steps are
kept in WORK and not done again.

Whole simulated scans, none of which the network was trained on: ``look`` (training anatomies, other scans) to fit the
second look, ``val`` (validation anatomies) to choose the operating point with, ``test`` and ``free`` (test anatomies,
with microbleeds and without) for the figures, each in four geometries. The figures come from ``mbseg evaluate`` on
trees that this script writes; docs/results.md has them.
"""

import argparse
import hashlib
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import repeat
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy import ndimage
from segmentation_trees import truth_table, write_segmentation
from train_lesion_network import member_file
from train_weights import NAME, TEST, TRAINING, VALIDATION, labelmap

from mbseg_bids import detection, imaging
from mbseg_bids.detection.lesion_features import FEATURES
from mbseg_bids.detection.lesion_network import lesion_log_odds, load_lesion_networks
from mbseg_bids.detection.lesions import DetectionResult, segment_lesions
from mbseg_bids.detection.second_look import MODEL_FILE, NETWORK_FILE, SecondLook, load_second_look
from mbseg_bids.detection.weights import WEIGHTS_FOLDER, load_weights, save_weights, write_manifest
from mbseg_bids.learning.labelled_scan import LabelledScan, from_case, load_scan, save_scan
from mbseg_bids.learning.scan_scores import probability_map
from mbseg_bids.learning.second_look import collect_candidates, fit_second_look, mimic_among
from mbseg_bids.learning.simulated import simulate
from mbseg_bids.settings import DetectionSettings
from mbseg_bids.simulation.case import Case
from mbseg_bids.simulation.protocol import draw_protocol

GEOMETRIES = ((1.0, 1.0, 1.0), (0.5, 0.5, 0.8), (1.0, 1.0, 3.0), (0.5, 0.5, 4.0))
"""Voxel sizes (mm) of the test scans; their truth is on the detection grid, whose voxels are 1 mm in plane."""

LESIONS_PER_SCAN = 3.5
"""Mean number of microbleeds in a scan of the VALDO challenge (253 in 72): probabilities are calibrated for it."""

ATLAS_ERROR = 1.0
"""Standard deviation, mm along each axis, of where the pallidum is taken to be: the region atlas and a person's own
pallidum overlap by 0.81 (Dice, mean of 14 people left out in turn; the record beside the atlas)."""

OPERATING_POINTS = (0.5,)
"""Of the network: the probability that becomes 0.5 is one of these. At 0.7 fewer microbleeds were left."""

FALSE_PER_SCAN = 0.3
"""On scans without microbleeds, at the threshold of the second look."""

FALSE_LESIONS = "false-lesions.tsv"
"""What is found on the test scans and is no microbleed, one row each."""

LENIENT = 0.2
"""A threshold of the second look for those who would rather look at more than miss one."""

CURVES_ALONE = "second-look-without-network.json"
"""The second look fitted without the feature that its network gives, to see what that is worth."""

STEPS = ("scans", "detect", "look", "test", "ship")
SETTINGS = DetectionSettings()


@dataclass(frozen=True)
class ScanPlan:
    """One whole simulated scan."""

    part: str
    anatomy: int
    seed: int
    n_lesions: int
    spacing: tuple[float, float, float] | None = None
    vary_contrast: bool = False

    @property
    def name(self) -> str:
        """Stem of its files."""
        return f"{self.part}_{self.anatomy:02d}_{self.seed:03d}"


def plans() -> Iterator[ScanPlan]:
    """Yield every scan of every part."""
    for seed in range(200, 204):
        for anatomy in TRAINING:
            rng = plan_rng(anatomy, seed)
            vary = bool(rng.random() < 0.5)
            yield ScanPlan("look", anatomy, seed, int(rng.choice([0, 8, 20, 40])), vary_contrast=vary)
    for seed, n_lesions in enumerate((0, 20, 40)):
        for anatomy in VALIDATION:
            yield ScanPlan("val", anatomy, seed, n_lesions)
    for part, first, n_lesions in (("test", 300, 40), ("free", 400, 0)):
        for number, spacing in enumerate(GEOMETRIES):
            for anatomy in TEST:
                yield ScanPlan(part, anatomy, first + number, n_lesions, spacing)


def plan_rng(anatomy: int, seed: int) -> np.random.Generator:
    """Return the generator of what a plan itself draws."""
    return np.random.default_rng([anatomy, seed, 77])


def main() -> None:
    """Do the steps asked for that are not done yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelmaps", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--jobs", type=int, default=2, help="scans computed side by side")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for step in args.steps:
        if step in ("scans", "detect"):
            action, inputs = (make_scan, args.labelmaps) if step == "scans" else (detect, None)
            with ProcessPoolExecutor(args.jobs) as pool:
                list(pool.map(action, repeat(inputs), repeat(args.work), plans()))
        else:
            {"look": look, "test": test, "ship": ship}[step](args.work, args.jobs)


def make_scan(labelmaps: Path, work: Path, plan: ScanPlan) -> None:
    """Simulate one scan."""
    if (work / "scans" / f"{plan.name}.npz").is_file():
        return
    options: dict = {"n_lesions": plan.n_lesions, "vary_contrast": plan.vary_contrast}
    if plan.spacing is not None:
        rng = plan_rng(plan.anatomy, plan.seed)
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


def detect(_: None, work: Path, plan: ScanPlan) -> None:
    """Ask the trained network about one scan."""
    torch.set_num_threads(1)
    path = work / "probability" / f"{plan.name}.npz"
    if path.is_file():
        return
    model, metadata = load_weights(work / "second.safetensors")
    scan = load_scan(work / "scans" / f"{plan.name}.npz")
    probability = probability_map(model, metadata, scan.as_case(), SETTINGS)
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, probability=probability.astype(np.float16))
    print(plan.name, int((probability >= 0.5).sum()), "voxels with 0.5 or more", flush=True)


def shifted(probability: npt.NDArray[np.floating], point: float) -> npt.NDArray[np.float32]:
    """Return probabilities by a network whose bias makes 0.5 of ``point``; those never asked for stay 0."""
    p = np.clip(probability.astype(np.float64), 1e-4, 1 - 1e-4)
    return np.where(probability > 0, p * (1 - point) / (p * (1 - point) + (1 - p) * point), 0).astype(np.float32)


def read(work: Path, plan: ScanPlan, point: float) -> tuple[LabelledScan, npt.NDArray[np.float32]]:
    """Return a scan and its probabilities, at an operating point of the network."""
    with np.load(work / "probability" / f"{plan.name}.npz", allow_pickle=False) as file:
        return read_scan(work, plan), shifted(file["probability"], point)


def read_scan(work: Path, plan: ScanPlan) -> LabelledScan:
    """Return a scan whose pallidum is a little off, as it is where a warped atlas gives it."""
    scan = load_scan(work / "scans" / f"{plan.name}.npz")
    rng = np.random.default_rng([plan.anatomy, plan.seed, 78])
    off = rng.normal(0, ATLAS_ERROR, 3) / scan.spacing
    moved = ndimage.shift(scan.pallidum.astype(np.float32), off, order=1) >= 0.5
    return replace(scan, pallidum=moved)


def collect(path: Path, work: Path, point: float, plan: ScanPlan) -> pd.DataFrame:
    """Return what the ratio rule leaves of a scan at an operating point; ``path``: the networks of the second look."""
    torch.set_num_threads(1)
    scan, probability = read(work, plan, point)
    ask = partial(lesion_log_odds, load_lesion_networks(path, network_facts(path)["sha256"]))
    table = collect_candidates(scan.as_case(), probability, SETTINGS, ask)
    return table.assign(scan=plan.name, anatomy=plan.anatomy)


def network_facts(path: Path) -> dict:
    """Return what ``scripts/train_lesion_network.py`` wrote beside a file of networks of the second look."""
    return json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


def candidates(path: Path, work: Path, part: str, point: float, jobs: int) -> pd.DataFrame:
    """Return :func:`collect` of the scans of a part, kept for the same networks and the same code."""
    table = work / f"candidates_{part}_{point:g}_{network_facts(path)['sha256'][:8]}_{code_hash()[:8]}.tsv"
    if not table.is_file():
        of_part = [plan for plan in plans() if plan.part == part]
        with ProcessPoolExecutor(jobs) as pool:
            tables = list(pool.map(collect, repeat(path), repeat(work), repeat(point), of_part))
        pd.concat(tables).to_csv(table, sep="\t", index=False)
    return pd.read_csv(table, sep="\t", keep_default_na=False, na_values=[""])


@cache
def code_hash() -> str:
    """Return a hash of the code that candidates and their measures come from."""
    modules = [path for folder in (detection, imaging) for path in Path(folder.__path__[0]).glob("*.py")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(modules))).hexdigest()


def look(work: Path, jobs: int) -> None:
    """Fit the second look at each operating point of the network; keep the point that finds most.

    It is fitted with each network of the second look alone, too: the spread over seeds, for the model card.
    """
    path = work / NETWORK_FILE
    fits = {point: fit(path, work, point, jobs) for point in OPERATING_POINTS}
    best = max(OPERATING_POINTS, key=lambda point: fits[point][1]["kept"])
    (work / CURVES_ALONE).write_text(fit(path, work, best, jobs, with_network=False)[0].to_json(), encoding="utf-8")
    about = network_facts(path)
    about["alone"] = {seed: fit(member_file(work, seed), work, best, jobs)[1] for seed in about["members"]}
    model, _ = fits[best]
    facts = {**model.training, "network": NAME, "operating_point": best, "lesion_network": about}
    facts["choice"] = {point: figures for point, (_, figures) in fits.items()}
    MODEL_FILE.parent.mkdir(exist_ok=True)
    shutil.copyfile(path, MODEL_FILE.parent / NETWORK_FILE)
    MODEL_FILE.write_text(replace(model, training=facts, network_sha256=about["sha256"]).to_json(), encoding="utf-8")


def fit(
    path: Path, work: Path, point: float, jobs: int, *, with_network: bool = True
) -> tuple[SecondLook, dict[str, float]]:
    """Fit the second look with the networks in a file; return it, and what it keeps of scans it was not fitted to."""
    table, unseen = (candidates(path, work, part, point, jobs) for part in ("look", "val"))
    truth = table["is_microbleed"].to_numpy(bool)
    n_scans, n_unseen = (sum(plan.part == part for plan in plans()) for part in ("look", "val"))
    model, out_of_fold = fit_second_look(
        *(table, truth, table["anatomy"].to_numpy()),
        lesions_per_scan=LESIONS_PER_SCAN,
        n_scans=n_scans,
        names=[name for name in FEATURES if with_network or name != "neighbourhood"],
    )
    probability = np.concatenate([out_of_fold, judge(model, unseen)])
    truth = np.concatenate([truth, unseen["is_microbleed"].to_numpy(bool)])
    figures = at_thresholds(probability, truth, n_scans + n_unseen) | {"log_loss": model.training["log_loss"]}
    print(path.name, point, "with" if with_network else "without", "network", json.dumps(figures), flush=True)
    return model, figures


def judge(model: SecondLook, table: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return the probability of each row."""
    return np.array(
        [
            model.probability({n: float(v) for n, v in row.items()})
            for row in table[list(model.curves)].to_dict("records")
        ]
    )


def at_thresholds(probability: npt.NDArray, truth: npt.NDArray[np.bool_], n_scans: int) -> dict[str, float]:
    """Return the threshold that leaves so many false ones a scan, and the microbleeds it keeps."""
    false = np.sort(probability[~truth])[::-1]
    allowed = int(FALSE_PER_SCAN * n_scans)
    threshold = float(false[allowed]) if allowed < len(false) else 0.0
    kept = int((probability[truth] > threshold).sum())
    counts = {"kept": kept, "of": int(truth.sum()), "false": len(false)}
    return {"false_per_scan": FALSE_PER_SCAN, "threshold": round(threshold, 3), **counts}


def test(work: Path, jobs: int) -> None:
    """Write truth and results of the test scans as BIDS derivatives: with second look, without, without the rule."""
    shutil.rmtree(work / "trees", ignore_errors=True)
    of_test = [plan for plan in plans() if plan.part in ("test", "free")]
    with ProcessPoolExecutor(jobs) as pool:
        false = list(pool.map(write_trees, repeat(work), of_test))
    pd.concat(false).to_csv(work / FALSE_LESIONS, sep="\t", index=False, na_rep="n/a")


def write_trees(work: Path, plan: ScanPlan) -> pd.DataFrame:
    """Write the truth and the results of one scan; return its false lesions, all steps done, and what each lies on."""
    second_look = load_second_look()
    scan, probability = read(work, plan, second_look.training["operating_point"])
    case, label = scan.as_case(), f"sub-{plan.anatomy}s{plan.seed}"
    no_rule = replace(SETTINGS, ratio_threshold=0.0, ratio_threshold_deep_gm=0.0)
    variants = {
        "second_look": (SETTINGS, second_look),
        "lenient": (replace(SETTINGS, second_look_threshold=LENIENT), second_look),
        "curves": (SETTINGS, load_second_look(work / CURVES_ALONE)),
        "paper": (SETTINGS, None),
        "network": (no_rule, None),
    }
    results = {}
    for folder, (settings, model) in variants.items():
        result = results[folder] = segment_lesions(
            *(case.stack, probability, case.brain, case.regions, case.spacing, case.affine, settings),
            tissue=case.tissue,
            pallidum=case.pallidum,
            second_look=model,
        )
        write_segmentation(work / "trees" / folder, label, result.lesions, result.lesion_table, case.affine)
        write_segmentation(
            *(work / "trees" / folder, label, result.candidates, result.candidate_table, case.affine),
            segment="CMBcandidates",
        )
    write_segmentation(work / "trees" / "truth", label, case.lesions, truth_table(scan), case.affine)
    return false_lesions(case, results["second_look"]).assign(scan=label)


def false_lesions(case: Case, result: DetectionResult) -> pd.DataFrame:
    """Return the rows of the lesion table that touch no true lesion, with the simulated mimic they lie on."""
    own = [result.lesions == index for index in result.lesion_table["index"]]
    table = result.lesion_table.assign(mimic=[mimic_among(case.mimics[where]) for where in own])
    return table[[not case.lesions[where].any() for where in own]]


def ship(work: Path, _: int) -> None:
    """Write weights and manifest of the package, the operating point in the bias of the last layer."""
    model, metadata = load_weights(work / "second.safetensors")
    point = load_second_look().training["operating_point"]
    with torch.no_grad():
        model.fc.bias[1] -= float(np.log(point / (1 - point)))
    for old in WEIGHTS_FOLDER.glob("*.safetensors"):
        old.unlink()
    facts = {**metadata.training, "operating_point": point}
    save_weights(WEIGHTS_FOLDER / f"{NAME}.safetensors", model, replace(metadata, training=facts))
    write_manifest(WEIGHTS_FOLDER, NAME)


if __name__ == "__main__":
    main()
