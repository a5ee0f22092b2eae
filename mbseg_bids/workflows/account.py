"""What a run says while it works: which step each session is at, and what the steps themselves report.

A step runs in a process of its own, whose words would come to the terminal unordered and never to the run's log.
So each process writes them to a file of its own, with the name of the step, and the process that runs the
workflow reads the files. Nothing is shared that a killed process could leave locked.
"""

import contextlib
import json
import logging
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

STEPS = logging.getLogger("mbseg.steps")
"""Where the end of each step is told; the terminal leaves it out where it shows the steps otherwise."""

_INTERFACES = "nipype.interface"
_STEP = re.compile(r"^\w+?_wf\.sub_([^_.]+)(?:_ses_([^_.]+))?_wf\.(.*)$")

_here = ""
"""Full name of the step that this process is at."""


@dataclass(frozen=True)
class StepEvent:
    """A step has started, has come some way, or has ended."""

    session: str
    """``sub-X`` or ``sub-X_ses-Y``; empty where the step is of none."""
    step: str
    """Its name for reading: ``anatomy register_t1w``."""
    status: str
    """``start``, ``part``, ``end`` or ``exception``."""
    part: float = 0.0
    """How far it has come, 0 to 1."""


Watch = Callable[[StepEvent], None]


def session_and_step(node: str) -> tuple[str, str]:
    """Return the label of the session and the name of the step, from the full name of a node."""
    match = _STEP.match(node)
    if not match:
        return "", node
    participant, session, step = match.groups()
    label = f"sub-{participant}" + (f"_ses-{session}" if session else "")
    return label, step.replace("_wf.", " ")


def steps_of(workflow: Any) -> dict[str, list[str]]:
    """Return the names of the steps of each session that take time, by label."""
    from nipype.interfaces.utility import IdentityInterface

    steps: dict[str, list[str]] = {}
    for name in workflow.list_node_names():
        node = workflow.get_node(name)
        if node.run_without_submitting or isinstance(node.interface, IdentityInterface):
            continue
        session, step = session_and_step(f"{workflow.name}.{name}")
        steps.setdefault(session, []).append(step)
    return steps


class MessageFile(logging.Handler):
    """Writes what is logged in a worker to a file of its own, one JSON object a line."""

    def __init__(self, folder: str) -> None:
        super().__init__(logging.INFO)
        self._path = Path(folder) / f"messages-{os.getpid()}.jsonl"
        self._stream: IO[str] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Append a record; where that fails, the run goes on without it."""
        content = {"name": record.name, "level": record.levelno, "node": _here, "text": record.getMessage()}
        content |= {"part": _part(record), "created": record.created}
        with contextlib.suppress(OSError):
            if self._stream is None:
                self._stream = self._path.open("a", encoding="utf-8")
            self._stream.write(json.dumps(content) + "\n")
            self._stream.flush()


def set_step(node: str) -> None:
    """Take note of the step that this process is at."""
    global _here
    _here = node


class Account:
    """Gives what the steps report, with the names of session and step, to the loggers of this process.

    Parameters
    ----------
    folder
        Where workers write their messages.
    watch
        Is told of each step.
    here
        Whether the steps run in this process, one after another.
    """

    def __init__(self, folder: Path, watch: Watch | None = None, *, here: bool = False) -> None:
        self._folder = folder
        self._is_here = here
        self._watch = watch
        self._read: dict[Path, int] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._reader = threading.Thread(target=self._keep_reading, daemon=True)

    def __enter__(self) -> Self:
        logging.getLogger(_INTERFACES).addFilter(self._name)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._reader.join()
        self.read()
        logging.getLogger(_INTERFACES).removeFilter(self._name)
        set_step("")

    def tell(self, node: str, status: str) -> None:
        """Tell that a step has started or ended."""
        if self._is_here:
            set_step(node if status == "start" else "")
        if self._watch is not None:
            self._watch(StepEvent(*session_and_step(node), status))

    def read(self) -> None:
        """Log what workers have written since the last time."""
        with self._lock:
            for path in sorted(self._folder.glob("messages-*.jsonl")):
                with contextlib.suppress(OSError), path.open("rb") as stream:
                    stream.seek(self._read.get(path, 0))
                    for line in stream:
                        if not line.endswith(b"\n"):  # still being written
                            break
                        self._read[path] = self._read.get(path, 0) + len(line)
                        self._log(line)

    def _log(self, line: bytes) -> None:
        try:
            content = json.loads(line)
        except ValueError:
            return
        record = logging.makeLogRecord(
            {
                "name": content["name"],
                "levelno": content["level"],
                "levelname": logging.getLevelName(content["level"]),
                "msg": content["text"],
                "created": content["created"],
                "node": content["node"],
                "part": content["part"],
            }
        )
        logging.getLogger(content["name"]).handle(record)

    def _name(self, record: logging.LogRecord) -> bool:
        """Put the names of session and step before what a step says."""
        node = getattr(record, "node", _here)
        session, step = session_and_step(node)
        if session:
            part = getattr(record, "part", None) or _part(record)
            record.msg, record.args = f"{session}: {step}: {record.getMessage()}", ()
            if part and self._watch is not None:
                self._watch(StepEvent(session, step, "part", part))
        return True

    def _keep_reading(self) -> None:
        while not self._over.wait(0.5):
            self.read()


def _part(record: logging.LogRecord) -> float:
    """Return how far a step has come by a record of the kind ``%d of %d``; 0 if it is of another kind."""
    numbers = record.args
    if isinstance(numbers, tuple) and len(numbers) == 2 and all(isinstance(n, int) and n > 0 for n in numbers):
        return min(1.0, numbers[0] / numbers[1])  # type: ignore[operator]
    return 0.0
