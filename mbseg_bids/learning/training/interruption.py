"""Stopping a training that a cluster, or its user, wants to end: at the next step, with a checkpoint."""

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from mbseg_bids.errors import TemporaryError


class TrainingStoppedError(TemporaryError):
    """Training was asked to stop and wrote a checkpoint; ``--resume`` goes on at the same step."""


class StopRequest:
    """Whether training should stop: after SIGTERM or SIGINT (Ctrl-C), or when its time is over.

    A context manager: signals are caught inside, and handled as before outside. A second signal of the same kind acts
    at once, without a checkpoint.

    Parameters
    ----------
    time_limit
        Seconds from now; None for no limit.
    """

    def __init__(self, time_limit: float | None = None) -> None:
        self._end = None if time_limit is None else time.monotonic() + time_limit
        self._signal: str | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._catch)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    @property
    def reason(self) -> str | None:
        """Why to stop, in a few words; None to go on."""
        if self._signal is not None:
            return self._signal
        return "the time limit" if self._end is not None and time.monotonic() >= self._end else None

    def _catch(self, number: int, _: FrameType | None) -> None:
        self._signal = signal.Signals(number).name
        signal.signal(number, self._before.get(number, signal.SIG_DFL))
