"""A few random kills; `make kill-test` does two hundred."""

import os
import sys

import pytest
from kills import kill_and_resume


@pytest.mark.timeout(900)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for orphans in /proc")
def test_killed_runs_resume_to_the_same_bytes_and_leave_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, "NO_ET", "1")
    result = kill_and_resume(tmp_path, 3, seed=5, say=lambda text: None)
    assert result.faults == []
    assert result.kills >= 3
    assert result.runs_finished >= 1
