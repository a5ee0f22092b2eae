"""Write docs/model_card.md from the metadata of a weights file; the training script measured every figure in it."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mbseg_bids.detection.weights import WeightsMetadata, load_weights

TEXT = """# Model card: {name}

Written by `scripts/model_card.py` from the metadata in the weights file. **Every figure on this page is from simulated
scans.** Nobody has measured this network on labelled scans of people.

| | |
|---|---|
| File | `mbseg_bids/data/weights/{name}.safetensors`, SHA-256 `{sha256}` |
| Licence | Apache-2.0 |
| Task | whether the centre voxel of a patch belongs to a cerebral microbleed |
| Network | ResNet-50 with two outputs; {blocks} |
| Input | {patch_size} x {patch_size} mm in the slice plane, resized to {input_size} pixels; {channels}; 0-1 |
| Weights from elsewhere | none: random at the start |

## What it is for
The first network of the package, so that the BIDS App works from installation to report. It is for trying the tool,
for building on, and as a start for training on labelled scans (`mbseg train microbleed --init`). It is not for
diagnosis, and its counts should not be published without looking at every lesion.

## Data
Simulated T2*, T2w and T1w scans made from whole-head label maps (SynthSeg, Apache-2.0) by `mbseg_bids.simulation`:
tissue relaxation, microbleeds and veins as susceptibility sources, mimics, atrophy, noise and motion. {scans} training
scans of the anatomies {training}; the operating point was chosen on anatomies {validation}; the figures
below are from anatomies {test}. No anatomy is in two of these, but all share one simulator: it is the same world.
(Stage 1 and round A saw the first of these scans only; see `scripts/train_first_weights.py`. The training scans were
made before the last changes of the simulator, to tissue outside the brain and to large vessels; the others with it.)

Training patches: {patches}.

## Training
Two stages as in Dadar et al. 2022 (CSF against tissue, then microbleed against not), with these departures, for want
of time on a GPU and of weights trained on natural images:

{departures}

{rounds}

{calibration}

## Whole simulated scans of anatomies never seen in training
Every step of detection with its default settings: search mask, network, probability of 0.5, 26-connected components,
the intensity ratio rule. A lesion is found if a found lesion overlaps it.
Lesions below 8 mm3 count neither as missed nor as false. Dice is of voxels, over all lesions of the scan.

{scans_table}

{totals}

## Limits
- Never measured on real lesions. Real scans have vessels, artefacts and contrasts that the simulator does not know.
- Vessels cut across, above all sulcal veins, are what it most often takes for microbleeds.
- Small lesions (below 8 mm3) are not in the figures above; expect more of them to be missed.
- Trained on slices of 0.8 to 5 mm and echo times of 15 to 40 ms, 1.5 and 3 T. Outside that it is a guess.
- SWI, with its own filter and contrast, was not simulated.
- The probability is not calibrated: 0.5 is an operating point, not an even chance.
"""

DEPARTURES = {
    "optimiser": "optimiser {optimiser} instead of stochastic gradient descent, cosine schedule",
    "input": "input of {input_size} pixels instead of 224",
    "negatives": "not-microbleeds are mostly dark voxels, mimics and surroundings of lesions, not random voxels; later"
    " rounds add training voxels that the round before took for microbleeds",
    "augmentation": "mirroring, gain and noise beside rotation, and of negatives too",
    "blocks": "blocks that start as the identity are left out, in training and in inference, to save time; what the"
    " file holds for them is where they would start if training went on, and reaches no result",
}


def write_model_card(path: Path, metadata: WeightsMetadata, anatomies: Mapping[str, Sequence[int]]) -> None:
    """Write the page for one weights file."""
    training = metadata.training
    first = next(iter(training["rounds"].values()))["settings"]
    values = {"input_size": metadata.input_size, "optimiser": first["optimiser"]}
    text = TEXT.format(
        name=metadata.name,
        sha256=metadata.sha256,
        blocks=training["blocks"],
        patch_size=metadata.patch_size,
        input_size=metadata.input_size,
        channels=", ".join(metadata.channels),
        scans=training["scans"],
        **{part: ", ".join(map(str, numbers)) for part, numbers in anatomies.items()},
        patches=", ".join(f"{n:,} {kind}" for kind, n in training["patches"].items() if n),
        departures="\n".join(f"- {line.format(**values)}." for line in DEPARTURES.values()),
        rounds=_rounds(training["rounds"]),
        calibration=_calibration(training["calibration"]),
        scans_table=_scans(training["test"]),
        totals=_totals(training["test"]),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _rounds(rounds: Mapping[str, Any]) -> str:
    lines = [
        "| round | steps of 40 | rate | accuracy | area under ROC | lesion patches | dark voxels | mimics |",
        "|---" * 8 + "|",
    ]
    for name, facts in rounds.items():
        s, v = facts["settings"], facts["validation"]
        figures = (v["accuracy"], v["auc"], v["right_lesion"], v["right_candidate"], v["right_mimic"])
        lines.append(
            f"| {name} | {s['steps']} | {s['learning_rate']:g} | " + " | ".join(f"{f:.3f}" for f in figures) + " |"
        )
    return "Patches of the validation anatomies, fraction classified rightly at 0.5:\n\n" + "\n".join(lines)


def _calibration(facts: Mapping[str, Any]) -> str:
    chosen = facts["validation"][str(facts["probability"])]
    return (
        f"Operating point: on {chosen['n_scans']} whole scans of the validation anatomies ({chosen['n_truth']} lesions"
        f" of at least 8 mm3) a probability of {facts['probability']:g} separated best ({chosen['n_detected']} found,"
        f" {chosen['n_predicted'] - chosen['n_correct']} false); the bias of the last layer was shifted to make it 0.5."
    )


def _scans(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| anatomy | slices, mm | field, T | echo time, ms | lesions | found | false | Dice |", "|---" * 8 + "|"]
    for r in rows:
        false = r["n_predicted"] - r["n_correct"]
        lines.append(
            f"| {r['anatomy']} | {r['slices_mm']:g} | {r['field_t']:g} | {r['echo_time_ms']:.0f} | {r['n_truth']} |"
            f" {r['n_detected']} | {false} | {r['dice']:.2f} |"
        )
    return "\n".join(lines)


def _totals(rows: Sequence[Mapping[str, Any]]) -> str:
    truth, found = sum(r["n_truth"] for r in rows), sum(r["n_detected"] for r in rows)
    false = sum(r["n_predicted"] - r["n_correct"] for r in rows)
    people = len({r["anatomy"] for r in rows})
    return (
        f"Together: {found} of {truth} lesions found ({found / truth:.0%}), {false} false ones in {len(rows)} scans"
        f" ({false / len(rows):.1f} a scan) of {people} simulated participants."
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default="default")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "model_card.md")
    args = parser.parse_args()
    loaded = load_weights(args.weights)[1]
    write_model_card(args.out, loaded, loaded.training["anatomies"])
