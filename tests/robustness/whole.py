"""Whole cases: wrong scans through the real App, and what it said of them, as the second table of docs/robustness.md.

PYTHONPATH=tests:tests/robustness python tests/robustness/whole.py [--at FOLDER] [CASE ...]

Every case has the same paths, so that the work folder keeps what was computed on images a case does not touch.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from cases_whole import FINE, NOTICED, WHOLE_CASES, WholeCase
from place import LAST_LINE, Ran
from table import WHOLE_MARKS, rows_of, write_rows

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "robustness.md"
HEAD = "| case | input | what the App said | exit code | lesions | on disk |\n|---|---|---|---|---|---|"
MAIN = "from mbseg_bids.cli.{} import main; raise SystemExit(main())"
SIMULATE = ("--participants", "2", "--lesions", "6", "6", "--seed", "11")
LONGEST = 3600
"""Seconds a run may take."""


@dataclass
class WholePlace:
    """A simulated session, sub-01, whose images a case replaces; another person's images to take from."""

    root: Path
    base: Path
    """The simulated dataset: sub-01 and, to take from, sub-02. It is not changed."""
    case: str

    def __post_init__(self) -> None:
        self.raw, self.work, self.out = self.root / "raw", self.root / "work", self.root / f"out-{self.case}"
        self.another = self.base / "sub-02"
        self.rng = np.random.default_rng(2022)
        shutil.rmtree(self.raw, ignore_errors=True)
        shutil.rmtree(self.out, ignore_errors=True)
        shutil.copytree(self.base, self.raw, ignore=shutil.ignore_patterns("derivatives", "sub-02"))

    def path(self, contrast: str, person: Path | None = None) -> Path:
        """Return the path of an image, of sub-01 unless told otherwise."""
        person = person or self.raw / "sub-01"
        return person / "anat" / f"{person.name}_{contrast}.nii.gz"

    def load(self, contrast: str, person: Path | None = None) -> nib.Nifti1Image:
        """Read an image, of sub-01 unless told otherwise."""
        return nib.load(self.path(contrast, person))

    def save(self, contrast: str, data: np.ndarray, affine: np.ndarray) -> None:
        """Replace an image of sub-01; 32-bit floats."""
        image = nib.Nifti1Image(np.asarray(data, np.float32), affine)
        image.header.set_xyzt_units("mm")
        nib.save(image, self.path(contrast))

    def swap(self, first: str, second: str) -> None:
        """Give two images of sub-01 each other's name; sidecars stay where they are, as when files are misnamed."""
        one, other = self.path(first), self.path(second)
        kept = one.with_name("kept.nii.gz")
        one.rename(kept)
        other.rename(one)
        kept.rename(other)


def simulate(base: Path) -> None:
    """Make the dataset all cases start from, unless it is there."""
    if not (base / "participants.tsv").is_file():
        shutil.rmtree(base, ignore_errors=True)
        subprocess.run([sys.executable, "-c", MAIN.format("workbench"), "simulate", base, *SIMULATE], check=True)


def run_whole(place: WholePlace) -> Ran:
    """Run the App on the place as a user would, with the fast options of the demo."""
    options = ["-w", place.work, "--n-cpus", "1", "--config-file", ROOT / "examples/coarse.toml", "--output-spaces"]
    words = [place.raw, place.out, "participant", *options, "--skip-bids-validation"]
    command = [sys.executable, "-c", MAIN.format("app"), *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, env=environment, check=False)
    return Ran(done.returncode, done.stdout, done.stderr, place)


def first_screen(ran: Ran) -> list[str]:
    """Return headline, failures and warnings of the report, or the last line printed where there are no results.

    Each sentence must stand in the page itself, or this fails.
    """
    from markupsafe import escape

    from mbseg_bids.reports.facts import judge

    summary = ran.place.out / "logs" / "sub-01_summary.json"
    if ran.code or not summary.is_file():
        return [ran.last_line]
    verdict = judge(json.loads(summary.read_text(encoding="utf-8")), [], table_found=True)
    page = (ran.place.out / "sub-01.html").read_text(encoding="utf-8")
    said = [verdict.headline, *verdict.failures, *verdict.warnings]
    missing = [sentence for sentence in said if str(escape(sentence)) not in page]
    if missing:
        raise AssertionError(f"not in the report: {missing}")
    return said


