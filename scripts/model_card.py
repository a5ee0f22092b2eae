"""Write docs/model_card.md from the metadata of shipped weights and candidate classifier; no figure is typed in."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recipe.fit import REAL

from mbseg_bids.detection.candidates.classifier import read_candidate_classifier
from mbseg_bids.detection.network.weights import WeightsMetadata, load_weights

TEXT = """# Model card: {name}

Written by `scripts/model_card.py` from the metadata in the files. **Every figure on this page is from simulated
scans, or from microbleeds planted in real ones.** Nobody has measured this network on labelled scans of people. How it
does on whole scans, world by world: [results.md](results.md).

| | |
|---|---|
| Network | `mbseg_bids/data/weights/{name}.safetensors`, SHA-256 `{sha256}` |
| Candidate classifier | `mbseg_bids/data/second_look/second-look.json`: {curves} curves, one for each measure |
| Licence | Apache-2.0 |
| Task | whether the centre voxel of a patch belongs to a cerebral microbleed |
| Architecture | ResNet-50 with two outputs; {blocks} |
| Input | {patch_size} x {patch_size} mm in the slice plane, resized to {input_size} pixels; {channels}; 0-1 |
| Weights from elsewhere | none: random at the start |

## What it is for
Candidates for a person to look at, lesion by lesion; a start for training on labelled scans
(`mbseg train microbleed --init shipped`). It is not for diagnosis, and its counts should not be published without
looking at every lesion.

## Data
Simulated T2*, T2w and T1w scans made from whole-head label maps (SynthSeg, Apache-2.0) by `mbseg_bids.simulation`:
tissue relaxation, microbleeds and veins as susceptibility sources, dura, calcium, vessels in fluid of every width,
errors of mask, tissue map and registration, contrasts varied beyond those of real sequences. {scans} training scans of
the label maps {training}; validation on {validation}; figures from {test}. Nobody is in two of these.
{planted}
Training patches of stage 2: {patches}.

## Training
Two stages as in Dadar et al. 2022 (CSF against tissue, then microbleed against not), with these departures:

- AdamW instead of stochastic gradient descent, cosine schedule, mixed precision.
- Input of {input_size} pixels instead of 224: it shows the same 28 mm.
- Negatives are mostly dark voxels, mimics and surroundings of lesions, not random voxels.
- Mirroring, gain, gamma, noise, blur, and T2w and T1w shifted by up to a voxel or missing ({drop}), beside rotation,
  and of negatives too. So the network can be used without T2w or T1w.
- One run, not five: the spread over seeds is not known.
{before}
The last round on patches of the validation anatomies, fraction classified rightly at 0.5 (all contrasts there):

{rounds}

{second_look}
## Limits
- Never measured on real lesions. Real scans have vessels, artefacts and contrasts that the simulator does not know.
- Vessels cut across are what it most often takes for microbleeds; with thick slices neither criteria nor candidate
  classifier can tell.
- Trained on slices of 0.8 to 7 mm and echo times of 15 to 40 ms, 1.5 and 3 T. Outside that it is a guess.
- The network's probability is an operating point, not an even chance; that of the candidate classifier is calibrated,
  for simulated scans with as many microbleeds as in a clinical cohort.
"""

CANDIDATE_CLASSIFIER = """## The candidate classifier
Fitted to {mimics:,} mimics and {microbleeds:,} microbleeds among the candidates that the reader's criteria left of
slabs, {slab_mm:g} mm high, of {look_scans} scans: simulated ones of the training anatomies (not those of the training
patches){real}. Weighted so that a scan has {lesions_per_scan:g} microbleeds. {fit} Log loss of scans left out,
anatomy by anatomy: {log_loss:.3f}.

One measure is the answer of {network_members} small convolutional networks that see the slices around a candidate
(`lesion-network.safetensors`, SHA-256 `{network_sha256}`): the mean of
their log odds. They were trained alike but for the seed, on {network_microbleeds:,} microbleeds and {network_others:,}
other dark places of {network_scans} scans, for {network_epochs:g} epochs{network_before}.

What it keeps of scans that it was not fitted to (out of fold, and the validation scans), and false ones a scan:

{thresholds}
{seen}"""

SEEN = """
The real sessions are those of training, planted anew: what is dark in them the networks have seen, and that row
flatters. Sessions that nothing was trained on stand in [results](results.md).
"""

ANEW = "Every curve was fitted to them."
CARRIED = """The curves have the shape of an earlier fit to many more scans, of a narrower simulator; fitted here were
how much they weigh together ({weight_of_curves:.2f}), how much the networks' answer weighs beside them
({slope_of_networks:.2f} a unit of log odds) and where the log odds start. The last comes from the scans that look like
good scans of people."""

PLANTED = """
{n} further training scans are real ones with simulated microbleeds planted in them, again and again in the same {real}
sessions; whatever else is dark there counts as no microbleed. {about}
"""

BEFORE = """- Before these rounds the whole network was trained on a GPU on {scans} scans of an earlier, narrower
  version of the simulator, with an input of {input_size} pixels: {csf_patches:,} patches of CSF and tissue, then
  {microbleed_patches:,} of microbleeds and not.
