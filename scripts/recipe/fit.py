"""The candidate classifier: candidates of whole scans, the curves fitted to them, the threshold they allow."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache, partial
from itertools import repeat
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy.special import expit

from mbseg_bids import detection, imaging
from mbseg_bids.detection.candidates.classifier import (
    MODEL_FILE,
    NETWORK_FILE,
    CandidateClassifier,
    read_candidate_classifier,
)
from mbseg_bids.detection.candidates.features import FEATURES
from mbseg_bids.detection.candidates.network import lesion_log_odds, load_lesion_networks
from mbseg_bids.detection.network.weights import load_weights, sha256
from mbseg_bids.learning.candidates.adjust import adjust_candidate_classifier, log_odds
from mbseg_bids.learning.candidates.classifier import collect_candidates, fit_candidate_classifier
from mbseg_bids.learning.examples.labelled_scan import LabelledScan, load_scan
from mbseg_bids.learning.examples.patch_set import write_arrays
from mbseg_bids.learning.stages.scan_scores import probability_map
from recipe import real
from recipe.candidates import read_facts
from recipe.plans import FIRST_NARROW, SETTINGS, scan_file

LESIONS_PER_SCAN = 3.5
"""Mean number of microbleeds in a scan of the VALDO challenge (253 in 72): probabilities are calibrated for it."""

WORLDS = WIDE, NARROW, REAL = "simulated, whole breadth", "simulated, narrow breadth", "planted in real scans"
FALSE_PER_SCAN = 0.3
"""On scans without microbleeds, at the threshold of the candidate classifier."""

SLAB_MM = 45.0
"""Of the scans that the candidate classifier is fitted to, and tried on, the network is asked about a slab as high as
this: a candidate is an example wherever it comes from, and scans of thin slices would take most of the time."""

CURVES_ALONE = "second-look-without-network.json"
"""The candidate classifier fitted without the feature that its network gives, to see what that is worth."""


def detect(network: Path, work: Path, name: str, device: Literal["auto", "cpu", "cuda"] = "cpu") -> None:
    """Ask the trained network about one scan, unless that was done."""
    torch.set_num_threads(1)
    path = probability_file(work, name)
    if path.is_file():
        return
    model, metadata = load_weights(network)
    scan = load_scan(scan_file(work, name))
    case = scan.as_case()
    if name.split("_")[0] in ("look", "val", "real"):
        case = replace(case, brain=case.brain & slab(scan))
    probability = probability_map(model, metadata, case, SETTINGS, device=device)
    write_arrays(path, {"probability": probability.astype(np.float16)}, compressed=True)
    print(name, int((probability >= 0.5).sum()), "voxels with 0.5 or more", flush=True)


def probability_file(work: Path, name: str) -> Path:
    """Return the file of what the network answered about a scan."""
    return work / "probability" / f"{name}.npz"


def slab(scan: LabelledScan) -> npt.NDArray[np.bool_]:
    """Return the slices of the slab of a scan, shape (1, 1, K): one at random, which the scan's name decides."""
    brain = np.flatnonzero(scan.brain.any(axis=(0, 1)))
    height = max(1, round(SLAB_MM / scan.spacing[2]))
    rng = np.random.default_rng(list(scan.name.encode()))
    start = int(rng.integers(brain[0], max(brain[0], brain[-1] - height + 1) + 1))
    inside = np.zeros((1, 1, scan.brain.shape[2]), bool)
    inside[..., start : start + height] = True
    return inside


def share(work: Path, name: str) -> float:
    """Return the part of a scan's brain that its slab holds."""
    scan = load_scan(scan_file(work, name))
    return float((scan.brain & slab(scan)).sum() / scan.brain.sum())


def read(work: Path, name: str) -> tuple[LabelledScan, npt.NDArray[np.float32]]:
    """Return a scan and its probabilities."""
    with np.load(probability_file(work, name), allow_pickle=False) as file:
        return load_scan(scan_file(work, name)), file["probability"].astype(np.float32)


def collect(path: Path, work: Path, name: str) -> pd.DataFrame:
    """Return what ratio rule and reader's criteria leave of a scan; ``path``: networks of the candidate classifier."""
    torch.set_num_threads(1)
    scan, probability = read(work, name)
    ask = partial(lesion_log_odds, load_lesion_networks(path, read_facts(path)["sha256"]))
    table = collect_candidates(scan.as_case(), probability, SETTINGS, ask)
    return table.assign(scan=name, group=int(name.split("_")[1]), n_lesions=int(scan.lesions.max()))


def candidates(work: Path, names: Iterable[str], part: str, jobs: int) -> pd.DataFrame:
    """Return :func:`collect` of some scans, kept for the same networks, scans and code."""
    path, names = work / NETWORK_FILE, list(names)
    state = hashlib.sha256("".join([read_facts(path)["sha256"], code_hash(), *names]).encode()).hexdigest()
    table = work / f"candidates_{part}_{state[:8]}.tsv"
    if not table.is_file():
        with ProcessPoolExecutor(jobs) as pool:
            tables = list(pool.map(collect, repeat(path), repeat(work), names))
        pd.concat(tables).to_csv(table, sep="\t", index=False)
    return pd.read_csv(table, sep="\t", keep_default_na=False, na_values=[""])


