"""Train and measure the U-Net baseline: CSF on whole slices, transfer to microbleeds, figures 7 and 12, the table.

``python scripts/unet_baseline.py WORK --training A.npz ... --validation B.npz ... --test C.npz ...`` with scans of
``mbseg baseline sample``. Every step is one ``mbseg baseline`` command, printed before it runs; what is done already
is not done again. ``--scale paper`` is the schedule that Dadar et al. 2022 print, for a GPU; ``--scale reduced`` takes
some minutes of one CPU core.
"""

import argparse
import shlex
import time
from pathlib import Path

from mbseg_bids.cli import workbench

SCHEDULES: dict[str, dict] = {
    "paper": {
        "network": [],
        "csf": ["--epochs", "10"],
        **{size: ["--epochs", "10"] for size in (32, 64, 128, 256)},
    },
    "reduced": {
        "network": ["--features", "8", "16", "32", "64", "--units", "1"],
        "csf": ["--steps", "80", "--batch-size", "2", "--validation-windows", "10"],
        32: ["--steps", "300", "--batch-size", "20", "--validation-windows", "100"],
        # The larger the window, the rarer its target voxels: without weights, so few steps find none of them.
        64: ["--steps", "200", "--batch-size", "8", "--validation-windows", "60", "--target-weight", "4"],
        128: ["--steps", "120", "--batch-size", "4", "--validation-windows", "20", "--target-weight", "16"],
        256: ["--steps", "80", "--batch-size", "2", "--validation-windows", "10", "--target-weight", "64"],
    },
}
FAST = ["--optimiser", "adamw", "--learning-rate", "0.003"]
"""Of the reduced schedule: so few steps of the paper's stochastic gradient descent would change little."""
STRIDES = ["1", "1/2", "1/4", "1/8", "1/16"]


def main() -> None:
    """Run all steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    for name in ("training", "validation", "test"):
        parser.add_argument(f"--{name}", nargs="+", required=True, metavar="SCAN")
    parser.add_argument("--csf-training", nargs="+", metavar="SCAN", help="for the CSF task (default: --training)")
    parser.add_argument("--scale", choices=SCHEDULES, default="reduced")
    parser.add_argument("--stride-scan", metavar="SCAN", help="scan for the study of strides (default: the first test)")
    parser.add_argument("--stride-slices", default=":", metavar="FIRST:END")
    parser.add_argument("--csf-resnet", metavar="FILE", help="weights of stage 1, for figure 7")
    parser.add_argument("--csf-slices", default=":", metavar="FIRST:END[:STEP]")
    parser.add_argument("--resnet", metavar="FILE", help="weights of ResNet-50, for the table")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    schedule = SCHEDULES[args.scale]
    quick = FAST if args.scale == "reduced" else []
    work, device = args.work, ["--device", args.device]
    held_out = ["--validation", *args.validation]
    csf = work / "csf" / "unet-csf-256.safetensors"
    unets = {size: work / f"microbleed-{size}" / f"unet-microbleed-{size}.safetensors" for size in (32, 64, 128, 256)}

    def train_csf() -> None:
        options = ["--task", "csf", "--patch-size", "256", *schedule["network"], *schedule["csf"], *quick, *device]
        step(csf, ["train", *(args.csf_training or args.training), *held_out, "--out", str(csf.parent), *options])

    def train_microbleeds(size: int) -> None:
        options = ["--task", "microbleed", "--patch-size", str(size), "--init", str(csf), *schedule[size], *quick]
        step(unets[size], ["train", *args.training, *held_out, "--out", str(unets[size].parent), *options, *device])

    train_csf()
    train_microbleeds(32)
    scan = args.stride_scan or args.test[0]
    options = ["--unet", str(unets[32]), "--strides", *STRIDES, f"--slices={args.stride_slices}", *device]
    step(work / "strides" / "scans.tsv", ["evaluate", scan, "--out", str(work / "strides"), *options])
    options = ["--unet", str(csf), f"--slices={args.csf_slices}", *device]
    options += ["--resnet", args.csf_resnet] if args.csf_resnet else []
    step(work / "csf-map" / "csf.tsv", ["csf", args.test[0], "--out", str(work / "csf-map"), *options])
    for size in (64, 128, 256):
        train_microbleeds(size)
    options = ["--unet", *(str(path) for path in unets.values()), *device]
    options += ["--resnet", args.resnet] if args.resnet else []
    step(work / "windows" / "scans.tsv", ["evaluate", *args.test, "--out", str(work / "windows"), *options])
    for name in ("strides", "windows"):
        step(
            work / f"report-{name}" / "baseline.md", ["report", str(work / name), "--out", str(work / f"report-{name}")]
        )


def step(result: Path, arguments: list[str]) -> None:
    """Run one command unless its result is there."""
    print(f"\n$ mbseg baseline {shlex.join(arguments)}", flush=True)
    if result.is_file():
        print("done before", flush=True)
        return
    cpu, wall = time.process_time(), time.perf_counter()
    code = workbench.main(["baseline", *arguments])
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(f"{cpu:.0f} CPU seconds, {wall:.0f} s", flush=True)
    if code:
        raise SystemExit(code)


if __name__ == "__main__":
    main()
