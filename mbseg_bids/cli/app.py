# PYTHON_ARGCOMPLETE_OK
"""``mbseg-bids``: the BIDS App."""

import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Iterator, Sequence

from mbseg_bids.cli.environment import quiet_libraries
from mbseg_bids.cli.parser import parse_request
from mbseg_bids.errors import exit_code_of

LOGGER = logging.getLogger("mbseg")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the app and return its exit code; the last line on the terminal says how it ended."""
    with _stoppable():
        return exit_code_of(
            lambda: _main(sys.argv[1:] if argv is None else argv),
            "mbseg-bids",
            interrupted="start it again with the same --work-dir to continue",
        )


def _main(argv: Sequence[str]) -> int:
    request = parse_request(argv)
    quiet_libraries()
    _log_to_terminal(request.verbosity)
    if request.level == "group":
        from mbseg_bids.cli.group import run_group

        message = run_group(request)
    else:
        from mbseg_bids.cli.participant import run_participant

        message = run_participant(request)
    print(f"mbseg-bids finished: {message}", file=sys.stderr, flush=True)
    return 0


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Take a cluster's or a terminal's request to end as Ctrl-C is taken; never fail because nobody listens."""
    logging.raiseExceptions = False  # a full disk or a closed terminal must not end in pages of tracebacks
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    before = {}
    if threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
        numbers = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]  # nohup stays nohup
        before = {number: signal.signal(number, _interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _log_to_terminal(verbosity: int) -> None:
    from mbseg_bids.cli.terminal import TerminalHandler

    logging.basicConfig(handlers=[TerminalHandler(sys.stderr, verbosity)], force=True)
    LOGGER.setLevel(logging.DEBUG)
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # every header oddity, at every reading


if __name__ == "__main__":
    sys.exit(main())
