"""What the kill test runs: the App with stand-ins for its steps on images, or as it is."""

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import fake_workflows


@dataclass(frozen=True)
class Trial:
    """What is run and killed."""

    participants: tuple[str, ...]
    make_dataset: Callable[[Path], Path]
    run: Callable[[list[str]], int]
    """The App in this process, from arguments to exit code."""
    options: tuple[str | Path, ...] = ()
    kills_in_a_length: float = 1.0
    """So many kills are to be expected in the time that an undisturbed run takes."""
    timed: tuple[str, ...] = ()
    """Ends of the names of files that hold times, beside the logs."""

    def digests(self, out: Path) -> dict[str, str]:
        """Return the SHA-256 of every file but those that hold times."""
        digests = {}
        for path in sorted(out.rglob("*")):
            name = path.relative_to(out).as_posix()
            if path.is_file() and not name.startswith("logs/") and not name.endswith(self.timed):
                digests[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return digests


def make_dataset(root: Path) -> Path:
    """Make a dataset of two participants, images of noise."""
    rng = np.random.default_rng(4)
    for participant in ("01", "02"):
        for contrast in ("T1w", "T2w", "T2starw"):
            path = root / f"sub-{participant}" / "anat" / f"sub-{participant}_{contrast}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            data = rng.normal(100, 20, (8, 9, 5)).astype(np.float32)
            nib.save(nib.Nifti1Image(data, np.diag([1.0, 1.0, 2.0, 1.0])), path)
    (root / "dataset_description.json").write_text(json.dumps({"Name": "kills", "BIDSVersion": "1.10.0"}))
    return root


def simulate_dataset(root: Path) -> Path:
    """Simulate a participant with eight microbleeds."""
    from mbseg_bids.cli.workbench import main

    if code := main(["simulate", str(root), "--participants", "1", "--lesions", "8", "8", "--seed", "11"]):
        raise SystemExit(code)
    return root


def run_app(arguments: list[str]) -> int:
    """Run the app in this process."""
    from mbseg_bids.cli import app

    return app.main(arguments)


def run_app_with_stand_ins(arguments: list[str]) -> int:
    """Run the app with the stand-ins in this process."""
    from mbseg_bids.bids.files import write_text
    from mbseg_bids.cli import participant
    from mbseg_bids.workflows import base

    for name in ("init_anatomy_wf", "init_detection_wf", "init_lesions_in_space_wf"):
        setattr(base, name, getattr(fake_workflows, name))
    participant.build_individual_report = lambda out, who: write_text(out / f"sub-{who}.html", "<!DOCTYPE html>\n" * 9)
    return run_app(arguments)


STAND_INS = Trial(("01", "02"), make_dataset, run_app_with_stand_ins)
REAL = Trial(
    ("01",),
    simulate_dataset,
    run_app,
    options=("--config-file", Path(__file__).parents[2] / "examples" / "coarse.toml"),
    kills_in_a_length=8.0,
    timed=(".html",),
)
