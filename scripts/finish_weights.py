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
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from segmentation_trees import truth_table, write_segmentation
from train_weights import NAME, TEST, TRAINING, VALIDATION, labelmap

from mbseg_bids.detection.lesion_features import FEATURES
from mbseg_bids.detection.lesion_network import lesion_log_odds, load_lesion_network
from mbseg_bids.detection.lesions import segment_lesions
from mbseg_bids.detection.second_look import MODEL_FILE, NETWORK_FILE, SecondLook, load_second_look
from mbseg_bids.detection.weights import WEIGHTS_FOLDER, load_weights, save_weights, write_manifest
from mbseg_bids.learning.labelled_scan import LabelledScan, from_case, load_scan, save_scan
from mbseg_bids.learning.scan_scores import probability_map
from mbseg_bids.learning.second_look import collect_candidates, fit_second_look
from mbseg_bids.learning.simulated import simulate
from mbseg_bids.settings import DetectionSettings
from mbseg_bids.simulation.protocol import draw_protocol

GEOMETRIES = ((1.0, 1.0, 1.0), (0.5, 0.5, 0.8), (1.0, 1.0, 3.0), (0.5, 0.5, 4.0))
"""Voxel sizes (mm) of the test scans; their truth is on the detection grid, whose voxels are 1 mm in plane."""

LESIONS_PER_SCAN = 3.5
"""Mean number of microbleeds in a scan of the VALDO challenge (253 in 72): probabilities are calibrated for it."""

LOWEST_PROBABILITY = 0.2
OPERATING_POINTS = (0.5,)
"""Of the network: the probability that becomes 0.5 is one of these. At 0.7 fewer microbleeds were left."""

FALSE_PER_SCAN = 0.3
"""On scans without microbleeds, at the threshold of the second look."""

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
    probability = probability_map(model, metadata, scan.as_case(), SETTINGS, threshold=LOWEST_PROBABILITY)
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
        return load_scan(work / "scans" / f"{plan.name}.npz"), shifted(file["probability"], point)


def collect(work: Path, point: float, plan: ScanPlan) -> pd.DataFrame:
    """Return what the ratio rule leaves of a scan, at an operating point of the network."""
    torch.set_num_threads(1)
    scan, probability = read(work, plan, point)
    ask = partial(lesion_log_odds, load_lesion_network(work / NETWORK_FILE, network_facts(work)["sha256"]))
    table = collect_candidates(scan.as_case(), probability, SETTINGS, ask)
    return table.assign(scan=plan.name, anatomy=plan.anatomy)


def network_facts(work: Path) -> dict:
    """Return what ``scripts/train_lesion_network.py`` wrote about the network of the second look."""
    return json.loads((work / NETWORK_FILE).with_suffix(".json").read_text(encoding="utf-8"))


def candidates(work: Path, part: str, point: float, jobs: int) -> pd.DataFrame:
    """Return what the ratio rule leaves of the scans of a part, at an operating point of the network."""
    path = work / f"candidates_{part}_{point:g}_{network_facts(work)['sha256'][:8]}.tsv"
    if not path.is_file():
        of_part = [plan for plan in plans() if plan.part == part]
        with ProcessPoolExecutor(jobs) as pool:
            tables = list(pool.map(collect, repeat(work), repeat(point), of_part))
        pd.concat(tables).to_csv(path, sep="\t", index=False)
    return pd.read_csv(path, sep="\t", keep_default_na=False, na_values=[""])


def look(work: Path, jobs: int) -> None:
    """Fit the second look at each operating point of the network; keep the point that finds most."""
    n_scans = sum(plan.part == "look" for plan in plans())
    report, models = {}, {}
    for point in OPERATING_POINTS:
        table, unseen = candidates(work, "look", point, jobs), candidates(work, "val", point, jobs)
        truth = table["is_microbleed"].to_numpy(bool)
        model, out_of_fold = fit_second_look(
            table, truth, table["anatomy"].to_numpy(), lesions_per_scan=LESIONS_PER_SCAN, n_scans=n_scans
        )
        probability = np.concatenate([out_of_fold, judge(model, unseen)])
        truth = np.concatenate([truth, unseen["is_microbleed"].to_numpy(bool)])
        n_all = n_scans + sum(plan.part == "val" for plan in plans())
        report[point] = at_thresholds(probability, truth, n_all)
        models[point] = model
        print(point, json.dumps(report[point]), flush=True)
    best = max(OPERATING_POINTS, key=lambda point: report[point]["kept"])
    table = candidates(work, "look", best, jobs)
    without, _ = fit_second_look(
        *(table, table["is_microbleed"].to_numpy(bool), table["anatomy"].to_numpy()),
        lesions_per_scan=LESIONS_PER_SCAN,
        n_scans=n_scans,
        names=[name for name in FEATURES if name != "neighbourhood"],
    )
    (work / CURVES_ALONE).write_text(without.to_json(), encoding="utf-8")
    facts = {**models[best].training, "network": NAME, "operating_point": best, "choice": report}
    about = network_facts(work)
    facts["lesion_network"] = about
    model = replace(models[best], training=facts, network_sha256=about["sha256"])
    MODEL_FILE.parent.mkdir(exist_ok=True)
    shutil.copyfile(work / NETWORK_FILE, MODEL_FILE.parent / NETWORK_FILE)
    MODEL_FILE.write_text(model.to_json(), encoding="utf-8")


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
    return {"threshold": round(threshold, 3), "kept": kept, "of": int(truth.sum()), "false": len(false)}


def test(work: Path, jobs: int) -> None:
    """Write truth and results of the test scans as BIDS derivatives: with second look, without, without the rule."""
    shutil.rmtree(work / "trees", ignore_errors=True)
    of_test = [plan for plan in plans() if plan.part in ("test", "free")]
    with ProcessPoolExecutor(jobs) as pool:
        list(pool.map(write_trees, repeat(work), of_test))


def write_trees(work: Path, plan: ScanPlan) -> None:
    """Write the truth and the results of one scan."""
    second_look = load_second_look()
    scan, probability = read(work, plan, second_look.training["operating_point"])
    case, label = scan.as_case(), f"sub-{plan.anatomy}s{plan.seed}"
    no_rule = replace(SETTINGS, ratio_threshold=0.0, ratio_threshold_deep_gm=0.0)
    variants = {
        "second_look": (SETTINGS, second_look),
        "curves": (SETTINGS, load_second_look(work / CURVES_ALONE)),
        "paper": (SETTINGS, None),
        "network": (no_rule, None),
    }
    for folder, (settings, model) in variants.items():
        result = segment_lesions(
            *(case.stack, probability, case.brain, case.regions, case.spacing, case.affine, settings),
            tissue=case.tissue,
            second_look=model,
        )
        write_segmentation(work / "trees" / folder, label, result.lesions, result.lesion_table, case.affine)
        write_segmentation(
            *(work / "trees" / folder, label, result.candidates, result.candidate_table, case.affine),
            segment="CMBcandidates",
        )
    write_segmentation(work / "trees" / "truth", label, case.lesions, truth_table(scan), case.affine)


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
