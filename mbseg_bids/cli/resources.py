"""Options that several commands of the workbench share: about the machine, and about what is trained for how long."""

import argparse
from pathlib import Path

from mbseg_bids.cli.numbers import positive, positive_float, whole


def add_device(options: argparse._ActionsContainer) -> None:
    """Add ``--device``."""
    options.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: the GPU where there is one"
    )


def add_precision(options: argparse._ActionsContainer) -> None:
    """Add ``--precision``."""
    options.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16", "float16"),
        default="auto",
        help="auto: mixed precision on a GPU, float32 on a CPU",
    )


def add_workers(options: argparse._ActionsContainer) -> None:
    """Add ``--workers``."""
    options.add_argument(
        "--workers",
        type=positive,
        default=1,
        metavar="N",
        help="CPU threads that share each batch; another number rounds differently",
    )


def add_time_limit(options: argparse._ActionsContainer) -> None:
    """Add ``--time-limit``."""
    options.add_argument(
        "--time-limit", type=positive_float, metavar="MINUTES", help="then write a checkpoint and exit with code 75"
    )


def add_patch_sets(parser: argparse._ActionsContainer, *, out: str) -> None:
    """Add the patch sets that are learnt from, and ``--out``, whose help is ``out``."""
    parser.add_argument("patches", type=Path, nargs="+", help=".npz patch sets, or folders of them")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help=out)


def add_length(options: argparse._ActionsContainer) -> None:
    """Add ``--epochs``, the paper's by default, and ``--steps``."""
    options.add_argument("--epochs", type=positive, default=10, help="times that all training patches are shown")
    options.add_argument("--steps", type=positive, help="mini-batches in all; overrides --epochs")


def add_training_seed(options: argparse._ActionsContainer) -> None:
    """Add ``--seed``."""
    options.add_argument("--seed", type=whole, default=0, help="of split, order and augmentation")
