"""The table of docs/robustness.md, from a run of the whole corpus.

PYTHONPATH=tests:tests/robustness python tests/robustness/table.py
"""

import re
import sys
import tempfile
from pathlib import Path

MARKS = ("<!-- corpus: begin -->", "<!-- corpus: end -->")
WHOLE_MARKS = ("<!-- whole: begin -->", "<!-- whole: end -->")
"""Lines between which the rows of the two tables stand."""
HEAD = "| case | input | line printed | exit code | on disk: sub-01 | sub-02 |\n|---|---|---|---|---|---|"


def row(case, ran) -> str:
    """Return the row of a case as it was really run."""
    lines = [line for line in ran.shown(ran.printed).splitlines() if case.says in line]
    line = (lines or [ran.shown(ran.last_line)])[-1]
    line = re.sub(r"run-\d{8}T\d{6}Z-[0-9a-f]{4}", "run-...", line.strip())
    line = (line if len(line) <= 240 else f"{line[:240]} ...").replace("<", "&lt;")
    code = str(ran.code)
    if case.session_code not in (None, 0, ran.code):
        code += f" (sub-01: {case.session_code})"
    return f"| `{case.name}` | {case.what} | {line} | {code} | {ran.left('sub-01')} | {ran.left('sub-02')} |"


def rows_of(path: Path, marks: tuple[str, str] = MARKS) -> dict[str, str]:
    """Return the rows of a committed table by case."""
    if not path.is_file():
        return {}
    table = path.read_text(encoding="utf-8").partition(marks[0])[2].partition(marks[1])[0]
    return {match.group(1): line for line in table.splitlines() if (match := re.match(r"\| `(\w+)` \|", line))}


def write_rows(path: Path, marks: tuple[str, str], head: str, rows: list[str]) -> None:
    """Replace a table, and leave the rest of the page as it is."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end:
        raise ValueError(f"{path} has no place for the table: {' '.join(marks)}")
    table = "\n".join([begin, head, *rows, end])
    path.write_text(f"{before}{table}{after}", encoding="utf-8")


def main() -> int:
    """Run every case and write the table."""
    import test_corpus
    from corpus import CASES
    from place import Place, clean

    path = test_corpus.TABLE
    wanted, old = sys.argv[1:] or list(CASES), rows_of(path)
    for name in wanted:
        root = Path(tempfile.mkdtemp(prefix="odd-"))
        root.chmod(0o755)
        try:
            place = Place(root)
            old[name] = row(CASES[name], test_corpus.run_case(CASES[name], place))
        finally:
            clean(root)
        print(old[name], flush=True)
        write_rows(path, MARKS, HEAD, [old[name] for name in CASES if name in old])
    return 0


if __name__ == "__main__":
    sys.exit(main())
