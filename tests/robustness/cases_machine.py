"""Folders, rights, disks, memory and signals."""

import contextlib
import os
import resource
import signal
import subprocess
import tempfile
from pathlib import Path

import fake_workflows
import pytest
from corpus import MARKED, NOTHING, WHOLE, accepted, case, refused, stops
from place import open_to_all, run_app, without_rights

from mbseg_bids.bids.lock import SessionLock, output_mark


@contextlib.contextmanager
def _instead(owner, name, value):
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _in_step(p, action, part=fake_workflows.FakeDetection):
    """Run the app with something that happens in a step of sub-01."""
    original = part._run_interface

    def step(self, runtime):
        if "sub_01" in runtime.cwd:
            action()
        return original(self, runtime)

    def run():
        with _instead(part, "_run_interface", step):
            return run_app(p)

    return run


def _raise(error):
    def action():
        raise error

    return action


@stops("the output folder is the input dataset itself", 73)
def output_is_input(p):
    """Output folder that is the dataset"""
    p.out = p.raw


@stops("lies inside the input dataset", 73)
def output_among_images(p):
    """Output folder inside the dataset, not under derivatives"""
    p.out = p.raw / "results"


@stops("lies inside the input dataset", 73)
def work_inside_input(p):
    """Work folder inside the dataset"""
    p.work = p.raw / "work"


@stops("cannot write the output folder", 73)
def output_is_a_file(p):
    """Output folder that is a file"""
    p.out.write_text("mine")


def _unwritable(p, folder: Path):
    """Run without the right to write in a folder."""
    folder.mkdir(exist_ok=True)
    open_to_all(p.root)
    folder.chmod(0o555)

    def run():
        with without_rights():
            return run_app(p)

    return run


@stops("cannot write the output folder OUTPUT_DIR: Permission denied", 73)
def output_unwritable(p):
    """Output folder without the right to write"""
    return _unwritable(p, p.out)


@stops("cannot write the work folder WORK_DIR: Permission denied", 73)
def work_unwritable(p):
    """Work folder without the right to write"""
    return _unwritable(p, p.work)


@refused("sub-01_T2starw.nii.gz cannot be read: Permission denied")
def image_unreadable(p):
    """T2* without the right to read"""
    p.t2star.chmod(0)
    return _unwritable(p, p.root / "nothing")


@accepted()
def input_read_only(p):
    """Dataset without the right to write"""
    for path in [p.raw, *p.raw.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    return _unwritable(p, p.raw)


@case("(check the disk and the work folder)", code=74, session=74, left=(NOTHING, NOTHING))
def full_disk(p):
    """Work folder on a disk that is full after 700 kB (a small tmpfs)"""
    p.work.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", p.work], check=False).returncode == 0
    if not mounted:
        pytest.skip("mounting a small disk takes the rights of root")

    def run():
        try:
            return run_app(p)
        finally:
            subprocess.run(["umount", p.work], check=True)

    return run


@case("File too large", code=74, session=74, left=(NOTHING, NOTHING))
def file_limit(p):
    """Files limited to 2 kB (a quota)"""

    def run():
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        with _instead(p, "root", p.root):
            resource.setrlimit(resource.RLIMIT_FSIZE, (2048, hard))
            try:
                return run_app(p)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return run


@case("sub-01 is being computed by another run", code=1, session=75, left=(MARKED, WHOLE))
def two_runs(p):
    """Another run is computing sub-01 into the same output folder"""

    def run():
        lock = SessionLock("sub-01", [output_mark(p.out, "sub-01")])
        try:
            return run_app(p)
        finally:
            lock.release(finished=False)

    return run


@accepted()
def left_by_a_killed_run(p):
    """Marks, locks and half-written files of a run that was killed"""
    for name in ("logs/sub-01_incomplete.txt", "sub-01/anat/sub-01_space-T2starw_label-CMB_mask.nii.gz"):
        (p.out / name).parent.mkdir(parents=True, exist_ok=True)
        (p.out / name).write_text("half")
    p.work.mkdir()
    (p.work / "sub-01.lock").write_text("")


@case("sub-01: ZeroDivisionError", code=1, session=1, left=(NOTHING, WHOLE))
def bug_in_a_step(p):
    """Step of sub-01 that fails by a bug, after some of its files were written"""
    return _in_step(p, _raise(ZeroDivisionError("division by zero")))


@case("give more memory, or fewer processes", code=1, session=75, left=(NOTHING, WHOLE))
def out_of_memory(p):
    """Step of sub-01 that gets no memory"""
    return _in_step(p, _raise(MemoryError("Unable to allocate 4.00 GiB")))


@case("use --device cpu or a smaller --batch-size", code=1, session=75, left=(NOTHING, WHOLE))
def out_of_gpu_memory(p):
    """Step of sub-01 that gets no memory on the GPU"""
    return _in_step(p, _raise(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")))


@case("interrupted (start it again with the same --work-dir to continue)", code=130, session=130, left=(MARKED, MARKED))
def time_limit(p):
    """SIGTERM in a step, as at a cluster's time limit"""
    return _in_step(p, lambda: signal.raise_signal(signal.SIGTERM))


@stops("interrupted (start it again with the same --work-dir to continue)", 130)
def stopped_while_checking(p):
    """SIGTERM while the images are checked"""
    from mbseg_bids.bids import inputs

    def check(found, *_, **__):
        signal.raise_signal(signal.SIGTERM)
        return found

    def run():
        with _instead(inputs, "check_sessions", check):
            return run_app(p)

    return run


@case("a process was killed", code=1, session=75, left=(NOTHING, WHOLE))
def worker_killed(p):
    """Worker process of sub-01 killed, as by the kernel when memory runs out"""
    plugin = p.root / "plugin.json"
    plugin.write_text('{"plugin": "MultiProc", "plugin_args": {"n_procs": 2, "mp_context": "fork"}}')
    original = fake_workflows.FakeAnatomy._run_interface

    def step(self, runtime):
        if "sub_01" in runtime.cwd:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, runtime)

    def run():
        with _instead(fake_workflows.FakeAnatomy, "_run_interface", step):
            return run_app(p, "--nipype-plugin-file", plugin)

    return run


@accepted()
def no_home(p):
    """HOME not set, or a folder that does not exist"""

    def run():
        before = os.environ.pop("HOME", None)
        try:
            assert run_app(p, "--participant-label", "01").code == 0
            os.environ["HOME"] = "/nowhere/to/be/found"
            return run_app(p)
        finally:
            os.environ.pop("HOME", None)
            if before is not None:
                os.environ["HOME"] = before

    return run


@accepted()
def no_temporary_folder(p):
    """Machine without a folder for temporary files"""

    def run():
        before = os.environ.pop("TMPDIR", None)
        folders = lambda: [os.environ.get("TMPDIR", "/nowhere")]  # noqa: E731
        try:
            with _instead(tempfile, "tempdir", None), _instead(tempfile, "_candidate_tempdir_list", folders):
                return run_app(p)
        finally:
            os.environ.pop("TMPDIR", None)
            if before is not None:
                os.environ["TMPDIR"] = before

    return run
