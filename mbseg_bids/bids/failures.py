"""What is written about a session that failed: ``logs/sub-X[_ses-Y]_failure.json``, for its report and the group level.

Nothing in it names a folder of the machine: traceback lines keep the name of a file and the line in it.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mbseg_bids.bids.files import hide_folders, write_json
from mbseg_bids.errors import MbsegError

TRACEBACK_LINES = 12
"""Last lines of a traceback that are kept."""

_FOLDERS = re.compile(r"(?:/[^/\s'\"<>]+)+/(?=[^/\s'\"])")
_MARKS = re.compile(r"^[\s^~]*$")
"""Lines that only underline a part of the line before."""


def write_failure(
    output_dir: Path, label: str, error: MbsegError, hide: Mapping[str, str], *, step: str = "", crash: str = ""
) -> Path:
    """Write why a session failed.

    Parameters
    ----------
    output_dir
        Root of the derivatives.
    label
        ``sub-X`` or ``sub-X_ses-Y``.
    error
        What it failed with.
    hide
        Folders of this machine and what to write instead of them.
    step
        Full name of the workflow step; empty where none was reached.
    crash
        Text of its crash file.
    """
    content = {
        "session": label,
        "step": step_name(step),
        "error": error.what,
        "remedy": error.remedy,
        "exit_code": error.exit_code,
        "traceback": traceback_of(crash),
    }
    return write_json(_path(output_dir, label), hide_all_folders(hide_folders(content, hide)))


def has_failure(output_dir: Path, label: str) -> bool:
    """Tell whether something is written of a failure of this session."""
    return _path(output_dir, label).is_file()


def remove_failure(output_dir: Path, label: str) -> None:
    """Take away what is written of an earlier failure, before the session is computed anew."""
    _path(output_dir, label).unlink(missing_ok=True)


def step_name(node: str) -> str:
    """Return the name of a step for reading: ``mbseg_wf.sub_02_wf.detection_wf.classify`` is detection classify."""
    parts = node.split(".")
    start = next((n + 1 for n, part in enumerate(parts) if re.match(r"sub_.*_wf$", part)), 0)
    return " ".join(part.removesuffix("_wf").replace("_", " ") for part in parts[start:])


def traceback_of(crash: str) -> list[str]:
    """Return the last lines of the innermost traceback in the text of a nipype crash file."""
    text = crash.partition("When creating this crashfile")[0]  # nipype's own words follow
    _, found, inner = text.rpartition("Traceback (most recent call last):")
    lines = [line.strip("\t").rstrip() for line in inner.splitlines()] if found else []
    return [line for line in lines if line and not _MARKS.match(line)][-TRACEBACK_LINES:]


def hide_all_folders(content: object) -> object:
    """Return texts, mappings and lists with every absolute folder taken out of them."""
    if isinstance(content, Mapping):
        return {key: hide_all_folders(value) for key, value in content.items()}
    if isinstance(content, Sequence) and not isinstance(content, str):
        return [hide_all_folders(value) for value in content]
    return _FOLDERS.sub("", content) if isinstance(content, str) else content


def _path(output_dir: Path, label: str) -> Path:
    return output_dir / "logs" / f"{label}_failure.json"
