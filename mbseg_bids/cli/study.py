"""``mbseg study``: the paper's study of hyper-parameters, shared out over a cluster."""

import argparse
from pathlib import Path

from mbseg_bids.cli.numbers import positive
from mbseg_bids.cli.resources import (
    add_device,
    add_length,
    add_patch_sets,
    add_precision,
    add_time_limit,
    add_training_seed,
    add_workers,
)
from mbseg_bids.errors import CannotWriteError, UsageError

FACTORS = ("patch", "freeze", "batch", "rate", "rotations")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the two actions and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    run_ = actions.add_parser("run", help="do the runs, or a shard of them; done ones are not repeated")
    add_patch_sets(run_, out="folder of the study, shared by all shards")
    run_.add_argument("--init", required=True, metavar="WEIGHTS", help="as in mbseg train microbleed; last layer new")
    run_.add_argument("--factors", nargs="+", choices=FACTORS, default=FACTORS, help="default: all")
    run_.add_argument(
        "--values",
        nargs="+",
        default=[],
        metavar="FACTOR=A,B,...",
        help="other values than the paper's, e.g. patch=14,28 rate=0.002,0.006",
    )
    run_.add_argument("--repetitions", type=positive, default=5, metavar="N", help="default: 5, as in the paper")
    add_length(run_)
    run_.add_argument(
        "--input-size", type=positive, default=224, metavar="PIXELS", help="default: 224, as in the paper"
    )
    run_.add_argument("--score-patches", type=positive, metavar="N", help="of each kind at most (default: all)")
    run_.add_argument("--note", default="", help="words about the data for table and figures, e.g. 'simulated scans'")
    add_training_seed(run_)
    run_.add_argument("--shard", type=_shard, default=(1, 1), metavar="K/N", help="every N-th run, from the K-th")
    run_.add_argument("--dry-run", action="store_true", help="list the runs of the shard and do none")
    add_device(run_)
    add_precision(run_)
    add_workers(run_)
    add_time_limit(run_)
    collect = actions.add_parser("collect", help="join the results into one table and draw the figures")
    collect.add_argument("study", type=Path, help="folder of the study")
    collect.add_argument("--out", type=Path, metavar="DIR", help="for study.tsv and figures (default: that folder)")


def run(args: argparse.Namespace) -> int:
    """Run the chosen action."""
    return _collect(args) if args.action == "collect" else _run(args)


def _run(args: argparse.Namespace) -> int:
    import sys

    import torch

    from mbseg_bids.detection.network.classify import choose_device
    from mbseg_bids.learning.stages.initial import starting_network
    from mbseg_bids.learning.stages.run import choose_precision, read_patches
    from mbseg_bids.learning.stages.stage import MICROBLEED_SPLIT, split
    from mbseg_bids.learning.study.plan import Plan
    from mbseg_bids.learning.study.runs import run_study
    from mbseg_bids.learning.training.checkpoint import make_writable
    from mbseg_bids.learning.training.interruption import StopRequest
    from mbseg_bids.learning.training.log import Display

    plan = Plan(
        values=_values(args.factors, args.values),
        repetitions=args.repetitions,
        epochs=args.epochs,
        steps=args.steps,
        input_size=args.input_size,
        score_patches=args.score_patches,
        init=args.init,
        seed=args.seed,
        note=args.note,
    )
    if args.dry_run:
        runs = [r for n, r in enumerate(plan.runs()) if n % args.shard[1] == args.shard[0] - 1]
        print("\n".join(r.name for r in runs), f"{len(runs)} runs; {plan.scale}", sep="\n")
        return 0
    make_writable(args.out)
    device = choose_device(args.device)
    starting_network(args.init)
    torch.set_num_threads(args.workers)
    sets = split(read_patches(tuple(args.patches), "microbleed"), MICROBLEED_SPLIT, args.seed)
    with StopRequest(None if args.time_limit is None else 60 * args.time_limit) as stop:
        run_study(
            plan,
            sets,
            args.out,
            shard=args.shard,
            device=device,
            workers=args.workers,
            precision=choose_precision(args.precision, device),
            stop=stop,
            display=Display(bar=sys.stderr.isatty()),
            report=lambda line: print(line, flush=True),
        )
    return 0


def _collect(args: argparse.Namespace) -> int:
    import sys

    from mbseg_bids.learning.study.figures import write_figures
    from mbseg_bids.learning.study.runs import collect, summarise

    table, missing = collect(args.study)
    out = args.out or args.study
    try:
        out.mkdir(parents=True, exist_ok=True)
        table.to_csv(out / "study.tsv", sep="\t", index=False, na_rep="n/a", lineterminator="\n")
        figures = write_figures(table, out)
    except OSError as error:
        raise CannotWriteError(f"cannot write to {out}: {error}", "give another folder to --out") from error
    if missing:
        print(f"{missing} runs are not done", file=sys.stderr)
    print(summarise(table).to_string(index=False, float_format="{:.4g}".format))
    print(table["scale"].iloc[0], *(f"wrote {path}" for path in (out / "study.tsv", *figures)), sep="\n")
    return 0


def _values(factors: list[str], texts: list[str]) -> dict[str, tuple[float, ...]]:
    from mbseg_bids.learning.study.plan import FACTORS as PAPER

    values = {factor: PAPER[factor] for factor in factors}
    for text in texts:
        factor, _, listed = text.partition("=")
        if factor not in values:
            raise UsageError(f"--values {text}: no factor {factor!r} is studied", f"one of: {', '.join(values)}")
        try:
            numbers = tuple(float(n) if factor == "rate" else int(n) for n in listed.split(","))
        except ValueError as error:
            raise UsageError(f"--values {text} is not FACTOR=A,B,...", "write e.g. patch=14,28") from error
        if min(numbers) < 0 or (factor in ("patch", "batch", "rate") and min(numbers) <= 0):
            raise UsageError(f"--values {text}: a value is not positive", "write e.g. patch=14,28")
        values[factor] = numbers
    return values


def _shard(text: str) -> tuple[int, int]:
    try:
        k, n = (int(part) for part in text.split("/"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is not K/N") from error
    if not 1 <= k <= n:
        raise argparse.ArgumentTypeError(f"{text}: K goes from 1 to N")
    return k, n
