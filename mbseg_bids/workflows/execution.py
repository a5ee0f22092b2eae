"""Running a nipype workflow, and telling in one line each what went wrong where."""

import contextlib
import json
import logging
import multiprocessing
import re
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbseg_bids import errors
from mbseg_bids.errors import InputOutputError, MbsegError, TemporaryError, UsageError
from mbseg_bids.settings import ExecutionSettings
from mbseg_bids.workflows.account import STEPS, Account, Watch, session_and_step
from mbseg_bids.workflows.gpu import gpu_expected

_OWN = re.compile(r"mbseg_bids\.errors\.(\w+): (.*) \((.*)\)\s*$")
_ANY = re.compile(r"^\s*([A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Warning|BrokenProcessPool))(?:: ?(.*))?$")
_WRAPPERS = ("NodeExecutionError", "RuntimeError")
"""What nipype raises around the exception of a node."""


@dataclass(frozen=True)
class NodeFailure:
    """A node that failed."""

    node: str
    """Full name, from the top workflow down."""
    error: MbsegError
    crash_file: Path


def configure_nipype(execution: ExecutionSettings, crash_dir: Path) -> None:
    """Set nipype's options for this process and those it starts."""
    from nipype import config

    config.update_config(
        {
            "execution": {
                "crashdump_dir": str(crash_dir),
                "crashfile_format": "txt",
                "hash_method": "content",
                "remove_unnecessary_outputs": False,
                "stop_on_first_crash": execution.stop_on_first_crash,
                "check_version": False,
                "poll_sleep_duration": 0.25,
                "use_relative_paths": False,
            },
            "monitoring": {"enabled": execution.resource_monitor, "sample_frequency": 1},
            "logging": {"log_to_file": False},
        }
    )
    for handler in list(logging.getLogger("nipype").handlers):  # the app's own handler shows what is worth showing
        logging.getLogger("nipype").removeHandler(handler)
    config.resource_monitor = execution.resource_monitor  # also off again, for a second run in the same process


def plugin_of(
    execution: ExecutionSettings, plugin_file: Path | None = None, *, apart: bool = False
) -> tuple[str, dict[str, Any]]:
    """Return the nipype plugin and its arguments.

    Processes are started by a fork server: forking a process that has loaded torch can hang its children.

    Parameters
    ----------
    execution
        Number of processes, memory, device.
    plugin_file
        Names another plugin.
    apart
        Whether a single process is to be another than this one. Greedy holds the interpreter for minutes: meanwhile
        this process could draw no line and hear no signal.

    Raises
    ------
    UsageError
        If the plugin file cannot be read.
    """
    if plugin_file is not None:
        return _read_plugin(plugin_file)
    if execution.n_procs == 1 and not apart:
        return "Linear", {}
    arguments: dict[str, Any] = {
        "n_procs": execution.n_procs,
        "mp_context": "forkserver",
        "raise_insufficient": False,
    }
    if gpu_expected(execution):
        arguments["n_gpu_procs"] = 1  # one session at a time; the others are at their anatomy, on the CPUs
    if execution.mem_gb is not None:
        arguments["memory_gb"] = execution.mem_gb
    return "MultiProc", arguments


def run_workflow(
    workflow: Any,
    execution: ExecutionSettings,
    crash_dir: Path,
    plugin_file: Path | None = None,
    seconds: dict[str, float] | None = None,
    watch: Watch | None = None,
) -> list[NodeFailure]:
    """Run a workflow to its end and return what failed; one failing node does not stop the others.

    Parameters
    ----------
    workflow
        nipype workflow whose ``base_dir`` is set.
    execution
        Processes, memory, and whether to stop at the first failure.
    crash_dir
        Empty folder for nipype's crash files.
    plugin_file
        nipype plugin to use instead of the one that ``execution`` asks for.
    seconds
        Filled with the time from the first step to the end of the last, by name of the workflow of a session; also
        where the run is stopped.
    watch
        Is told of each step that starts, comes some way, or ends; then no step runs in this process, which a step
        could stop for minutes.
    """
    crash_dir.mkdir(parents=True, exist_ok=True)
    workflow.config["execution"] = {"crashdump_dir": str(crash_dir)}
    plugin, arguments = plugin_of(execution, plugin_file, apart=watch is not None)
    # The resource monitor writes its samples where the process stands; without it nothing depends on that.
    stand = contextlib.chdir(crash_dir) if execution.resource_monitor else contextlib.nullcontext()
    with stand, _Stop() as stop, Account(crash_dir, watch, here=plugin == "Linear") as account:
        progress = Progress(stop, seconds, account)
        own = {"status_callback": progress, "messages_dir": str(crash_dir)}
        arguments = own | arguments
        runner = _resilient(plugin, arguments)
        try:
            workflow.run(plugin=runner, plugin_args=arguments)
        except KeyboardInterrupt:
            progress.stopped()
            if hasattr(runner, "stop"):
                runner.stop()
            raise
        except Exception as error:  # nipype raises plain RuntimeError for any failed node, after all others have run
            if not any(crash_dir.glob("crash-*.txt")):
                raise error_from_text(f"{type(error).__module__}.{type(error).__name__}: {error}") from error
    return read_crashes(crash_dir)


