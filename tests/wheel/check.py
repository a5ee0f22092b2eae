"""The wheel as a stranger gets it: built, checked, installed in a fresh environment, run on files and on a dataset.

python tests/wheel/check.py [--dist dist] [--folder FOLDER]

Three lines of Python, one command on plain NIfTI files, and the BIDS App must find the same lesions of one simulated
scan, to the voxel. Takes about ten minutes on two cores, downloads not counted. Needs only the standard library.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints.txt"
CONTRASTS = {"t2star": "T2starw", "t2w": "T2w", "t1w": "T1w"}
THREE_LINES = """
import mbseg_bids
from mbseg_bids.settings import from_toml
found = mbseg_bids.segment("t2star.nii.gz", t2w="t2w.nii.gz", t1w="t1w.nii.gz", settings=from_toml("coarse.toml"))
found.save("python")
"""
"""The second is only there for settings that take less time."""

COMPARE = """
import sys
import nibabel as nib, numpy as np
first, *others = sys.argv[1:]
expected = nib.load(first)
assert expected.get_fdata().any(), "no lesion to compare"
for other in others:
    found = nib.load(other)
    assert np.array_equal(np.asarray(found.dataobj), np.asarray(expected.dataobj)), other
    assert np.array_equal(found.affine, expected.affine), other
print(f"{int(expected.get_fdata().max())} lesions of {int((expected.get_fdata() > 0).sum())} voxels: the same")
"""


def main() -> None:
    """Run every step; the first that fails ends the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="where the wheel goes (default: dist)")
    parser.add_argument("--folder", type=Path, help="keep everything else here (default: a temporary folder)")
    args = parser.parse_args()
    if args.folder is not None:
        args.folder.mkdir(parents=True, exist_ok=True)
        check(args.dist.absolute(), args.folder.absolute())
        return
    with tempfile.TemporaryDirectory(prefix="mbseg-wheel-") as folder:
        check(args.dist.absolute(), Path(folder))


def check(dist: Path, folder: Path) -> None:
    """Build, install, run, compare."""
    wheel = build(dist, folder)
    python = fresh(folder / "installed", str(wheel))
    program = python.parent
    run("installed", python, "-c", "import mbseg_bids; print(mbseg_bids.__version__, mbseg_bids.__file__)", at=folder)
    run("weights", program / "mbseg", "weights", "verify", "--classify", at=folder)
    shutil.copy(ROOT / "examples" / "coarse.toml", folder)
    bids = folder / "bids"
    if not bids.exists():
        options = ("--participants", "1", "--lesions", "6", "6", "--geometry", "0.9x0.9x5", "--seed", "11")
        run("simulated", program / "mbseg", "simulate", bids, *options, at=folder)
    for name, contrast in CONTRASTS.items():
        shutil.copy(bids / "sub-01" / "anat" / f"sub-01_{contrast}.nii.gz", folder / f"{name}.nii.gz")
    coarse = ("--config-file", "coarse.toml")
    app = (program / "mbseg-bids", bids, folder / "app", "participant", "-w", folder / "work", *coarse)
    run("BIDS App", *app, at=folder)
    files = ("t2star.nii.gz", "--t2w", "t2w.nii.gz", "--t1w", "t1w.nii.gz", "-o", "command")
    run("one command", program / "mbseg", "segment", *files, *coarse, at=folder)
    run("three lines", python, "-c", THREE_LINES, at=folder)
    compare(python, folder)


def build(dist: Path, folder: Path) -> Path:
    """Return the wheel, built from a source distribution, both of which twine finds fit for an index."""
    tools = fresh(folder / "tools", "build", "twine")
    for old in dist.glob("mbseg_bids-*"):
        old.unlink()
    run("built", tools, "-m", "build", "--outdir", dist, ROOT, at=folder)
    made = sorted(dist.glob("mbseg_bids-*"))
    run("twine", tools, "-m", "twine", "check", "--strict", *made, at=folder)
    (wheel,) = dist.glob("mbseg_bids-*.whl")
    print(f"   {wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB", flush=True)
    return wheel


def fresh(folder: Path, *packages: str) -> Path:
    """Return the Python of a new environment that holds these packages and what they need."""
    venv.create(folder, clear=True, with_pip=True)
    python = folder / "bin" / "python"
    run(f"environment {folder.name}", python, "-m", "pip", "install", "-q", "-c", CONSTRAINTS, *packages, at=folder)
    return python


def compare(python: Path, folder: Path) -> None:
    """Compare images voxel by voxel and tables byte by byte; end the program where they differ."""
    anat = folder / "app" / "sub-01" / "anat"
    for name in ("seg-CMB_dseg", "label-CMB_mask", "label-CMB_probseg", "seg-CMBcandidates_dseg"):
        ending = f"_space-T2starw_{name}"
        others = [folder / way / f"t2star{ending}.nii.gz" for way in ("command", "python")]
        run(name, python, "-c", COMPARE, anat / f"sub-01{ending}.nii.gz", *others, at=folder)
        table = anat / f"sub-01{ending}.tsv"
        for way in ("command", "python"):
            if table.is_file() and table.read_bytes() != (folder / way / f"t2star{ending}.tsv").read_bytes():
                sys.exit(f"the table {ending} of {way} is another")
    counts = {way: summary(folder / way / "t2star_summary.json") for way in ("command", "python")}
    counts["app"] = summary(folder / "app" / "logs" / "sub-01_summary.json")
    print(f"== lesions: {counts}")
    if len(set(counts.values())) != 1:
        sys.exit("the numbers of lesions differ")
    print("== the wheel is good", flush=True)


def summary(path: Path) -> int:
    """Return the number of lesions that a summary tells."""
    return json.loads(path.read_text(encoding="utf-8"))["detection"]["n_lesions"]


def run(title: str, *command: object, at: Path) -> None:
    """Run a command in a folder where no source lies, without the variables that lead to one."""
    start = time.monotonic()
    print(f"== {title}", flush=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    code = subprocess.call([*map(str, command)], cwd=at, env=clean)
    print(f"   {time.monotonic() - start:.0f} s", flush=True)
    if code:
        sys.exit(f"{title}: exit code {code}")


if __name__ == "__main__":
    main()
