"""The terminal while a run is at work: one line a session, drawn anew, with plain lines above it.

Where the output goes to a file or a pipe, or more is asked for with ``-v``, there are plain lines alone.
"""

import contextlib
import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from mbseg_bids.cli.runlog import TerminalFilter
from mbseg_bids.wording import readable

USUAL_SECONDS = {
    "prepare_t1w": 50.0,
    "prepare_t2w": 50.0,
    "prepare_t2star": 40.0,
    "register_t1w": 70.0,
    "register_t2w": 50.0,
    "register_template": 220.0,
    "segment_regions": 45.0,
    "assemble": 25.0,
    "classify": 60.0,
    "find_lesions": 10.0,
}
"""Time of a step beside that of others, s, in the demo; only the proportions count. Any other step takes a second."""

EARLIEST_GUESS = 0.05
"""Part of a session that must be done before the time left is guessed."""


class TerminalHandler(logging.StreamHandler):
    """Writes plain lines, above the lines that are drawn anew where there are such."""

    def __init__(self, stream: TextIO, verbosity: int = 0) -> None:
        super().__init__(stream)
        self.setFormatter(logging.Formatter("%(message)s"))
        self.addFilter(TerminalFilter(verbosity))
        self.may_draw = verbosity == 0 and stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.lines: LiveLines | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; the end of a step is seen in the lines, where there are such."""
        if self.lines is None:
            super().emit(record)
        elif record.name != "mbseg.steps":
            with self.lines.taken_away():
                super().emit(record)


def log_to_terminal(verbosity: int) -> None:
    """Let the loggers of this package and of its libraries speak on the terminal, as much as was asked for."""
    logging.basicConfig(handlers=[TerminalHandler(sys.stderr, verbosity)], force=True)
    logging.getLogger("mbseg").setLevel(logging.DEBUG)
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # every header oddity, at every reading


@contextlib.contextmanager
def live_lines(steps: Callable[[], Mapping[str, Sequence[str]]]) -> Iterator[Callable[[Any], None] | None]:
    """Draw a line for each session at work; yield what must be told of each step, None where nothing is drawn.

    Parameters
    ----------
    steps
        Gives the names of the steps of each session; called only if lines are drawn.
    """
    handlers = [h for h in logging.getLogger().handlers if isinstance(h, TerminalHandler)]
    if not handlers or not handlers[0].may_draw:
        yield None
        return
    handler = handlers[0]
    handler.lines = LiveLines(handler.stream, steps())
    try:
        with handler.lines:
            yield handler.lines.tell
    finally:
        handler.lines = None


@dataclass
class _Session:
    steps: Sequence[str]
    begun: float
    ended: dict[str, float] = field(default_factory=dict)
    """Seconds that a step took."""
    running: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Start, and part done, by step."""


class LiveLines:
    """The sessions at work, a line each; a thread of its own draws them every second.

    Parameters
    ----------
    stream
        The terminal.
    steps
        Names of the steps of each session, by label.
    clock
        Seconds of a clock that never goes back.
    """

    def __init__(
        self, stream: TextIO, steps: Mapping[str, Sequence[str]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._steps = steps
        self._clock = clock
        self._sessions: dict[str, _Session] = {}
        self._n_drawn = 0
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._drawer = threading.Thread(target=self._keep_drawing, daemon=True)

    def __enter__(self) -> "LiveLines":
        self._drawer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._drawer.join()
        with self._lock:
            self._clear()

    def tell(self, event: Any) -> None:
        """Take note of a :class:`mbseg_bids.workflows.account.StepEvent`."""
        with self._lock:
            if event.session not in self._steps:
                return
            now = self._clock()
            session = self._sessions.setdefault(event.session, _Session(self._steps[event.session], now))
            if event.status in ("start", "part"):
                start, _ = session.running.get(event.step, (now, 0.0))
                session.running[event.step] = (start, event.part)
            else:
                start, _ = session.running.pop(event.step, (now, 0.0))
                session.ended[event.step] = now - start

    def text(self) -> list[str]:
        """Return the lines: those of the sessions at work, and one of all where there are several."""
        with self._lock:
            now = self._clock()
            at_work = {label: s for label, s in self._sessions.items() if len(s.ended) < len(s.steps)}
            width = max((len(label) for label in at_work), default=0)
            lines = [f"{label.ljust(width)}  {_state(session, now)}" for label, session in sorted(at_work.items())]
            size = shutil.get_terminal_size()
            hidden = len(lines) - max(1, size.lines - 3)
            if hidden > 0:
                lines = [*lines[:-hidden], f"and {hidden} more"]
            if len(self._steps) > 1:
                n_ended = len(self._sessions) - len(at_work)
                lines.append(f"{n_ended} of {len(self._steps)} sessions computed")
            return [line[: size.columns - 1] for line in lines]

    @contextlib.contextmanager
    def taken_away(self) -> Iterator[None]:
        """Make room for a plain line."""
        with self._lock:
            self._clear()
            yield
            self._draw()

    def _keep_drawing(self) -> None:
        while not self._over.wait(1.0):
            with self._lock:
                self._draw()

    def _draw(self) -> None:
        lines = self.text()
        self._clear()
        self._n_drawn = len(lines)
        self._write("".join(f"{line}\n" for line in lines))

    def _clear(self) -> None:
        """Go up to the first line drawn, and wipe to the end of the screen."""
        if self._n_drawn:
            self._write(f"\x1b[{self._n_drawn}A\r\x1b[J")
        self._n_drawn = 0

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # a terminal that was closed stops no run
            self._stream.write(text)
            self._stream.flush()


def _state(session: _Session, now: float) -> str:
    """Return where a session is, such as ``step 9 of 12, 3:10 gone, about 2 min left: classify 40 %``."""
    number = min(len(session.ended) + 1, len(session.steps))
    elapsed = int(now - session.begun)
    words = [f"step {number} of {len(session.steps)}", f"{elapsed // 60}:{elapsed % 60:02d} gone"]
    left = _time_left(session, now)
    if left is not None:
        words.append("less than a minute left" if left < 60 else f"about {left / 60:.0f} min left")
    names = [_name(step) + _shown(part) for step, (_, part) in session.running.items()]
    return f"{', '.join(words)}: {', '.join(names) or 'waiting'}"


def _shown(part: float) -> str:
    """Return how far a step has come; nothing where it has not said. What comes after its last number is not known."""
    return "" if not part else f" {100 * part:.0f} %" if part < 1 else ", almost done"


def _name(step: str) -> str:
    """Return a step in words; the part of the graph that it is in says little, and a terminal may be narrow."""
    return readable(step.removeprefix("anatomy ").removeprefix("detection "))


def _time_left(session: _Session, now: float) -> float | None:
    """Return the seconds left, from those gone and the usual times of the steps; None while it is too early."""
    done = sum(_usual(step) for step in session.ended)
    pace = sum(session.ended.values()) / done if done > 1 else 1.0  # above 1 on a machine slower than that of the demo
    for step, (start, part) in session.running.items():
        done += _usual(step) * min(0.9, part or (now - start) / (max(pace, 0.1) * _usual(step)))
    whole = sum(_usual(step) for step in session.steps)
    if done < EARLIEST_GUESS * whole:
        return None
    return (now - session.begun) * max(0.0, whole - done) / done


def _usual(step: str) -> float:
    return USUAL_SECONDS.get(step.split()[-1], 1.0)
