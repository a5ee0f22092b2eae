"""The scripts of examples/slurm with a stand-in for sbatch: what would be submitted, and what a task would run."""

import os
import subprocess
from pathlib import Path

import pytest

SLURM = Path(__file__).parents[2] / "examples" / "slurm"


@pytest.fixture
def cluster(tmp_path):
    """A dataset of three participants, and an sbatch that writes down its arguments and answers with a number."""
    for name in ("sub-02", "sub-01", "sub-b", "code"):
        (tmp_path / "bids" / name).mkdir(parents=True)
    tool = tmp_path / "bin" / "sbatch"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {tmp_path}/calls\nwc -l < {tmp_path}/calls | sed "s/^/10/"\n')
    tool.chmod(0o755)
    return tmp_path


def submit(cluster, *options, **settings):
    environment = os.environ | {"PATH": f"{cluster}/bin:{os.environ['PATH']}"} | settings
    folders = [cluster / "bids", cluster / "out", cluster / "scratch"]
    done = subprocess.run(
        [SLURM / "submit.sh", *folders, *options], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout, (cluster / "calls").read_text().splitlines()


def test_an_array_and_the_group_level_after_it(cluster):
    said, (array, group) = submit(cluster, "--device", "cpu", AT_ONCE="7", SBATCH_ARGS="--mem=4G --partition=long")
    assert said.startswith("array 101: 3 participants; group level 102 after it")
    assert "--array=1-3%7" in array
    assert "--mem=4G --partition=long" in array
    assert array.endswith(f"participant.sbatch {cluster}/bids {cluster}/out {cluster}/scratch --device cpu")
    assert "--dependency=afterany:101" in group
    assert (cluster / "scratch/slurm/participants.txt").read_text().split() == ["sub-01", "sub-02", "sub-b"]


def test_a_task_runs_its_participant_in_a_work_folder_of_its_own(cluster):
    submit(cluster)
    environment = os.environ | {"MBSEG": "echo app", "SLURM_ARRAY_TASK_ID": "2", "SLURM_CPUS_PER_TASK": "3"}
    task = ["bash", SLURM / "participant.sbatch", "/b", "/o", cluster / "scratch", "--device", "cpu"]
    said = subprocess.run(task, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    words = f"app /b /o participant --participant-label sub-02 -w {cluster}/scratch/sub-02 --n-cpus 3 --device cpu"
    assert said[-1] == words


def test_without_participants_nothing_is_submitted(cluster):
    for folder in (cluster / "bids").glob("sub-*"):
        folder.rmdir()
    with pytest.raises(subprocess.CalledProcessError) as failed:
        submit(cluster)
    assert failed.value.returncode == 16
    assert not (cluster / "calls").exists()


def test_too_few_arguments_print_the_usage():
    done = subprocess.run([SLURM / "submit.sh", "bids"], capture_output=True, text=True, check=False)
    assert done.returncode == 64
    assert done.stderr.startswith("submit.sh BIDS_DIR OUTPUT_DIR WORK_DIR")
    assert "set -" not in done.stderr
