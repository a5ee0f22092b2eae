"""Group level over many sessions: seconds a session, and how they grow with the number of sessions.

Run ``python benchmarks/group.py [SESSIONS ...]``; prints one line for each number of sessions and the quotient against
the first, so that a quotient equal to that of the sessions means linear time.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fake_output import fake_arrays, fake_summary, lesion_rows

from mbseg_bids.group.build import build_group


def seconds(n_sessions: int) -> float:
    """Return what the group level takes over so many generated sessions."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "logs").mkdir()
        rows = lesion_rows(fake_arrays())
        lines = [list(rows[0]), *([str(v) for v in row.values()] for row in rows)]
        table = "\n".join("\t".join(line) for line in lines) + "\n"
        for n in range(n_sessions):
            name = f"sub-{n:05d}"
            anat = root / name / "anat"
            anat.mkdir(parents=True)
            (root / "logs" / f"{name}_summary.json").write_text(json.dumps(fake_summary(f"{n:05d}")))
            (root / "logs" / f"{name}_done.json").write_text("{}")
            (anat / f"{name}_space-T2starw_seg-CMB_dseg.tsv").write_text(table)
            (anat / f"{name}_space-T2starw_seg-CMBcandidates_dseg.tsv").write_text("index\n")
        start = time.perf_counter()
        build_group(root)
        return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    sizes = [int(argument) for argument in sys.argv[1:]] or [100, 1000]
    first = None
    for size in sizes:
        took = seconds(size)
        first = first or took
        print(f"{size:6d} sessions: {took:6.1f} s, {took / first:5.1f} times the first")


if __name__ == "__main__":
    main()
