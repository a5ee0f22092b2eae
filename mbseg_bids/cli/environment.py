"""Environment of the process and its children, set before any library that reads it is imported."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


def quiet_libraries() -> None:
    """Keep libraries to one thread and off the network; to be called before numpy is imported.

    Numerical libraries add up in another order on another number of threads, and so give other last digits. Work is
    divided among processes, and among the workers of the network, by this package itself: the bytes of a result do not
    depend on how many there are. nipype asks a server for newer versions unless ``NO_ET`` is set before its import.
    """
    for variable in THREAD_VARIABLES:
        os.environ[variable] = "1"
    os.environ["NO_ET"] = "1"
    os.environ["TEMPLATEFLOW_AUTOUPDATE"] = "0"
    os.environ.setdefault("MPLBACKEND", "Agg")


def prepare_folders(work_dir: Path) -> None:
    """Keep libraries from writing to the home folder, which is read-only in many containers.

    At import, templateflow writes thousands of files to ``TEMPLATEFLOW_HOME`` where it finds nothing, and fails where
    it cannot; one file there is enough for it to take the folder as complete. A user's own setting wins.
    """
    _have_temporary_folder(work_dir)
    if "TEMPLATEFLOW_HOME" not in os.environ:
        home = work_dir / "templateflow"
        home.mkdir(parents=True, exist_ok=True)
        (home / "README").write_text("No template is kept here: mbseg-bids brings its own.\n")
        os.environ["TEMPLATEFLOW_HOME"] = str(home)
    if "MPLCONFIGDIR" not in os.environ:
        folder = work_dir / "matplotlib"
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["MPLCONFIGDIR"] = str(folder)


@contextlib.contextmanager
def scratch_folders() -> Iterator[None]:
    """Do as :func:`prepare_folders` where nothing is computed, and leave no folder behind."""
    before = {name: os.environ.get(name) for name in ("TEMPLATEFLOW_HOME", "MPLCONFIGDIR", "TMPDIR")}
    with tempfile.TemporaryDirectory(prefix="mbseg-") as folder:
        prepare_folders(Path(folder))
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def _have_temporary_folder(work_dir: Path) -> None:
    """Take a folder in the work folder for temporary files where the machine has none that can be written."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        folder = work_dir / "mbseg-bids-tmp"
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["TMPDIR"] = str(folder)
        tempfile.tempdir = None  # look again
