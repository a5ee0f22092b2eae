"""``mbseg baseline``: the U-Net that the paper compares with, and the CSF map of a whole brain."""

import argparse
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbseg_bids.cli.numbers import part, positive, slices
from mbseg_bids.cli.resources import add_device, add_workers
from mbseg_bids.errors import CannotWriteError, UsageError

if TYPE_CHECKING:
    import pandas as pd

    from mbseg_bids.learning.examples.labelled_scan import LabelledScan
    from mbseg_bids.learning.unet.training import UNetTraining


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the five actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_sample(actions.add_parser("sample", help="simulate labelled scans from label maps"))
    _add_train(actions.add_parser("train", help="train a U-Net on slices, or on patches of slices"))
    _add_evaluate(actions.add_parser("evaluate", help="lesions found by a U-Net, for strides of its window, and time"))
    _add_csf(actions.add_parser("csf", help="whole-brain CSF map of ResNet-50 and U-Net against the truth"))
    report = actions.add_parser("report", help="table and figure from the folders of evaluate")
    report.add_argument("results", type=Path, nargs="+", metavar="DIR", help="folders that evaluate wrote")
    report.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for tables and figure")


def run(args: argparse.Namespace) -> int:
    """Run the chosen action."""
    return {"sample": _sample, "train": _train, "evaluate": _evaluate, "csf": _csf, "report": _report}[args.action](
        args
    )


