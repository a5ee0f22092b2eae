"""Write a dataset of simulated heads with known microbleeds.

    python -m benchmarks.worlds OUT --freesurfer DIR --labelmaps DIR [--cerebra FILE] [--scans 12] [--seed 1] [--locked]

The truth goes to OUT/derivatives/truth. A run that was cut off goes on where it was; the same command gives the same
bytes.
"""

import argparse
import time
from pathlib import Path


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.worlds", description="Write a dataset of simulated heads with known microbleeds."
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the BIDS dataset")
    parser.add_argument("--freesurfer", type=Path, required=True, help="mri folder of a FreeSurfer subject")
    parser.add_argument("--labelmaps", type=Path, required=True, help="folder with labelmap_12 to labelmap_14")
    parser.add_argument("--cerebra", type=Path, help="CerebrA atlas: adds the head of the ICBM152 template")
    parser.add_argument("--scans", type=int, default=12, help="participants (default: 12)")
    parser.add_argument("--seed", type=int, default=1, help="seed of everything random (default: 1)")
    parser.add_argument(
        "--locked",
        action="store_true",
        help="a set that is only looked at once: seeds of its own, a new folder, checksums of all files",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit code."""
    parser = build_parser()
    args = parser.parse_args(arguments)
    if args.scans < 1 or args.seed < 0:
        parser.error("--scans must be 1 or more, --seed 0 or more")
    for path in (args.freesurfer, args.labelmaps, *([args.cerebra] if args.cerebra else [])):
        if not path.exists():
            parser.error(f"{path} does not exist")
    if args.locked and (args.out / "checksums.sha256").exists():
        parser.error(f"{args.out} holds a locked set already: give another folder")

    from benchmarks.worlds import dataset

    start = time.monotonic()

    def progress(participant: str, scan: dataset.Scan) -> None:
        print(
            f"sub-{participant}: {scan.head}, {scan.protocol.b0:g} T, {1000 * scan.protocol.echo_time:.0f} ms, slices "
            f"{scan.protocol.t2star.thickness:.1f} mm, {len(scan.lesions)} microbleeds to be seen, "
            f"{len(scan.hidden)} not; {time.monotonic() - start:.0f} s",
            flush=True,
        )

    heads = dataset.head_loaders(args.freesurfer, args.labelmaps, args.cerebra)
    plans = dataset.plan_scans(args.scans, args.seed, len(heads), args.locked)
    dataset.write_dataset(args.out, heads, plans, progress)
    if args.locked:
        print(f"wrote {dataset.write_checksums(args.out)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
