"""nipype_plugin.py FOLDER PLUGIN_FILE: the app with ``--nipype-plugin-file``, each step a job of the cluster.

Anatomy and detection are stand-ins that take no time: what is tried is the way of the steps and their files through the
queue.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import fake_workflows
import nibabel as nib
import numpy as np

from mbseg_bids.cli import app
from mbseg_bids.workflows import base


def make_dataset(root: Path) -> None:
    """Write a participant of noise."""
    rng = np.random.default_rng(1)
    (root / "sub-01" / "anat").mkdir(parents=True)
    description = {"Name": "noise", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (root / "dataset_description.json").write_text(json.dumps(description))
    for contrast in ("T1w", "T2w", "T2starw"):
        image = nib.Nifti1Image(rng.normal(100, 20, (8, 9, 5)).astype(np.float32), np.diag([1.0, 1.0, 2.0, 1.0]))
        nib.save(image, root / "sub-01" / "anat" / f"sub-01_{contrast}.nii.gz")


def jobs() -> list[str]:
    """Return the names of the jobs that the cluster remembers."""
    shown = subprocess.run(["scontrol", "--oneliner", "show", "job"], capture_output=True, text=True, check=True).stdout
    return [line.split("JobName=")[1].split()[0] for line in shown.splitlines() if "JobName=" in line]


def main(folder: Path, plugin_file: Path) -> int:
    """Run the app; return 0 if it ended well and its steps were jobs."""
    shutil.rmtree(folder, ignore_errors=True)
    make_dataset(folder / "bids")
    for name in ("init_anatomy_wf", "init_detection_wf", "init_lesions_in_space_wf"):
        setattr(base, name, getattr(fake_workflows, name))
    before = len(jobs())
    out = folder / "derivatives"
    options = ["-w", str(folder / "work"), "--nipype-plugin-file", str(plugin_file), "--n-cpus", "1"]
    code = app.main([str(folder / "bids"), str(out), "participant", *options])
    steps = jobs()[before:]
    print(f"exit code {code}, {len(steps)} jobs: {', '.join(sorted(steps))}")
    return 0 if code == 0 and len(steps) >= 3 and (out / "logs" / "sub-01_done.json").is_file() else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]).absolute()))
