"""Environment of the process and its children, set before any library that reads it is imported."""

import os
from pathlib import Path

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def prepare_environment(work_dir: Path, omp_nthreads: int, *, make_folders: bool = True) -> None:
    """Keep libraries off the network and off the home folder, and within their threads.

    - ``NO_ET``: nipype asks a server for newer versions unless this is set before its import.
    - ``TEMPLATEFLOW_HOME``: at import, templateflow writes thousands of files where it finds no folder of its own, and
      fails where it cannot. The empty folder in ``work_dir`` has one file, by which templateflow takes it as complete.
    - ``MPLCONFIGDIR``: matplotlib wants to write to the home folder, which is read-only in many containers.
    - thread variables: nothing may use more than its share; a user's own setting wins.

    Without ``make_folders`` nothing is written.
    """
    os.environ["NO_ET"] = "1"
    os.environ["TEMPLATEFLOW_AUTOUPDATE"] = "0"
    os.environ.setdefault("MPLBACKEND", "Agg")
    for variable in THREAD_VARIABLES:
        os.environ.setdefault(variable, str(omp_nthreads))
    os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", str(omp_nthreads))
    if not make_folders:
        return
    if "TEMPLATEFLOW_HOME" not in os.environ:
        home = work_dir / "templateflow"
        home.mkdir(parents=True, exist_ok=True)
        (home / "README").write_text("No template is kept here: mbseg-bids brings its own.\n")
        os.environ["TEMPLATEFLOW_HOME"] = str(home)
    if "MPLCONFIGDIR" not in os.environ:
        folder = work_dir / "matplotlib"
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["MPLCONFIGDIR"] = str(folder)