def _add_sample(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("labelmaps", type=Path, nargs="+", help="FreeSurfer-numbered label maps, one a participant")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the scans (.npz)")
    parser.add_argument("--scans", type=positive, default=1, metavar="N", help="scans per label map (default: 1)")
    parser.add_argument("--lesions", type=int, metavar="N", help="microbleeds to place (default: 40-80 at random)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random")


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scans", type=Path, nargs="+", help="scans to train on: .npz files or folders of them")
    parser.add_argument("--validation", type=Path, nargs="+", required=True, metavar="SCAN", help="of other people")
    parser.add_argument("--task", choices=("csf", "microbleed"), required=True, help="what to label")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for weights, log and checkpoint")
    parser.add_argument("--init", type=Path, metavar="FILE", help="U-Net to go on from; its last block is made anew")
    parser.add_argument("--patch-size", type=positive, default=32, metavar="MM", help="256: whole slices (default 32)")
    parser.add_argument(
        "--features", type=positive, nargs="+", metavar="N", help="channels of each level, without --init"
    )
    parser.add_argument("--units", type=positive, metavar="N", help="convolutions of a level, without --init")
    parser.add_argument("--epochs", type=positive, default=10, help="times that all training windows are shown")
    parser.add_argument("--steps", type=positive, help="mini-batches in all; overrides --epochs")
    parser.add_argument("--batch-size", type=positive, default=20, help="windows of a mini-batch")
    parser.add_argument("--learning-rate", type=float, default=0.001, help="size of the steps")
    parser.add_argument("--optimiser", choices=("sgd", "adamw"), default="sgd", help="how weights follow gradients")
    parser.add_argument("--target-weight", type=float, default=1.0, help="of target voxels in the loss (default: 1)")
    parser.add_argument("--rotations", type=int, metavar="N", help="default: 19 for microbleeds, 0 for CSF")
    parser.add_argument(
        "--validate-every", type=positive, default=100, metavar="STEPS", help="mini-batches between validations"
    )
    parser.add_argument(
        "--validation-windows", type=positive, default=200, metavar="N", help="windows that a validation looks at"
    )
    parser.add_argument("--resume", action="store_true", help="continue at the checkpoint of --out")
    parser.add_argument("--seed", type=int, default=0, help="of everything random")
    add_device(parser)
    add_workers(parser)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scans", type=Path, nargs="+", help="scans to test on: .npz files or folders of them")
    parser.add_argument("--unet", type=Path, nargs="+", default=[], metavar="FILE", help="of mbseg baseline train")
    parser.add_argument("--resnet", metavar="FILE", help="weights of ResNet-50 to compare with; or: default")
    parser.add_argument(
        "--strides", type=part, nargs="+", default=[Fraction(1)], metavar="PART", help="of the window, 1 to 1/16"
    )
    parser.add_argument(
        "--blend",
        choices=("centre", "constant", "gaussian"),
        default="centre",
        help="of overlapping windows: the one whose middle a voxel lies in, or a mean over all",
    )
    parser.add_argument("--threshold", type=float, default=0.5, help="smallest probability of a lesion voxel")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for tables and figure")
    _add_slices(parser)
    add_device(parser)
    add_workers(parser)


def _add_csf(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scans", type=Path, nargs="+", help="scans to test on: .npz files or folders of them")
    parser.add_argument("--unet", type=Path, nargs="+", default=[], metavar="FILE", help="U-Nets trained on CSF")
    parser.add_argument("--resnet", metavar="FILE", help="weights of stage 1: of mbseg train csf")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for csf.tsv and pictures")
    _add_slices(parser)
    add_device(parser)
    add_workers(parser)


def _add_slices(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--slices", type=slices, default=slice(None), metavar="FIRST:END[:STEP]", help="default: all")


def _sample(args: argparse.Namespace) -> int:
    from mbseg_bids.learning.examples.labelled_scan import from_case, save_scan
    from mbseg_bids.learning.examples.simulated import simulate
    from mbseg_bids.simulation.labelmaps import read_labelmap

    for participant, path in enumerate(args.labelmaps, start=1):
        labels = read_labelmap(path)
        for scan in range(args.seed, args.seed + args.scans):
            case, _ = simulate(labels, participant, scan, n_lesions=args.lesions)
            written = save_scan(args.out, from_case(case, f"participant-{participant:03d}_scan-{scan:03d}"))
            print(f"{written}: {len(case.lesion_table)} microbleeds, {case.spacing[2]:g} mm slices", flush=True)
    return 0


def _train(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    import torch

    from mbseg_bids.detection.network.classify import choose_device
    from mbseg_bids.learning.examples.labelled_scan import load_scan, scan_files
    from mbseg_bids.learning.unet.network import UNetMetadata, UNetShape, build_unet, load_unet, save_unet, transfer
    from mbseg_bids.learning.unet.training import train_unet

    settings = _training(args)
    files, held_out = scan_files(args.scans), scan_files(args.validation)
    if {path.resolve() for path in files} & {path.resolve() for path in held_out}:
        raise UsageError("a scan is both in the training and in the validation set", "give scans of other people")
    torch.set_num_threads(args.workers)
    if args.init is None:
        given = {"features": args.features and tuple(args.features), "units": args.units}
        shape = UNetShape(**{name: value for name, value in given.items() if value})
        model = build_unet(shape, seed=args.seed)
    else:
        if args.features or args.units:
            raise UsageError("--features and --units are those of the U-Net given to --init", "leave them out")
        initial, metadata = load_unet(args.init)
        shape = metadata.shape
        model = transfer(initial, shape, seed=args.seed)
    if args.patch_size % shape.divisor:
        raise UsageError(
            f"--patch-size {args.patch_size} does not fit this U-Net", f"give a multiple of {shape.divisor}"
        )
    training, validation = ([load_scan(path) for path in paths] for paths in (files, held_out))
    scores = train_unet(
        model, training, validation, settings, args.out, device=choose_device(args.device), resume=args.resume,
        report=lambda line: print(line, flush=True),
    )  # fmt: skip
    made = {"settings": asdict(settings), "scans": len(training), "transfer": args.init is not None}
    name = f"unet-{args.task}-{args.patch_size}"
    path = args.out / f"{name}.safetensors"
    save_unet(path, model, UNetMetadata(name, args.task, args.patch_size, shape, training=made | asdict(scores)))
    print(f"validation: {scores}\nwrote {path}")
    return 0


def _training(args: argparse.Namespace) -> "UNetTraining":
    from mbseg_bids.learning.unet.training import UNetTraining

    rotations = args.rotations if args.rotations is not None else (19 if args.task == "microbleed" else 0)
    if rotations < 0:
        raise UsageError(f"--rotations {rotations} is negative", "give 0 or more")
    names = (
        "task", "patch_size", "epochs", "steps", "batch_size", "learning_rate", "optimiser", "target_weight",
        "validation_windows", "validate_every", "seed",
    )  # fmt: skip
    return UNetTraining(**{name: getattr(args, name) for name in names}, rotations=rotations)


def _evaluate(args: argparse.Namespace) -> int:
    import pandas as pd
    import torch

    from mbseg_bids.detection.network.weights import load_weights
    from mbseg_bids.evaluation.baseline_report import pool_scans
    from mbseg_bids.learning.examples.labelled_scan import scan_files
    from mbseg_bids.learning.unet.evaluation import evaluate_resnet, evaluate_unet, patch_sensitivity
    from mbseg_bids.learning.unet.network import load_unet
    from mbseg_bids.settings import DetectionSettings

    _need_a_network(args)
    if args.slices.step not in (None, 1):
        raise UsageError("lesions span slices next to each other", "give --slices FIRST:END")
    unets = [load_unet(path) for path in args.unet]
    resnet = load_weights(args.resnet) if args.resnet else None
    for metadata in [metadata for _, metadata in unets] + ([resnet[1]] if resnet else []):
        _check_task(metadata.name, metadata.task, "microbleed")
    settings = DetectionSettings(probability_threshold=args.threshold)
    torch.set_num_threads(args.workers)
    rows, patches = [], []
    for path in scan_files(args.scans):
        scan = _load(path, args.slices)
        for model, metadata in unets:
            found, n = patch_sensitivity(model.cpu(), metadata, scan)
            patches.append({"scan": scan.name, "patch_size": metadata.patch_size, "n_lesions": n, "n_found": found})
            for stride in args.strides:
                rows.append(
                    evaluate_unet(model, metadata, scan, stride, settings, blend=args.blend, device=args.device)
                )
                print(rows[-1], flush=True)
        if resnet:
            rows.append(evaluate_resnet(*resnet, scan, settings, n_workers=args.workers))
            print(rows[-1], flush=True)
    scans = pd.DataFrame([vars(row) for row in rows])
    _write_table(args.out / "scans.tsv", scans)
    if patches:
        _write_table(args.out / "patches.tsv", pd.DataFrame(patches))
    print(pool_scans(scans).to_string(index=False, na_rep="n/a", float_format="%.3f"))
    return 0


def _csf(args: argparse.Namespace) -> int:
    import pandas as pd
    import torch

    from mbseg_bids.detection.network.weights import load_weights
    from mbseg_bids.evaluation.csf import draw_csf, score_csf
    from mbseg_bids.learning.examples.labelled_scan import scan_files
    from mbseg_bids.learning.unet.csf_maps import CsfMap, resnet_csf, typical_slices, unet_csf
    from mbseg_bids.learning.unet.network import load_unet

    _need_a_network(args)
    networks: list[tuple[str, Any, CsfMap]] = []
    for path in args.unet:
        model, metadata = load_unet(path)
        networks.append((f"U-Net {metadata.patch_size}", metadata, unet_csf(model, metadata, args.device)))
    if args.resnet:
        model, of_resnet = load_weights(args.resnet)
        networks.append(("ResNet-50", of_resnet, resnet_csf(model, of_resnet, args.device, args.workers)))
    for _, metadata, _ in networks:
        _check_task(metadata.name, metadata.task, "csf")
    torch.set_num_threads(args.workers)
    rows = []
    for path in scan_files(args.scans):
        scan = _load(path, args.slices)
        truth, maps = scan.target("csf"), {}
        for name, _, predict in networks:
            probability, seconds = predict(scan)
            maps[name] = (probability >= 0.5) & scan.brain
            score = score_csf(probability, truth, scan.brain, scan.spacing)
            rows.append({"scan": scan.name, "network": name, "n_slices": truth.shape[2], "seconds": round(seconds, 1)})
            rows[-1] |= {key: round(value, 4) for key, value in vars(score).items()}
            print(rows[-1], flush=True)
        picture = draw_csf(scan.stack[2], truth, maps, typical_slices(truth))
        _write(args.out / f"{scan.name}_csf.png", picture)
    _write_table(args.out / "csf.tsv", pd.DataFrame(rows))
    return 0


def _report(args: argparse.Namespace) -> int:
    from mbseg_bids.evaluation.baseline_report import draw_figure, pool_patches, pool_scans, read_results, to_markdown

    scans, patches = read_results(args.results)
    table, by_patch = pool_scans(scans), pool_patches(patches)
    _write_table(args.out / "baseline.tsv", table)
    text = to_markdown(table, by_patch)
    _write(args.out / "baseline.md", text.encode("utf-8"))
    _write(args.out / "baseline.png", draw_figure(table, by_patch))
    print(text)
    return 0


def _load(path: Path, chosen: slice) -> "LabelledScan":
    from mbseg_bids.learning.examples.labelled_scan import load_scan

    scan = load_scan(path)
    return scan if chosen == slice(None) else scan.slices(chosen)


def _need_a_network(args: argparse.Namespace) -> None:
    if not args.unet and not args.resnet:
        raise UsageError("no network to evaluate", "give --unet FILE, --resnet FILE, or both")


def _check_task(name: str, task: str, wanted: str) -> None:
    if task != wanted:
        raise UsageError(f"the weights {name} were trained on {task}, not on {wanted}", f"give weights of {wanted}")


def _write_table(path: Path, table: "pd.DataFrame") -> None:
    _write(path, table.to_csv(sep="\t", index=False, na_rep="n/a", lineterminator="\n").encode("utf-8"))


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise CannotWriteError(f"cannot write {path}: {error}", "give another folder to --out") from error
