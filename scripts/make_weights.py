"""Make the weights that come with mbseg_bids, and the candidate classifier fitted to them, from nothing but label maps.

    python scripts/make_weights.py LABELMAPS WORK --scale gpu --device cuda --minutes 9  # from random weights, on a GPU
    python scripts/make_weights.py LABELMAPS WORK --scale cpu --initial FILE    # on from a whole network
    python scripts/make_weights.py LABELMAPS WORK --scale toy --share 0.0002    # try every step

LABELMAPS holds labelmap_01.nii.gz to labelmap_14.nii.gz (FreeSurfer numbers, whole head, 1 mm), for instance those of
the SynthSeg repository. Simulated scans -> patches -> stage 1 (CSF) -> stage 2 (microbleeds) -> the networks of the
candidate classifier -> its curves -> results on scans of anatomies that nothing saw -> files of the package. Finished
steps are kept in WORK and not done again; an interrupted one goes on. With --minutes, all steps before the curves are
done side by side, as much of each as there is time for (recipe/side_by_side.py).
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise, repeat
from pathlib import Path

import torch
from recipe import candidates, figures, fit, network, real, side_by_side
from recipe.plans import SCALES, make_scan, plans

from mbseg_bids.detection.network.classify import choose_device

TRAINING_STEPS = ("scans", "patches", "network", "neighbourhoods", "candidates", "detect")
STEPS = ("backgrounds", *TRAINING_STEPS, "look", "test", "ship")


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
    parser.add_argument("--minutes", type=float, help="time there is for all steps before the classifier's curves")
    parser.add_argument("--jobs", type=int, default=2, help="scans computed side by side")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # the workers of training are threads of their own
    steps = args.steps
    if args.minutes is not None:
        first, *others = TRAINING_STEPS
        steps = ["side_by_side" if step == first else step for step in steps if step not in others]
    for step in steps:
        print(f"== {step}", flush=True)
        globals()[f"_{step}"](args)


def _backgrounds(args: argparse.Namespace) -> None:
    if args.backgrounds is not None:
        real.save_backgrounds(args.work, args.backgrounds, args.participants)


def _side_by_side(args: argparse.Namespace) -> None:
    device = choose_device(args.device)
    side_by_side.run(args.work, args.labelmaps, SCALES[args.scale], device, args.jobs, args.minutes * 60)


def _scans(args: argparse.Namespace) -> None:
    scale = SCALES[args.scale]
    every = list(plans(scale, "train", "look", "val", "test", "free"))
    planted = list(real.plantings(args.work, scale, "train", "look"))
    with ProcessPoolExecutor(args.jobs) as pool:
        list(pool.map(make_scan, repeat(args.labelmaps), repeat(args.work), every))
        list(pool.map(real.plant_scan, repeat(args.work), *zip(*planted, strict=True)) if planted else ())


def _patches(args: argparse.Namespace) -> None:
    scale = SCALES[args.scale]
    with ProcessPoolExecutor(args.jobs) as pool:
        list(pool.map(network.cut_plan, repeat(args.work), plans(scale, "train", "val")))
        list(pool.map(network.cut_planting, repeat(args.work), real.names(args.work, "train")))


def _network(args: argparse.Namespace) -> None:
    device = choose_device(args.device)
    if args.initial is not None:
        network.train_round(args.work, "tuned", args.initial, device, args.share)
        return
    network.train_csf(args.work, device, args.share)
    for before, name in pairwise(("csf", *side_by_side.ROUNDS)):
        network.train_round(args.work, name, args.work / f"{before}.safetensors", device, args.share)


def trained(args: argparse.Namespace) -> Path:
    """Return the file of the network."""
    return args.work / f"{side_by_side.ROUNDS[-1] if args.initial is None else 'tuned'}.safetensors"


def _neighbourhoods(args: argparse.Namespace) -> None:
    with ProcessPoolExecutor(args.jobs) as pool:
        list(pool.map(candidates.propose_plan, repeat(args.work), plans(SCALES[args.scale], "train")))
        list(pool.map(candidates.propose_planting, repeat(args.work), real.names(args.work, "train")))
    candidates.choose_examples(args.work, trained(args), choose_device(args.device))


def _candidates(args: argparse.Namespace) -> None:
    candidates.train(args.work, args.initial_look, choose_device(args.device), args.share)


def _names(args: argparse.Namespace, *parts: str) -> list[str]:
    names = [plan.name for plan in plans(SCALES[args.scale], *parts)]
    return names + (real.names(args.work, "look") if "look" in parts else [])


def _detect(args: argparse.Namespace) -> None:
    with ProcessPoolExecutor(args.jobs) as pool:
        names = _names(args, "look", "val", "test", "free")
        list(pool.map(fit.detect, repeat(trained(args)), repeat(args.work), names))


def _asked(args: argparse.Namespace, *parts: str) -> list[str]:
    """Return the scans of some parts that the network was asked about: not all, where time was short."""
    names = _names(args, *parts)
    asked = [name for name in names if fit.probability_file(args.work, name).is_file()]
    print(len(asked), "of", len(names), "scans of", *parts, flush=True)
    return asked


def _look(args: argparse.Namespace) -> None:
    fit.look(args.work, _asked(args, "look"), _asked(args, "val"), network.NAME, args.jobs, args.initial_curves)


def _test(args: argparse.Namespace) -> None:
    figures.test(args.work, _asked(args, "test", "free"), args.jobs)
    # Patches of one geometry: their figures say little, and take long on a CPU.
    scale = SCALES[args.scale]
    few = [plan for plan in plans(scale, "test") if plan.spacing == scale.geometries[0]]
    with ProcessPoolExecutor(args.jobs) as pool:
        list(pool.map(network.cut_plan, repeat(args.work), few))


def _ship(args: argparse.Namespace) -> None:
    figures.ship(trained(args))


if __name__ == "__main__":
    main()