class _Stop:
    """Remembers that the run is to stop: nipype takes an interrupt within a node for a failure of that node alone."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "_Stop":
        if threading.current_thread() is threading.main_thread():  # signals reach no other
            self._before = {s: signal.signal(s, self._interrupt) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _interrupt(self, number: int, frame: Any) -> None:
        self.asked = True
        raise KeyboardInterrupt


class Progress:
    """Says when each step of a session is done, and after how long; for nipype's ``status_callback``."""

    def __init__(self, stop: "_Stop", seconds: dict[str, float] | None, account: Account) -> None:
        self._account = account
        self._started: dict[str, float] = {}
        self._begun: dict[str, float] = {}
        self._seconds = {} if seconds is None else seconds
        self._stop = stop

    def __call__(self, node: Any, status: str) -> None:
        """Take note of a node that starts, or log one that has ended; stop the run if that was asked for."""
        if self._stop.asked:
            raise KeyboardInterrupt
        if node.run_without_submitting:
            return
        name = str(node.fullname or node.name)
        whose, now = ".".join(name.split(".")[1:2]), time.monotonic()
        self._seconds[whose] = now - self._begun.setdefault(whose, now)
        self._account.tell(name, status)
        if status == "start":
            self._started[name] = time.monotonic()
        elif name in self._started:
            seconds = time.monotonic() - self._started.pop(name)
            session, step = session_and_step(name)
            STEPS.log(
                logging.INFO if seconds >= 1 else logging.DEBUG,
                "%s %s after %.0f s",
                f"{session}: {step}" if session else step,
                "done" if status == "end" else "failed",
                seconds,
            )

    def stopped(self) -> None:
        """Count the time of the steps at work, which nobody will end."""
        now = time.monotonic()
        for whose in {".".join(name.split(".")[1:2]) for name in self._started}:
            self._seconds[whose] = now - self._begun[whose]


def _resilient(plugin: str, arguments: dict[str, Any]) -> Any:
    if plugin != "MultiProc":
        return plugin
    from mbseg_bids.workflows.multiproc import ResilientMultiProc

    # The server imports once what every worker needs, torch not among it; its children then start at once.
    multiprocessing.set_forkserver_preload(["mbseg_bids.workflows.base"])
    return ResilientMultiProc(arguments)


def read_crashes(crash_dir: Path) -> list[NodeFailure]:
    """Return the failures that nipype has left crash files of, in the order of time."""
    failures = []
    for path in sorted(crash_dir.glob("crash-*.txt"), key=lambda p: p.stat().st_mtime_ns):
        text = path.read_text(encoding="utf-8", errors="replace")
        node = re.search(r"^Node: (\S+)", text, re.MULTILINE)
        failures.append(NodeFailure(node.group(1) if node else path.stem, error_from_text(text), path))
    return failures


def error_from_text(traceback: str) -> MbsegError:
    """Recover the original exception, with its exit code, from the text of a traceback.

    nipype sends failures between processes as text only.
    """
    lines = traceback.partition("When creating this crashfile")[0].rstrip().splitlines()
    for line in reversed(lines):
        own = _OWN.search(line)
        if own and isinstance(kind := getattr(errors, own.group(1), None), type) and issubclass(kind, MbsegError):
            return kind(own.group(2), own.group(3))
    named = [match for line in lines if (match := _ANY.match(line))]
    inner = [match for match in named if match.group(1).rsplit(".", 1)[-1] not in _WRAPPERS]
    for match in reversed(inner or named):
        return _foreign(match.group(1).rsplit(".", 1)[-1], (match.group(2) or "").strip())
    if not lines:  # a crash file of which nothing could be written
        return InputOutputError(
            "unknown failure: its account could not be written", "check the disk and the work folder"
        )
    return MbsegError(lines[-1].strip(), "see the crash file in the work folder")


def _foreign(name: str, message: str) -> MbsegError:
    """Give exceptions of other libraries the exit code that fits."""
    text = f"{name}: {message}" if message else name
    if name == "OutOfMemoryError" or "out of memory" in message.lower():
        return TemporaryError(text, "use --device cpu or a smaller --batch-size")
    if name == "BrokenProcessPool":
        text = "a process was killed, as when memory runs out"
    if name in ("MemoryError", "BrokenProcessPool"):
        return TemporaryError(text, "give more memory, or fewer processes with --n-cpus")
    if name in ("OSError", "IOError", "BlockingIOError", "PermissionError"):
        return InputOutputError(_of_the_system(message) or text, "check the disk and the work folder")
    return MbsegError(text, "see the crash file in the work folder")


def _of_the_system(message: str) -> str | None:
    """Return an error of the file system with the bare name of its file, such as ``No space left on device: a.txt``."""
    match = re.match(r"\[Errno \d+\] ([^:]+)(?::.*?'([^']*)'\s*)?$", message)
    if not match:
        return None
    name = Path(match.group(2)).name if match.group(2) else ""
    return f"{match.group(1)}: {name}" if name else match.group(1)


def _read_plugin(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() in (".yml", ".yaml"):
            import yaml

            content = yaml.safe_load(text)
        else:
            content = json.loads(text)
        return str(content["plugin"]), dict(content.get("plugin_args") or {})
    except Exception as error:  # YAML errors have no common base outside the optional package
        raise UsageError(
            f"cannot read nipype plugin file {path}: {error}", 'give {"plugin": ..., "plugin_args": ...}'
        ) from error
