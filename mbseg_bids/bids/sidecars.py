"""What the JSON files beside an image say, and what of it can be believed.

Sidecars come from scanners, converters and people: any of them may be missing, broken, or say what cannot be.
"""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mbseg_bids.errors import UnreadableDataError

LARGEST_SIDECAR = 16 * 2**20
"""Bytes; a larger file is no sidecar."""

LONGEST_TEXT = 100
"""Characters of a text that is repeated in an output."""

_MILLISECONDS = (1.0, 1000.0)
"""Echo times in this range are no seconds: no scan waits that long for an echo."""


def sidecar(path: Path, root: Path) -> dict[str, Any]:
    """Return the metadata of an image by the inheritance principle; unreadable sidecars count as absent."""
    metadata: dict[str, Any] = {}
    for candidate in _sidecars_of(path, root):
        content = _read(candidate)
        metadata |= content if isinstance(content, dict) else {}
    return metadata


def echo_time(path: Path, root: Path) -> float | None:
    """Return EchoTime (s) of an image from its sidecars, nearest first, or None if unknown or impossible.

    A value that can only be milliseconds is taken for them.
    """
    return _seconds(sidecar(path, root).get("EchoTime"))


def acquisition(path: Path, root: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the fields of a sidecar that may be repeated in an output, as plain values of modest length."""
    metadata = sidecar(path, root)
    kept = {name: _plain(metadata[name]) for name in names if name in metadata}
    if "EchoTime" in kept:
        kept["EchoTime"] = _seconds(metadata["EchoTime"])
    return {name: value for name, value in kept.items() if value is not None}


def check_sidecars(path: Path, root: Path, contrast: str) -> list[str]:
    """Return what a user should know of the sidecars of an image, one sentence each.

    Raises
    ------
    UnreadableDataError
        If they say that a T2*-weighted image holds phase.
    """
    warnings = []
    for candidate in _sidecars_of(path, root):
        content = _read(candidate)
        if isinstance(content, str):
            warnings.append(f"{candidate.name} {content}: it is left out of account")
    metadata = sidecar(path, root)
    kinds = metadata.get("ImageType")
    kinds = {str(kind).upper() for kind in kinds} if isinstance(kinds, list) else set()
    if contrast == "T2starw" and kinds & {"P", "PHASE", "PHASE MAP"} and not kinds & {"M", "MAGNITUDE"}:
        raise UnreadableDataError(
            f"{path.name} is a phase image by its ImageType", "name the magnitude in a filter file"
        )
    if "EchoTime" in metadata:
        given, seconds = metadata["EchoTime"], _seconds(metadata["EchoTime"])
        if seconds is None:
            warnings.append(f"{path.name}: EchoTime {_plain(given)!r} cannot be: it is left out of account")
        elif seconds != given:
            warnings.append(f"{path.name}: EchoTime {given} is taken for milliseconds; BIDS wants seconds")
    return warnings


def _sidecars_of(path: Path, root: Path) -> Iterator[Path]:
    """Yield the sidecars of an image, the farthest first."""
    stem = path.name.removesuffix(".gz").removesuffix(".nii")
    parts = set(stem.split("_"))
    for folder in (f for f in reversed(path.parents) if f == root or root in f.parents):
        for candidate in sorted(folder.glob("*.json"), key=lambda p: (len(p.stem.split("_")), p.name)):
            if set(candidate.stem.split("_")) <= parts and candidate.stem.endswith(stem.rsplit("_", 1)[-1]):
                yield candidate


def _read(path: Path) -> dict[str, Any] | str:
    """Return the content of a sidecar, or what is wrong with it."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return "is a link to a file that is not here" if path.is_symlink() else "is no file"
        if path.stat().st_size > LARGEST_SIDECAR:
            return "is too large for a sidecar"
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        return "is not UTF-8"
    except OSError as error:
        return f"cannot be read ({error.strerror or 'error'})"
    except (ValueError, RecursionError):
        return "is not valid JSON"
    return content if isinstance(content, dict) else "is not a JSON object"


def _seconds(value: Any) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < _MILLISECONDS[1]:
        return None
    return float(value) / 1000 if value >= _MILLISECONDS[0] else float(value)


def _plain(value: Any) -> Any:
    """Return a number, or a text of printable characters; None for anything else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return value if math.isfinite(value) and abs(value) < 1e15 else None
    if isinstance(value, str):
        return re.sub(r"[^\x20-\x7e\xa0-\uffff]+", " ", value).strip()[:LONGEST_TEXT]
    if isinstance(value, list) and len(value) <= 16 and all(isinstance(v, int | float) for v in value):
        return [_plain(v) for v in value]
    return None
