"""Options about the machine that several commands of the workbench share."""

import argparse

from mbseg_bids.cli.numbers import positive, positive_float


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
