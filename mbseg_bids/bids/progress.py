"""Which sessions are done: a mark written last, which holds what the results depend on."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mbseg_bids import __version__
from mbseg_bids.bids.files import write_json
from mbseg_bids.settings import Settings

RESULT_TABLES = ("inputs", "anatomy", "detection", "outputs")
"""Settings that decide the result; those of ``execution`` only decide how fast it comes."""


def fingerprint(files: Mapping[str, Iterable[Path]], settings: Settings) -> str:
    """Return a SHA-256 over the content of all input files, the settings that decide the result, and the version.

    Parameters
    ----------
    files
        Input files by role (contrast or reused result).
    settings
        Settings of the run.
    """
    tables = settings.as_dict()
    facts: dict[str, Any] = {
        "version": __version__,
        "settings": {table: tables[table] for table in RESULT_TABLES},
        "files": {role: [_sha256(path) for path in paths] for role, paths in sorted(files.items())},
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def is_done(output_dir: Path, label: str, expected: str) -> bool:
    """Tell whether a session was finished with the same inputs and settings, and its files are still there."""
    try:
        mark = json.loads(_mark(output_dir, label).read_text(encoding="utf-8"))
        return mark["fingerprint"] == expected and all((output_dir / path).is_file() for path in mark["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def what_changed(output_dir: Path, label: str, expected: str, facts: Mapping[str, Any]) -> str:
    """Return why the results of an earlier run do not stand, in words; empty where there are none.

    Parameters
    ----------
    output_dir, label
        Root of the derivatives; the session.
    expected
        Fingerprint that it has now.
    facts
        What its summary would say before anything is computed.
    """
    try:
        mark = json.loads(_mark(output_dir, label).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ""
    except (OSError, ValueError):
        return "the mark of its results cannot be read"
    if isinstance(mark, dict) and mark.get("fingerprint") == expected:
        return "some of its results are gone"
    earlier = read_summary(output_dir, label)
    changed = [
        f"{key} was {_shown(_entry(earlier, table).get(key))}, now {_shown(value)}"
        for table, values in facts["settings"].items()
        for key, value in values.items()
        if _shown(_entry(earlier, table).get(key)) != _shown(value)
    ]
    before = earlier.get("software")
    version = before.get("mbseg-bids") if isinstance(before, dict) else None
    if version != __version__:
        changed.insert(0, f"it is of version {version}, this is {__version__}")
    return f"results exist, but {'; '.join(changed) or 'its input files or the model are others'}"


def _entry(summary: Mapping[str, Any], table: str) -> Mapping[str, Any]:
    settings = summary.get("settings")
    values = settings.get(table) if isinstance(settings, dict) else None
    return values if isinstance(values, dict) else {}


def _shown(value: Any) -> str:
    """Return a setting for reading; of a path its name alone, as the summary hides the folder."""
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or "none"
    return Path(value).name if isinstance(value, str) else str(value)


def write_done(output_dir: Path, label: str, fingerprint_: str, files: Iterable[Path]) -> None:
    """Mark a session as done, after all its files have been written."""
    relative = sorted(path.relative_to(output_dir).as_posix() for path in files)
    write_json(_mark(output_dir, label), {"fingerprint": fingerprint_, "files": relative})


def remove_done(output_dir: Path, label: str) -> None:
    """Take the mark away before the session is computed anew."""
    _mark(output_dir, label).unlink(missing_ok=True)


def read_summary(output_dir: Path, label: str) -> dict[str, Any]:
    """Return the summary of a session; empty where there is none that can be read."""
    try:
        summary = json.loads((output_dir / "logs" / f"{label}_summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return summary if isinstance(summary, dict) else {}


def _mark(output_dir: Path, label: str) -> Path:
    return output_dir / "logs" / f"{label}_done.json"


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