def lesions(ran: Ran) -> str:
    """Return how many lesions the table has."""
    table = ran.place.out / "sub-01" / "anat" / "sub-01_space-T2starw_seg-CMB_dseg.tsv"
    return str(len(table.read_text(encoding="utf-8").splitlines()) - 1) if table.is_file() else "none written"


def faults(case: WholeCase, ran: Ran, said: list[str]) -> list[str]:
    """Return what is not as the case expects; empty where all is."""
    found = [] if LAST_LINE.fullmatch(ran.last_line) else [f"last line: {ran.last_line}"]
    if case.outcome == FINE and ran.code:
        found.append(f"exit code {ran.code}")
    if case.says and not any(case.says in sentence for sentence in said):
        found.append(f"does not say: {case.says}")
    if case.outcome == NOTICED and said[0] == "All checks passed":
        found.append("nothing was noticed")
    if case.outcome == FINE and said[0] != "All checks passed":
        found.append(f"noticed what is not there: {said[1:]}")
    return found


def same_masks(ran: Ran, intact: Path) -> str:
    """Say whether the lesion masks are those of the intact session, voxel by voxel."""
    names = ("label-CMB_mask", "seg-CMB_dseg")
    paths = [[out / f"sub-01/anat/sub-01_space-T2starw_{n}.nii.gz" for n in names] for out in (ran.place.out, intact)]
    if not all(path.is_file() for pair in paths for path in pair):
        return ""
    here, there = ([np.asarray(nib.load(path).dataobj) for path in pair] for pair in paths)
    same = all(np.array_equal(a, b) for a, b in zip(here, there, strict=True))
    return "; masks as of the intact session" if same else "; masks differ from the intact session"


def row(case: WholeCase, ran: Ran, said: list[str], intact: Path) -> str:
    """Return the row of a case as it was really run."""
    text = ran.shown(said[0]) if len(said) == 1 else f"**{said[0]}** " + " / ".join(map(ran.shown, said[1:]))
    text = text.replace(str(ran.place.root), "...").replace("<", "&lt;").replace("T2*", "T2\\*")
    what = case.what.replace("T2*", "T2\\*")
    text = re.sub(r"\s+", " ", text)
    count = lesions(ran) + (same_masks(ran, intact) if case.name == "floats_of_millions" else "")
    return f"| `{case.name}` | {what} | {text} | {ran.code} | {count} | {ran.left('sub-01')} |"


def main() -> int:
    """Run the cases asked for, all of them by default, and write the table; 1 if one went otherwise than expected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[*WHOLE_CASES, []], help="default: all", metavar="CASE")
    parser.add_argument("--at", type=Path, help="folder to keep (default: a temporary one)")
    args = parser.parse_args()
    folder = args.at or Path(tempfile.mkdtemp(prefix="whole-"))
    simulate(folder / "base")
    rows, wrong = rows_of(TABLE, WHOLE_MARKS), 0
    for name in args.cases or WHOLE_CASES:
        case, place = WHOLE_CASES[name], WholePlace(folder, folder / "base", name)
        case.build(place)
        ran = run_whole(place)
        said = first_screen(ran)
        rows[name] = row(case, ran, said, folder / "out-intact")
        print(rows[name], flush=True)
        for fault in faults(case, ran, said):
            wrong += 1
            print(f"  NOT AS EXPECTED: {fault}", flush=True)
        write_rows(TABLE, WHOLE_MARKS, HEAD, [rows[known] for known in WHOLE_CASES if known in rows])
    if args.at is None:
        shutil.rmtree(folder, ignore_errors=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
