"""What a run leaves in ``logs/``: its settings, what happened, and how each session ended."""

import datetime
import logging
import os
import secrets
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from mbseg_bids.bids.files import hide_folders, write_text
from mbseg_bids.cli.outcome import as_tsv
from mbseg_bids.cli.parser import Request

PACKAGE_LOGGERS = ("mbseg", "nipype.workflow", "nipype.interface")


def host_folders(request: Request) -> dict[str, str]:
    """Return the folders of this machine, each with what is written instead of it: outputs travel, paths do not."""
    folders = {
        str(request.bids_dir): "<bids_dir>",
        str(request.output_dir): "<output_dir>",
        str(request.work_dir): "<work_dir>",
        str(Path(__file__).parents[1]): "<mbseg_bids>",
        os.path.expanduser("~"): "<home>",
    }
    folders |= {str(path): f"<{name}>" for name, path in request.derivatives.items()}
    if request.fs_subjects_dir:
        folders[str(request.fs_subjects_dir)] = "<fs_subjects_dir>"
    weights = Path(request.settings.detection.weights)
    if weights.is_absolute():
        folders[str(weights.parent)] = "<weights_dir>"
    for folder in (sys.prefix, sys.base_prefix, sysconfig.get_paths()["purelib"], sysconfig.get_paths()["stdlib"]):
        folders.setdefault(folder, "<python>")
    for folder, name in list(folders.items()):  # a link may lead elsewhere
        folders.setdefault(os.path.realpath(folder), name)
    return {folder: name for folder, name in folders.items() if len(folder) > 1}


class RunLog:
    """Log file and records of one run, under a name of its own: several runs may share an output folder."""

    def __init__(self, request: Request) -> None:
        self.folders = host_folders(request)
        self.folder = request.output_dir / "logs"
        started = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        self.stem = f"run-{started}-{secrets.token_hex(2)}"
        self._settings = request.settings.to_toml()
        self._handlers: list[logging.Handler] = []

    def __enter__(self) -> Self:
        write_text(self.folder / f"{self.stem}_settings.toml", hide_folders(self._settings, self.folders))
        to_file = logging.FileHandler(self.folder / f"{self.stem}.log", encoding="utf-8")
        to_file.setFormatter(_HidingFormatter("%(asctime)s %(levelname)s %(message)s", self.folders))
        to_file.setLevel(logging.INFO)
        # nipype's own account of a failure names the machine and its folders; the crash file in the work folder has it.
        to_file.addFilter(lambda record: record.name != "nipype.workflow")
        self._handlers = [to_file]
        for name in PACKAGE_LOGGERS:
            logger = logging.getLogger(name)
            logger.addHandler(to_file)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handler in self._handlers:
            for name in PACKAGE_LOGGERS:
                logging.getLogger(name).removeHandler(handler)
            handler.close()

    def write_sessions(self, rows: Iterable[tuple[str, ...]]) -> None:
        """Write how each session ended, in the columns of :data:`mbseg_bids.cli.outcome.COLUMNS`."""
        write_text(self.folder / f"{self.stem}_sessions.tsv", hide_folders(as_tsv(rows), self.folders))


class TerminalFilter(logging.Filter):
    """Lets through to the terminal what was asked for with ``-v``; the log file has more."""

    def __init__(self, verbosity: int) -> None:
        super().__init__()
        levels = {
            "mbseg": (logging.INFO, logging.DEBUG, logging.DEBUG),
            "nipype.interface": (logging.WARNING, logging.INFO, logging.DEBUG),
            "nipype": (logging.CRITICAL, logging.ERROR, logging.DEBUG),
            "": (logging.ERROR, logging.WARNING, logging.INFO),
        }
        self._levels = {name: by_verbosity[min(verbosity, 2)] for name, by_verbosity in levels.items()}

    def filter(self, record: logging.LogRecord) -> bool:
        """Decide by the level of the nearest logger that has one."""
        name = next(n for n in self._levels if n == "" or record.name == n or record.name.startswith(n + "."))
        return record.levelno >= self._levels[name]


class _HidingFormatter(logging.Formatter):
    def __init__(self, text: str, folders: Mapping[str, str]) -> None:
        super().__init__(text)
        self._folders = folders

    def format(self, record: logging.LogRecord) -> str:
        return hide_folders(super().format(record), self._folders)
