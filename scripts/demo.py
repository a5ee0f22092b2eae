"""The demo: simulate a small dataset, segment it, gather the group table, compare with the simulated truth.

Only the two console commands are used, as a user would use them. Participants, sessions and seed are fixed so that
the demo can be repeated to the byte.
"""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

BIN = Path(sys.executable).parent
CONFIG = Path(__file__).parents[1] / "examples" / "coarse.toml"


def run(title: str, *command: str | Path) -> None:
    """Show and run one command; stop the demo when it fails."""
    print(f"\n== {title}\n$ {' '.join(str(part) for part in command)}", flush=True)
    start = time.monotonic()
    code = subprocess.call([BIN / command[0], *map(str, command[1:])])
    print(f"== {title}: {time.monotonic() - start:.0f} s", flush=True)
    if code:
        sys.exit(code)


def main() -> None:
    """Run every step of the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder to make anew (default: demo)")
    parser.add_argument("--n-procs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=2022)
    args = parser.parse_args()
    bids, derivatives, work = args.out / "bids", args.out / "derivatives", args.out / "work"
    for folder in (bids, derivatives, work):
        shutil.rmtree(folder, ignore_errors=True)
    simulate = ["--participants", "2", "--sessions", "2", "1", "--lesions", "4", "8", "--seed", str(args.seed)]
    run("Simulate two participants, one with two sessions", "mbseg", "simulate", bids, *simulate)
    options = ["-w", work, "--n-cpus", str(args.n_procs), "--config-file", CONFIG, "--skip-bids-validation"]
    run("Participant level", "mbseg-bids", bids, derivatives, "participant", *options)
    run("Group level", "mbseg-bids", bids, derivatives, "group")
    truth = bids / "derivatives" / "truth"
    evaluate = ["--out", args.out / "agreement"]
    run("Agreement with the simulated truth", "mbseg", "evaluate", truth, derivatives, *evaluate)
    print("\nReports to open in a browser:")
    for report in sorted(derivatives.glob("*.html")):
        print(f"  {report.resolve()}")
    print(f"Group table:\n  {(derivatives / 'phenotype' / 'microbleeds.tsv').resolve()}")


if __name__ == "__main__":
    main()
