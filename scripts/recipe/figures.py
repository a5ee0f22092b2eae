"""Results on the test scans as trees that ``mbseg evaluate`` compares, and the files of the package."""

import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import pandas as pd
from segmentation_trees import truth_table, write_segmentation

from mbseg_bids.detection.candidates.classifier import load_candidate_classifier
from mbseg_bids.detection.lesions.segment import DetectionResult, segment_lesions
from mbseg_bids.detection.network.weights import WEIGHTS_FOLDER, load_weights, save_weights, write_manifest
from mbseg_bids.learning.candidates.classifier import mimic_among
from mbseg_bids.simulation.case import Case
from recipe.fit import CURVES_ALONE, read
from recipe.plans import SETTINGS

FALSE_LESIONS = "false-lesions.tsv"
"""What is found on the test scans and is no microbleed, one row each."""

LENIENT = 0.2
"""A threshold of the second look for those who would rather look at more than miss one."""


def test(work: Path, names: list[str], jobs: int) -> None:
    """Write truth and results of the test scans as BIDS derivatives: all steps, and without some."""
    shutil.rmtree(work / "trees", ignore_errors=True)
    with ProcessPoolExecutor(jobs) as pool:
        false = list(pool.map(write_trees, repeat(work), names))
    pd.concat(false).to_csv(work / FALSE_LESIONS, sep="\t", index=False, na_rep="n/a")


def write_trees(work: Path, name: str) -> pd.DataFrame:
    """Write the truth and the results of one scan; return its false lesions, all steps done, and what each lies on."""
    second_look = load_candidate_classifier()
    scan, probability = read(work, name)
    _, anatomy, seed = name.split("_")
    case, label = scan.as_case(), f"sub-{anatomy}s{seed}"
    paper = replace(SETTINGS, reader_criteria=False)
    variants = {
        "everything": (SETTINGS, second_look),
        "lenient": (replace(SETTINGS, second_look_threshold=LENIENT), second_look),
        "no_criteria": (paper, second_look),
        "curves": (SETTINGS, load_candidate_classifier(work / CURVES_ALONE)),
        "criteria": (SETTINGS, None),
        "paper": (paper, None),
        "network": (replace(paper, ratio_threshold=0.0, ratio_threshold_deep_gm=0.0), None),
    }
    results = {}
    for folder, (settings, model) in variants.items():
        result = results[folder] = segment_lesions(
            *(case.stack, probability, case.brain, case.regions, case.spacing, case.affine, settings),
            tissue=case.tissue,
            second_look=model,
        )
        tree = work / "trees" / folder
        write_segmentation(tree, label, result.lesions, result.lesion_table, case.affine)
        write_segmentation(
            *(tree, label, result.candidates, result.candidate_table, case.affine), segment="CMBcandidates"
        )
    write_segmentation(work / "trees" / "truth", label, case.lesions, truth_table(scan), case.affine)
    return false_lesions(case, results["everything"]).assign(scan=label)


def false_lesions(case: Case, result: DetectionResult) -> pd.DataFrame:
    """Return the rows of the lesion table that touch no true lesion, with the simulated mimic they lie on."""
    own = [result.lesions == index for index in result.lesion_table["index"]]
    table = result.lesion_table.assign(mimic=[mimic_among(case.mimics[where]) for where in own])
    return table[[not case.lesions[where].any() for where in own]]


def ship(network: Path) -> None:
    """Write weights and manifest of the package."""
    model, metadata = load_weights(network)
    for old in WEIGHTS_FOLDER.glob("*.safetensors"):
        old.unlink()
    save_weights(WEIGHTS_FOLDER / f"{metadata.name}.safetensors", model, metadata)
    write_manifest(WEIGHTS_FOLDER, metadata.name)