@cache
def code_hash() -> str:
    """Return a hash of the code that candidates and their measures come from."""
    modules = [path for folder in (detection, imaging) for path in Path(folder.__path__[0]).rglob("*.py")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(modules))).hexdigest()


def look(work: Path, fitted: list[str], unseen: list[str], network: str, jobs: int, before: Path | None = None) -> None:
    """Fit the candidate classifier and put it into the package, with and without its networks' answer.

    Parameters
    ----------
    work
        Folder of the recipe.
    fitted, unseen
        Names of the scans it is fitted to (groups are left out in turn), and of further ones it is tried on.
    network
        Name of the weights of the first network.
    jobs
        Processes.
    before
        A candidate classifier whose curves keep their shape: for few scans.
    """
    tables = candidates(work, fitted, "look", jobs), candidates(work, unseen, "val", jobs)
    shares = {name: share(work, name) for name in (*fitted, *unseen)}
    alone, _ = fit(*tables, shares, [name for name in FEATURES if name != "neighbourhood"])
    (work / CURVES_ALONE).write_text(alone.to_json(), encoding="utf-8")
    model, figures = fit(*tables, shares, list(FEATURES), read_candidate_classifier(before) if before else None)
    about = read_facts(work / NETWORK_FILE)
    facts = {
        **model.training,
        "curves_of": sha256(before) if before else "",
        "scans": len(fitted),
        "slab_mm": SLAB_MM,
        "network": network,
        "lesion_network": about,
        "figures": figures,
        "about_backgrounds": real.about(work),
    }
    MODEL_FILE.parent.mkdir(exist_ok=True)
    shutil.copyfile(work / NETWORK_FILE, MODEL_FILE.parent / NETWORK_FILE)
    MODEL_FILE.write_text(replace(model, training=facts, network_sha256=about["sha256"]).to_json(), encoding="utf-8")


def fit(
    table: pd.DataFrame,
    unseen: pd.DataFrame,
    shares: Mapping[str, float],
    names: list[str],
    before: CandidateClassifier | None = None,
) -> tuple[CandidateClassifier, dict[str, dict[str, float]]]:
    """Fit the candidate classifier; return it, and what it keeps, by world, of scans it was not fitted to.

    ``shares``: by scan, how much of a brain its candidates come from. So many false ones a whole scan are reported.
    """
    truth = table["is_microbleed"].to_numpy(bool)
    brains: dict[str, float] = dict.fromkeys(WORLDS, 0.0)
    for name, part in shares.items():
        brains[world_of(name)] += part
    fitted = {name: part for name, part in shares.items() if not name.startswith("val")}
    n_scans = sum(fitted.values())
    rows = table, truth, table["group"].to_numpy()
    prevalence = {"lesions_per_scan": LESIONS_PER_SCAN, "n_scans": n_scans}
    if before is None:
        model, out_of_fold = fit_candidate_classifier(*rows, names=names, **prevalence)
    else:
        usual = table["scan"].map(world_of).to_numpy() != WIDE
        n_usual = sum(part for name, part in fitted.items() if world_of(name) != WIDE)
        model, out_of_fold = adjust_candidate_classifier(before, *rows, **prevalence, usual=(usual, n_usual))
    probability = np.concatenate([out_of_fold, judge(model, unseen)])
    both = pd.concat([table, unseen])
    world = both["scan"].map(world_of).to_numpy()
    truth, figures = both["is_microbleed"].to_numpy(bool), {}
    for name in np.unique(world):
        own = world == name
        figures[str(name)] = at_thresholds(probability[own], truth[own], brains[str(name)])
    print("curves:", len(names), json.dumps(figures), model.training, flush=True)
    return model, figures


def world_of(name: str) -> str:
    """Return which of :data:`WORLDS` a scan is of, by its name."""
    if name.startswith("real"):
        return REAL
    return NARROW if int(name.split("_")[2]) >= FIRST_NARROW else WIDE


def judge(model: CandidateClassifier, table: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return the probability of each row."""
    return expit(log_odds(model, table))


def at_thresholds(probability: npt.NDArray, truth: npt.NDArray[np.bool_], n_scans: float) -> dict[str, float]:
    """Return, for several thresholds, false ones a scan and the share kept; and the threshold of so many false ones."""
    false = np.sort(probability[~truth])[::-1]
    allowed = int(FALSE_PER_SCAN * n_scans)
    threshold = float(false[allowed]) if allowed < len(false) else 0.0
    kept = int((probability[truth] > threshold).sum())
    figures: dict[str, float] = {
        "scans": round(n_scans, 1),
        "of": int(truth.sum()),
        "threshold": round(threshold, 3),
        "kept": kept,
    }
    for point in (0.2, 0.3, 0.4, 0.5, 0.6):
        figures[f"kept_{point}"] = int((probability[truth] >= point).sum())
        figures[f"false_a_scan_{point}"] = round(float((false >= point).sum()) / n_scans, 3)
    return figures