"""


def write_model_card(path: Path, metadata: WeightsMetadata, second_look: Mapping[str, Any], curves: int) -> None:
    """Write the page for one weights file and one candidate classifier (its training facts, its number of curves)."""
    training = metadata.training
    last = list(training["rounds"].values())[-1]
    drop = last["settings"]["augmentation"]["drop"]
    before = training["rounds"].get("before", {})
    text = TEXT.format(
        name=metadata.name,
        sha256=metadata.sha256,
        blocks=training["blocks"],
        patch_size=metadata.patch_size,
        input_size=metadata.input_size,
        channels=", ".join(metadata.channels),
        scans=training["scans"],
        **{part: ", ".join(map(str, numbers)) for part, numbers in training["anatomies"].items()},
        patches=", ".join(f"{n:,} {kind}" for kind, n in training["patches"].items() if n),
        drop=f"{drop[0]:.0%} and {drop[1]:.0%} of the patches",
        planted=_planted(training, second_look.get("about_backgrounds", "")),
        before=BEFORE.format(**before) if before else "",
        rounds=_rounds(training["rounds"]),
        curves=curves,
        second_look=_second_look(second_look),
    )
    path.write_text(text, encoding="utf-8")


def _planted(training: Mapping[str, Any], about: str) -> str:
    real = training["real_backgrounds"]
    return PLANTED.format(n=training["planted_scans"], real=len(real), about=about) if real else ""


def _second_look(facts: Mapping[str, Any]) -> str:
    """Return the section on the candidate classifier."""
    about = {key: facts[key] for key in ("mimics", "microbleeds", "lesions_per_scan", "log_loss", "slab_mm")}
    about |= {"look_scans": facts["scans"]} | _lesion_network(facts["lesion_network"])
    real = ", and real scans with planted microbleeds" if REAL in facts["figures"] else ""
    fit = CARRIED.format(**facts) if facts.get("curves_of") else ANEW
    about |= {"thresholds": _thresholds(facts["figures"]), "seen": SEEN if real else ""}
    return CANDIDATE_CLASSIFIER.format(real=real, fit=fit, **about)


def _lesion_network(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "network_sha256": facts["sha256"],
        "network_microbleeds": facts["microbleeds"],
        "network_others": facts["examples"] - facts["microbleeds"],
        "network_scans": facts["scans"],
        "network_epochs": facts["settings"]["epochs"],
        "network_members": len(facts["members"]) + facts.get("kept", 0),
        "network_before": _before(facts),
    }


def _before(facts: Mapping[str, Any]) -> str:
    if not facts.get("before"):
        return ""
    on = f", on from networks of SHA-256 `{facts['before'][:12]}...`"
    return f"{on}; {facts['kept']} of those answer too, as they were" if facts.get("kept") else on


def _rounds(rounds: Mapping[str, Any]) -> str:
    lines = ["| round | patches shown | rate | accuracy | area under ROC | by kind |", "|---" * 6 + "|"]
    for name, facts in rounds.items():
        if "settings" not in facts:
            continue
        s, v = facts["settings"], facts["validation"]
        kinds = ", ".join(f"{k.removeprefix('right_')} {f:.3f}" for k, f in v.items() if k.startswith("right_"))
        figures = f"{v['accuracy']:.3f} | {v['auc']:.3f} | {kinds}"
        lines.append(f"| {name} | {s['steps'] * s['batch_size']:,} | {s['learning_rate']:g} | {figures} |")
    return "\n".join(lines)


def _thresholds(figures: Mapping[str, Mapping[str, float]]) -> str:
    points = [key.removeprefix("kept_") for key in next(iter(figures.values())) if key.startswith("kept_")]
    lines = [
        "| scans | " + " | ".join(f"threshold {point}" for point in points) + " |",
        "|---" * (len(points) + 1) + "|",
    ]
    for world, row in figures.items():
        cells = [
            f"{row[f'kept_{p}']:.0f} of {row['of']:.0f}, {row[f'false_a_scan_{p}']:.2f} false a scan" for p in points
        ]
        lines.append(f"| {row['scans']:g} brains, {world} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default="default")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "model_card.md")
    args = parser.parse_args()
    look = read_candidate_classifier()
    write_model_card(args.out, load_weights(args.weights)[1], look.training, len(look.curves))
