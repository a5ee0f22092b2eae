import json
from types import SimpleNamespace

import pytest

from mbseg_bids.errors import InputOutputError, MbsegError, TemporaryError, UnreadableDataError, UsageError
from mbseg_bids.settings import ExecutionSettings
from mbseg_bids.workflows.execution import Progress, error_from_text, plugin_of

NIPYPE = """\
Node: mbseg_wf.sub_01_wf.anatomy_wf.work
Traceback (most recent call last):
  File "nodes.py", line 787, in _run_command
    raise NodeExecutionError(msg)
nipype.pipeline.engine.nodes.NodeExecutionError: Exception raised while executing Node work.

Traceback:
\tTraceback (most recent call last):
\t  File "core.py", line 402, in run
\t    runtime = self._run_interface(runtime)
\t{line}
"""


@pytest.mark.parametrize(
    ("line", "kind", "text"),
    [
        (
            "mbseg_bids.errors.UnreadableDataError: the image (T2*) is empty (scan again)",
            UnreadableDataError,
            "the image (T2*) is empty (scan again)",
        ),
        (
            "ValueError: bad shape (3, 4)",
            MbsegError,
            "ValueError: bad shape (3, 4) (see the crash file in the work folder)",
        ),
        (
            "torch.OutOfMemoryError: CUDA out of memory.",
            TemporaryError,
            "OutOfMemoryError: CUDA out of memory. (use --device cpu or a smaller --batch-size)",
        ),
        ("OSError: [Errno 28] No space left", InputOutputError, None),
        ("MemoryError", TemporaryError, None),
    ],
)
def test_the_original_error_is_recovered_from_what_nipype_makes_of_it(line, kind, text):
    error = error_from_text(NIPYPE.replace("{line}", line))
    assert type(error) is kind
    assert text is None or str(error) == text


def test_text_without_an_exception_still_gives_a_line():
    assert error_from_text("something went wrong").what == "something went wrong"
    error = error_from_text("")  # the disk is full
    assert type(error) is InputOutputError
    assert error.what == "unknown failure: its account could not be written"


def test_plugins():
    assert plugin_of(ExecutionSettings(n_procs=1)) == ("Linear", {})
    name, arguments = plugin_of(ExecutionSettings(n_procs=1), apart=True)  # while lines are drawn
    assert (name, arguments["n_procs"]) == ("MultiProc", 1)
    name, arguments = plugin_of(ExecutionSettings(n_procs=3, mem_gb=5))
    assert name == "MultiProc"
    assert arguments["n_procs"] == 3
    assert arguments["memory_gb"] == 5
    assert arguments["mp_context"] == "forkserver"  # forking with torch loaded can hang


def test_plugin_files_in_json_and_yaml(tmp_path):
    (tmp_path / "p.json").write_text(json.dumps({"plugin": "SGE", "plugin_args": {"qsub_args": "-q x"}}))
    (tmp_path / "p.yml").write_text("plugin: SGE\nplugin_args: {qsub_args: -q x}\n")
    for name in ("p.json", "p.yml"):
        assert plugin_of(ExecutionSettings(), tmp_path / name) == ("SGE", {"qsub_args": "-q x"})
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(UsageError, match="nipype plugin file"):
        plugin_of(ExecutionSettings(), tmp_path / "bad.json")


def test_a_session_stopped_in_a_step_has_the_time_until_then(monkeypatch):
    now, seconds = [100.0], {}
    monkeypatch.setattr("mbseg_bids.workflows.execution.time.monotonic", lambda: now[0])
    progress = Progress(SimpleNamespace(asked=False), seconds, SimpleNamespace(tell=lambda *_: None))
    progress(SimpleNamespace(run_without_submitting=False, fullname="top_wf.sub_01_wf.a", name="a"), "start")
    now[0] = 190.0
    progress.stopped()
    assert seconds == {"sub_01_wf": 90.0}
