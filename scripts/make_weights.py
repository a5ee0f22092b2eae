"""Make the weights that come with mbseg_bids, and the candidate classifier fitted to them, from nothing but label maps.

    python scripts/make_weights.py LABELMAPS WORK --scale gpu --device cuda     # from random weights, on a GPU
    python scripts/make_weights.py LABELMAPS WORK --scale cpu --initial FILE    # on from a whole network
    python scripts/make_weights.py LABELMAPS WORK --scale toy --share 0.0002    # try every step

LABELMAPS holds labelmap_01.nii.gz to labelmap_14.nii.gz (FreeSurfer numbers, whole head, 1 mm), for instance those of
the SynthSeg repository. Simulated scans -> patches -> stage 1 (CSF) -> stage 2 (microbleeds) -> the networks of the
candidate classifier -> its curves -> results on scans of anatomies that nothing saw -> files of the package. Finished
steps are kept in WORK and not done again; an interrupted one goes on.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import torch
from recipe import candidates, figures, fit, network, real
from recipe.plans import SCALES, make_scan, plans

from mbseg_bids.detection.network.classify import choose_device

STEPS = ("scans", "real", "patches", "network", "neighbourhoods", "candidates", "detect", "look", "test", "ship")


def main() -> None:
    """Do the steps asked for that are not done yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelmaps", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--share", type=float, default=1.0, help="of the patches and epochs that are shown for good")
    parser.add_argument("--initial", type=Path, help="weights of a whole network to go on from")
    parser.add_argument("--initial-look", type=Path, help="networks of the candidate classifier to go on from")
    parser.add_argument("--initial-curves", type=Path, help="candidate classifier whose curves are kept, for few scans")
    parser.add_argument("--backgrounds", type=Path, help="output folder of mbseg-bids on real scans to plant in")
    parser.add_argument("--participants", nargs="+", default=[], help="of these, who may be trained on")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--jobs", type=int, default=2, help="scans computed side by side")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # the workers of training are threads of their own
    for step in args.steps:
        print(f"== {step}", flush=True)
        globals()[f"_{step}"](args)


def _scans(args: argparse.Namespace) -> None:
    scale = SCALES[args.scale]
    every = list(plans(scale, "train", "look", "val", "test", "free"))
    with ProcessPoolExecutor(args.jobs) as pool:
        list(pool.map(make_scan, repeat(args.labelmaps), repeat(args.work), every))


def _real(args: argparse.Namespace) -> None:
    if args.backgrounds is not None:
        real.plant_scans(args.work, args.backgrounds, args.participants, SCALES[args.scale])


def _patches(args: argparse.Namespace) -> None:
    scale = SCALES[args.scale]
    # Of the test scans, those of one geometry: figures of patches say little, and take long on a CPU.
    few = [plan for plan in plans(scale, "test") if plan.spacing == scale.geometries[0]]
    every = [*plans(scale, "train", "val"), *few]
    with ProcessPoolExecutor(args.jobs) as pool:
        list(pool.map(network.cut_plan, repeat(args.work), every))
    for scan, number, repetition in real.planted(args.work, "train"):
        network.cut_patches(args.work, scan, number, repetition)


def _network(args: argparse.Namespace) -> None:
    device = choose_device(args.device)
    if args.initial is not None:
        rounds = {"tuned": args.initial}
    else:
        network.train_csf(args.work, device, args.share)
        rounds = {"first": args.work / "csf.safetensors", "second": args.work / "first.safetensors"}
    for name, before in rounds.items():
        network.train_round(args.work, name, before, device, args.share, SCALES[args.scale])


def trained(args: argparse.Namespace) -> Path:
    """Return the file of the network."""
    return args.work / ("second.safetensors" if args.initial is None else "tuned.safetensors")


def _neighbourhoods(args: argparse.Namespace) -> None:
    every = list(plans(SCALES[args.scale], "train"))
    with ProcessPoolExecutor(args.jobs) as pool:
        list(pool.map(candidates.sample_plan, repeat(args.work), repeat(trained(args)), every))
    for scan, number, repetition in real.planted(args.work, "train"):
        candidates.sample_scan(args.work, trained(args), scan, scan.name, [number, repetition, 5])


def _candidates(args: argparse.Namespace) -> None:
    candidates.train(args.work, args.initial_look, choose_device(args.device), args.share)


def _names(args: argparse.Namespace, *parts: str) -> list[str]:
    names = [plan.name for plan in plans(SCALES[args.scale], *parts)]
    return names + (real.names(args.work, "look") if "look" in parts else [])


def _detect(args: argparse.Namespace) -> None:
    with ProcessPoolExecutor(args.jobs) as pool:
        names = _names(args, "look", "val", "test", "free")
        list(pool.map(fit.detect, repeat(trained(args)), repeat(args.work), names))


def _look(args: argparse.Namespace) -> None:
    fit.look(args.work, _names(args, "look"), _names(args, "val"), network.NAME, args.jobs, args.initial_curves)


def _test(args: argparse.Namespace) -> None:
    figures.test(args.work, _names(args, "test", "free"), args.jobs)


def _ship(args: argparse.Namespace) -> None:
    figures.ship(trained(args))


if __name__ == "__main__":
    main()
