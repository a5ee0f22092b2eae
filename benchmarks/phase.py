"""Calcium rejected and microbleeds lost by the phase, on candidates of the deep nuclei in simulated scans.

Whole simulated heads at 1.5 and 3 T, echo times of 15-40 ms, slices of 1-5 mm, with vessels, iron, air, bone and
sinuses. Candidates are what a reader would outline of each microbleed (putamen, thalamus, pallidum, caudate) and each
deposit of calcium (pallidum, dentate nucleus, choroid plexus), so that sensitivity and precision are those of
detection that takes all of both. Nothing of the network is run.

    python benchmarks/phase.py [--scans 12] [--seed 0] [--mask-error 0] [--out phase.tsv]
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from mbseg_bids.detection.phase.dipole import PhaseScan
from mbseg_bids.detection.phase.evidence import judge_by_phase
from mbseg_bids.imaging.labels import DEEP_GM, REGIONS
from mbseg_bids.imaging.phase import Echo
from mbseg_bids.simulation import acquisition as acq
from mbseg_bids.simulation.anatomy import Anatomy, make_anatomy
from mbseg_bids.simulation.calcification import parenchymal_deposits
from mbseg_bids.simulation.labelmaps import bundled_head
from mbseg_bids.simulation.lesions import draw_microbleeds
from mbseg_bids.simulation.mimics import draw_mimics
from mbseg_bids.simulation.phase import calcification_truth, signal_phase
from mbseg_bids.simulation.protocol import Protocol
from mbseg_bids.simulation.scan import acquire, paint_contrasts, render_features, white_matter_mean
from mbseg_bids.simulation.susceptibility import Feature

SLICES = (1.0, 2.0, 3.0, 4.0, 5.0)
EACH = 8
"""Microbleeds, and deposits of calcium, of a scan."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--mask-error", type=float, default=0.0, help="mm that the brain mask is too wide")
    parser.add_argument("--out", type=Path, help="TSV of every candidate")
    args = parser.parse_args()
    rows, started = [], time.process_time()
    for number in range(args.scans):
        rng = np.random.default_rng([args.seed, number])
        rows += one_scan(rng, (3.0, 1.5)[number % 2], SLICES[number // 2 % len(SLICES)], number, args.mask_error)
        print(f"scan {number + 1} of {args.scans}, {time.process_time() - started:.0f} s of CPU", flush=True)
        if args.out:
            pd.DataFrame(rows).to_csv(args.out, sep="\t", index=False)
    report(pd.DataFrame(rows))


def one_scan(rng: np.random.Generator, field: float, slices: float, number: int, mask_error: float) -> list[dict]:
    """Make a head, scan it, and have its phase judge every candidate; one row each."""
    labelmap, grey_white = bundled_head()
    anatomy = make_anatomy(labelmap, rng, age=float(rng.integers(55, 88)), grey_white=grey_white)
    bleeds = draw_microbleeds(anatomy, EACH, rng, shares={DEEP_GM: 1.0}, apart=7.0)
    calcium = parenchymal_deposits(anatomy, EACH, rng, avoid=[bleed.centre for bleed in bleeds], apart=7.0)
    features = [*bleeds, *calcium, *draw_mimics(anatomy, rng, load=0.6)]
    protocol = Protocol(
        field_strength=field,
        spacing=(*((1.0, 1.0) if slices > 1 else (0.8, 0.8)), slices),
        echo_time=float(rng.uniform(15, 32) if field == 3.0 else rng.uniform(20, 40)),
        snr=(float(np.exp(rng.uniform(np.log(15), np.log(60)))), 40.0, 35.0),
        tilt=tuple(rng.normal(0, (0.15, 0.02, 0.02)).tolist()),
    )
    sign = int(rng.choice([-1, 1]))
    scan, truth = scanned(anatomy, features, protocol, rng, sign)
    if mask_error:
        spacing = np.linalg.norm(scan.affine[:3, :3], axis=0)
        scan = replace(scan, brain=ndimage.distance_transform_edt(~scan.brain, sampling=spacing) <= mask_error)
    judged = judge_by_phase(scan, truth["labels"], truth["labels"])
    common = {"scan": number, "field": field, "slices": slices, "echo_time": round(protocol.echo_time, 1)}
    common |= {"convention": judged.convention.sign * sign, "errors": round(abs(judged.convention.errors), 1)}
    rows = []
    for label, (kind, feature, region) in truth["candidates"].items():
        fit = judged.fits.get(label)
        radius = float(np.cbrt(sum(source.radius**3 for source in feature.sources)))
        verdict = np.sign(fit.moment) if fit is not None and fit.sure else 0
        rows.append(common | {"kind": kind, "region": region, "diameter": round(2 * radius, 2), "verdict": verdict})
    return rows


def scanned(
    anatomy: Anatomy, features: list[Feature], protocol: Protocol, rng: np.random.Generator, sign: int
) -> tuple[PhaseScan, dict]:
    """T2* of a head with its phase turned by `sign`, and its candidates: labels, and what each is."""
    image = paint_contrasts(anatomy, protocol, features, rng)[0]
    affine, shape = acq.scan_grid(anatomy, protocol.spacing, protocol.tilt)
    rendering = render_features(features, image, affine, shape, protocol)
    gradients = acq.air_dephasing(anatomy, protocol)
    signal = acquire(
        image, affine, shape, rng,
        sigma=white_matter_mean(image, anatomy) / protocol.snr[0], bias=protocol.bias[0], ringing=protocol.ringing,
        kept=protocol.kept,
        modulation=rendering.ratio * acq.dropout_factor(gradients, affine, shape, protocol.echo_time),
        turn=signal_phase(anatomy, features, image, affine, shape, protocol, rng),
    )  # fmt: skip
    brain, regions = acq.map_votes((anatomy.brain, anatomy.regions), anatomy.labels.affine, affine, shape)
    found, calcium = calcification_truth(features, image, affine, shape, protocol)
    labels, candidates = np.zeros(shape, np.int32), {}
    for kind, of, known in (("microbleed", rendering, features), ("calcium", found, calcium)):
        for index, feature in enumerate(of.numbers, start=1):
            where = (of.lesions == index) & (brain > 0) & (labels == 0)
            if where.any():
                label = len(candidates) + 1
                labels[where] = label
                most = int(np.bincount(regions[where], minlength=len(REGIONS) + 1)[1:].argmax()) + 1
                candidates[label] = (kind, known[feature], REGIONS[most])
    echo = Echo(np.abs(signal), (sign * np.angle(signal)).astype(np.float32), protocol.echo_time / 1e3)
    scan = PhaseScan((echo,), brain > 0, affine, protocol.field_strength)
    return scan, {"labels": labels, "candidates": candidates}


def report(table: pd.DataFrame) -> None:
    """Print conventions, then what became of the candidates."""
    scans = table.drop_duplicates("scan")
    right, wrong = int((scans["convention"] == 1).sum()), int((scans["convention"] == -1).sum())
    unsure = len(scans) - right - wrong
    print(f"\nconvention: right in {right} of {len(scans)} scans, wrong in {wrong}, not sure in {unsure}")
    # A wrong convention turns every verdict.
    table = table.assign(rejected=table["verdict"] < 0)
    groups = [("all", table), ("deep grey matter", table[table["region"] == "deep_gm"])]
    groups += [(f"{name:g} T", part) for name, part in table.groupby("field")]
    groups += [(f"{name:g} mm slices", part) for name, part in table.groupby("slices")]
    large = table["diameter"] >= 3
    groups += [("3 mm and more", table[large]), ("below 3 mm", table[~large])]
    print("| | calcium rejected | microbleeds lost | sensitivity, without / with | precision, without / with |")
    print("|---|---|---|---|---|")
    for name, part in groups:
        calcium, bleeds = part[part["kind"] == "calcium"], part[part["kind"] == "microbleed"]
        if not len(calcium) or not len(bleeds):
            continue
        left, kept = int((~calcium["rejected"]).sum()), int((~bleeds["rejected"]).sum())
        print(
            f"| {name} | {len(calcium) - left} of {len(calcium)} | {len(bleeds) - kept} of {len(bleeds)} "
            f"| 1.00 / {kept / len(bleeds):.2f} | {len(bleeds) / len(part):.2f} / {kept / max(kept + left, 1):.2f} |"
        )


if __name__ == "__main__":
    main()
