"""``mbseg train``: patches from simulated scans, the two stages, and weights for the BIDS App."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mbseg_bids.errors import UnreadableDataError, UsageError

if TYPE_CHECKING:
    from mbseg_bids.learning.trainer import TrainingSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the three actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_sample(actions.add_parser("sample", help="simulate scans from label maps and cut patches for both stages"))
    csf = actions.add_parser("csf", help="stage 1: CSF against grey and white matter")
    _add_stage(csf, frozen_layers=0, rotations=0)
    microbleed = actions.add_parser("microbleed", help="stage 2: microbleed against everything else")
    _add_stage(microbleed, frozen_layers=5, rotations=19)
    microbleed.add_argument("--init", type=Path, required=True, metavar="FILE", help="weights of stage 1")
    microbleed.add_argument(
        "--hard-negatives",
        type=_fraction,
        default=0.0,
        metavar="SHARE",
        help="share of negatives that are dark voxels, mimics, lesion surroundings (default: 0, as in the paper)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the chosen action."""
    if args.action == "sample":
        return _sample(args)
    return _train(args)


def _add_sample(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("labelmaps", type=Path, nargs="+", help="FreeSurfer-numbered label maps, one a participant")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the .npz patch sets")
    parser.add_argument("--scans", type=_positive, default=1, metavar="N", help="scans per label map (default: 1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--patch-size", type=_positive, default=28, metavar="MM")


def _add_stage(parser: argparse.ArgumentParser, *, frozen_layers: int, rotations: int) -> None:
    parser.add_argument("patches", type=Path, nargs="+", help=".npz patch sets, or folders of them")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for weights, log and checkpoint")
    parser.add_argument("--epochs", type=_positive, default=10)
    parser.add_argument("--steps", type=_positive, help="mini-batches in all; overrides --epochs")
    parser.add_argument("--batch-size", type=_positive, default=40)
    parser.add_argument("--learning-rate", type=float, default=0.006)
    parser.add_argument("--schedule", choices=("constant", "cosine"), default="constant")
    parser.add_argument(
        "--freeze", type=int, default=frozen_layers, metavar="N", help="first layers that stay as they are"
    )
    parser.add_argument("--rotations", type=int, default=rotations, metavar="N", help="random rotations for each patch")
    parser.add_argument("--patch-size", type=_positive, default=28, metavar="MM")
    parser.add_argument("--input-size", type=_positive, default=224, metavar="PIXELS")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--workers", type=_positive, default=1, metavar="N", help="CPU threads that share each batch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="continue at the checkpoint of --out")


def _sample(args: argparse.Namespace) -> int:
    import nibabel as nib
    import numpy as np

    from mbseg_bids.imaging.volume import Volume
    from mbseg_bids.learning.simulated import cut_case, simulate

    for participant, path in enumerate(args.labelmaps, start=1):
        try:
            image = nib.load(path)
            labels = Volume(np.asarray(image.dataobj), image.affine)
        except (OSError, ValueError, nib.filebasedimages.ImageFileError) as error:
            raise UnreadableDataError(f"cannot read label map {path}: {error}", "give NIfTI label maps") from error
        for scan in range(args.scans):
            case, rng = simulate(labels, participant, args.seed + scan)
            stem = f"participant-{participant:03d}_scan-{args.seed + scan:03d}"
            cut_case(case, participant, rng, size=args.patch_size).save(args.out, stem)
            print(f"{stem}: {len(case.lesion_table)} microbleeds, {case.spacing[2]:g} mm slices", flush=True)
    return 0


def _train(args: argparse.Namespace) -> int:
    import torch

    from mbseg_bids.detection.classify import choose_device
    from mbseg_bids.detection.weights import WeightsMetadata, load_weights, save_weights
    from mbseg_bids.learning.patch_set import concatenate, load_patch_set
    from mbseg_bids.learning.stages import CSF_SPLIT, MICROBLEED_SPLIT, split, train_stage

    files = _patch_files(args.patches, args.action)
    patches = concatenate([load_patch_set(path) for path in files])
    if not 0 <= args.freeze <= 177:
        raise UsageError(f"--freeze {args.freeze}: the network has 177 layers", "give 0 to 177")
    sets = split(patches, CSF_SPLIT if args.action == "csf" else MICROBLEED_SPLIT, args.seed)
    settings = _settings(args)
    torch.set_num_threads(args.workers if args.device != "cuda" else torch.get_num_threads())
    initial = load_weights(args.init)[0] if args.action == "microbleed" else None
    model, validation, test = train_stage(
        sets, settings, args.out, initial=initial, device=choose_device(args.device), resume=args.resume
    )
    described = {"settings": _plain(settings), "validation": validation.as_row(), "test": test.as_row()}
    metadata = WeightsMetadata(
        args.action, args.action, args.patch_size, args.input_size, training={"patches": len(patches), **described}
    )
    path = args.out / f"{args.action}.safetensors"
    save_weights(path, model.cpu(), metadata)
    print(f"validation: {validation}\ntest: {test}\nwrote {path}")
    return 0


def _settings(args: argparse.Namespace) -> "TrainingSettings":
    from mbseg_bids.learning.rotation import Augmentation
    from mbseg_bids.learning.stages import CSF_STAGE, MICROBLEED_STAGE

    stage = CSF_STAGE if args.action == "csf" else MICROBLEED_STAGE
    hard = getattr(args, "hard_negatives", 0.0)
    if hard:
        mixture = {
            "background": 0.5 * (1 - hard),
            "candidate": 0.3 * hard,
            "mimic": 0.13 * hard,
            "surround": 0.07 * hard,
        }
        stage = replace(stage, fractions={"lesion": 0.5, **mixture})
    return replace(
        stage,
        epochs=args.epochs,
        steps=args.steps,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        schedule=args.schedule,
        frozen_layers=args.freeze,
        augmentation=Augmentation(rotations=args.rotations),
        patch_size=args.patch_size,
        input_size=args.input_size,
        workers=args.workers,
        seed=args.seed,
    )


def _plain(settings: "TrainingSettings") -> dict:
    from dataclasses import asdict

    return asdict(settings)


def _patch_files(paths: list[Path], stage: str) -> list[Path]:
    files = [file for path in paths for file in (sorted(path.glob(f"*_{stage}.npz")) if path.is_dir() else [path])]
    if not files:
        raise UsageError(f"no *_{stage}.npz in {', '.join(map(str, paths))}", "make patches with mbseg train sample")
    return files


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value
