"""``mbseg train``: patches from labelled or simulated scans, the two stages, and weights for the BIDS App."""

import argparse

from mbseg_bids.cli import train_sample
from mbseg_bids.cli.numbers import amount, fraction, positive, positive_float, whole
from mbseg_bids.cli.resources import (
    add_device,
    add_length,
    add_patch_sets,
    add_precision,
    add_time_limit,
    add_training_seed,
    add_workers,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    train_sample.add_actions(actions)
    csf = actions.add_parser("csf", help="stage 1: CSF against grey and white matter")
    _add_stage(csf, frozen_layers=0, rotations=0)
    csf.add_argument("--init", default="random", metavar="WEIGHTS", help=_INIT + " (default: random; paper: imagenet)")
    microbleed = actions.add_parser("microbleed", help="stage 2: microbleed against everything else")
    _add_stage(microbleed, frozen_layers=5, rotations=19)
    microbleed.add_argument("--init", required=True, metavar="WEIGHTS", help=_INIT + "; in the paper, that of stage 1")
    microbleed.add_argument(
        "--hard-negatives",
        type=fraction,
        default=0.0,
        metavar="SHARE",
        help="share of negatives that are dark voxels, mimics, lesion surroundings (default: 0, as in the paper)",
    )


_INIT = "random, imagenet (from torch's cache), shipped (fine-tune the package's), or a file"


def run(args: argparse.Namespace) -> int:
    """Run the chosen action."""
    if args.action in train_sample.ACTIONS:
        return train_sample.run(args)
    return _train(args)


def _add_stage(parser: argparse.ArgumentParser, *, frozen_layers: int, rotations: int) -> None:
    add_patch_sets(parser, out="folder for weights, log and checkpoint")
    parser.add_argument("--name", help="name of the weights, written into every result (default: that of the stage)")
    how = parser.add_argument_group("how to train (defaults: Dadar et al. 2022)")
    add_length(how)
    how.add_argument("--batch-size", type=positive, default=40, help="patches of a mini-batch")
    how.add_argument("--optimiser", choices=("sgd", "adamw"), default="sgd", help="how weights follow gradients")
    how.add_argument("--learning-rate", type=positive_float, default=0.006, help="size of the steps")
    how.add_argument("--momentum", type=fraction, default=0.9, help="of sgd")
    how.add_argument("--weight-decay", type=amount, default=1e-4, help="pull of the weights towards zero")
    how.add_argument("--schedule", choices=("constant", "cosine"), default="constant", help="of the learning rate")
    how.add_argument("--warmup", type=whole, default=0, metavar="STEPS", help="over which the rate rises")
    how.add_argument(
        "--freeze", type=whole, default=frozen_layers, metavar="N", help="first layers that stay as they are"
    )
    how.add_argument("--rotations", type=whole, default=rotations, metavar="N", help="random rotations for each patch")
    how.add_argument("--mirror", action="store_true", help="mirror half of all training patches")
    how.add_argument("--gain", type=fraction, default=0.0, help="multiply each contrast by 1 -/+ this at most")
    how.add_argument("--noise", type=fraction, default=0.0, help="largest standard deviation of added noise (0-1)")
    how.add_argument("--gamma", type=amount, default=0.0, help="raise each contrast to a power in exp(-/+ this)")
    how.add_argument("--shift", type=amount, default=0.0, metavar="VOXELS", help="move T2w and T1w by this at most")
    how.add_argument("--blur", type=fraction, default=0.0, help="largest share of a 3 x 3 filter mixed in")
    how.add_argument(
        "--drop",
        type=fraction,
        nargs=2,
        default=(0.0, 0.0),
        metavar=("T2W", "T1W"),
        help="probability that a contrast is missing, so that the network can do without it",
    )
    how.add_argument("--patch-size", type=positive, metavar="MM", help="default: that of --init, else 28")
    how.add_argument("--input-size", type=positive, metavar="PIXELS", help="default: that of --init, else 224")
    how.add_argument("--new-last-layer", action="store_true", help="start it anew even when fine-tuning the same task")
    add_training_seed(how)
    means = parser.add_argument_group("with what")
    add_device(means)
    add_precision(means)
    add_workers(means)
    means.add_argument(
        "--validate-every", type=positive, default=200, metavar="STEPS", help="mini-batches between validations"
    )
    means.add_argument(
        "--checkpoint-every", type=positive, default=200, metavar="STEPS", help="mini-batches between checkpoints"
    )
    means.add_argument("--resume", action="store_true", help="continue at the checkpoint of --out, if there is one")
    add_time_limit(means)
    means.add_argument("--tensorboard", action="store_true", help="write curves for TensorBoard too")


def _train(args: argparse.Namespace) -> int:
    from mbseg_bids.learning.stages.run import StageRequest, run_stage

    request = StageRequest(
        stage=args.action,
        patches=tuple(args.patches),
        out=args.out,
        name=args.name or args.action,
        init=str(args.init),
        patch_size=args.patch_size,
        input_size=args.input_size,
        hard_negatives=getattr(args, "hard_negatives", 0.0),
        new_last_layer=args.new_last_layer,
        device=args.device,
        precision=args.precision,
        resume=args.resume,
        time_limit=args.time_limit,
        tensorboard=args.tensorboard,
        changes={
            "epochs": args.epochs,
            "steps": args.steps,
            "batch_size": args.batch_size,
            "optimiser": args.optimiser,
            "learning_rate": args.learning_rate,
            "momentum": args.momentum,
            "weight_decay": args.weight_decay,
            "schedule": args.schedule,
            "warmup": args.warmup,
            "frozen_layers": args.freeze,
            "workers": args.workers,
            "seed": args.seed,
            "validate_every": args.validate_every,
            "checkpoint_every": args.checkpoint_every,
        },
        augmentation={
            "rotations": args.rotations,
            "mirror": args.mirror,
            "gain": args.gain,
            "noise": args.noise,
            "gamma": args.gamma,
            "shift": args.shift,
            "blur": args.blur,
            "drop": tuple(args.drop),
        },
    )
    run_stage(request)
    return 0
