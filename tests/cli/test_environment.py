import os
import subprocess
import sys

import pytest

from mbseg_bids.cli.environment import THREAD_VARIABLES, prepare_folders, quiet_libraries


@pytest.fixture(autouse=True)
def own_environment(monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    for name in ("TEMPLATEFLOW_HOME", "MPLCONFIGDIR", "NO_ET", *THREAD_VARIABLES):
        os.environ.pop(name, None)


def test_libraries_compute_on_one_thread_and_ask_no_server():
    quiet_libraries()
    assert {os.environ[name] for name in THREAD_VARIABLES} == {"1"}
    assert os.environ["NO_ET"] == "1"


def test_templateflow_starts_at_once_in_a_home_that_cannot_be_written(tmp_path):
    prepare_folders(tmp_path / "work")
    environment = os.environ | {"HOME": "/proc"}
    code = "import templateflow.conf as c; print(c._cache.precached)"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
    assert len(list((tmp_path / "work" / "templateflow").rglob("*"))) < 5


def test_a_templateflow_folder_of_the_user_is_left_alone(tmp_path):
    os.environ["TEMPLATEFLOW_HOME"] = "/somewhere"
    prepare_folders(tmp_path)
    assert os.environ["TEMPLATEFLOW_HOME"] == "/somewhere"
    assert not (tmp_path / "templateflow").exists()
