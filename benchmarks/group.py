"""Group level over many simulated sessions, one in twenty missing or broken: seconds, and whether all are named.

Run ``python benchmarks/group.py [SESSIONS ...]``; prints one line for each number of sessions, with the quotient of
CPU time against the first, so that a quotient equal to that of the sessions means linear time. Counts are drawn from a
negative binomial distribution. Ends with 1 if a missing or broken session was not named.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fake_output import fake_arrays, fake_summary, lesion_rows

from mbseg_bids.group.build import build_group

EVERY = 20
DAMAGES = ("no table", "empty table", "half a table", "no text", "nothing at all", "failed", "cut summary")


def write_sessions(bids_dir: Path, output_dir: Path, n_sessions: int) -> set[str]:
    """Write the tables of so many sessions; return the names of those that were damaged."""
    rng = np.random.default_rng(7)
    header, *cells = _lesion_cells()
    (output_dir / "logs").mkdir(parents=True)
    damaged = set()
    for n in range(n_sessions):
        name = f"sub-{n:05d}"
        (bids_dir / name / "anat").mkdir(parents=True)
        damage = DAMAGES[n // EVERY % len(DAMAGES)] if n % EVERY == 0 else ""
        if damage:
            damaged.add(name)
        if damage == "nothing at all":
            continue
        logs, anat = output_dir / "logs", output_dir / name / "anat"
        if damage == "failed":
            (logs / f"{name}_failure.json").write_text(json.dumps({"step": "detection classify", "error": "no memory"}))
            continue
        anat.mkdir(parents=True)
        summary = json.dumps(_summary(f"{n:05d}", rng))
        (logs / f"{name}_summary.json").write_text(summary[: len(summary) // 2] if damage == "cut summary" else summary)
        (logs / f"{name}_done.json").write_text("{}")
        count = int(rng.negative_binomial(0.4, 0.12))
        table = "\n".join([header, *(cells[i % len(cells)] for i in range(count))]) + "\n"
        content = {"empty table": b"", "half a table": header[:9].encode(), "no text": b"\xff\xfe\x00\x01"}
        if damage != "no table":
            (anat / f"{name}_space-T2starw_seg-CMB_dseg.tsv").write_bytes(content.get(damage, table.encode()))
        (anat / f"{name}_space-T2starw_seg-CMBcandidates_dseg.tsv").write_text("index\n")
    return damaged


def _lesion_cells() -> list[str]:
    rows = lesion_rows(fake_arrays())
    return ["\t".join(rows[0]), *("\t".join(str(v) for v in row.values()) for row in rows)]


def _summary(participant: str, rng: np.random.Generator) -> dict:
    """Return a summary of one of two scanners."""
    summary = fake_summary(participant)
    field = (1.5, 3)[rng.integers(2)]
    summary["inputs"]["T2starw"]["metadata"] |= {"MagneticFieldStrength": field, "Manufacturer": f"Maker {field}"}
    summary["anatomy"]["brain_ml"] = {"T1w": round(float(rng.normal(1450, 120)), 1)}
    return summary


def measure(n_sessions: int) -> tuple[float, float, set[str]]:
    """Return wall and CPU seconds, and the damaged sessions that were not named."""
    with tempfile.TemporaryDirectory() as folder:
        bids_dir, output_dir = Path(folder) / "bids", Path(folder) / "out"
        damaged = write_sessions(bids_dir, output_dir, n_sessions)
        wall, cpu = time.perf_counter(), time.process_time()
        result = build_group(output_dir, bids_dir)
        took = time.perf_counter() - wall, time.process_time() - cpu
        page = result.page.read_text(encoding="utf-8")
        named = {problem.split(":")[0] for problem in result.problems}
        print(f"{n_sessions:6d} sessions: {len(damaged)} damaged, {len(damaged & named)} named; ", end="")
        return *took, {name for name in damaged if name not in named or name not in page}


def main() -> int:
    """Measure and print."""
    sizes = [int(argument) for argument in sys.argv[1:]] or [200, 1000]
    first, unnamed = None, set()
    for size in sizes:
        wall, cpu, missed = measure(size)
        first = first or cpu
        unnamed |= missed
        print(f"{wall:.1f} s, {cpu:.1f} s of CPU, {cpu / first:.1f} times the first", flush=True)
    return 1 if unnamed else 0


if __name__ == "__main__":
    sys.exit(main())
