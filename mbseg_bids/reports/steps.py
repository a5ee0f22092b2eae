"""What each step of a session took, and nested settings as flat lists. Pure: mappings in, texts out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mbseg_bids.reports.facts import mapping, short_path
from mbseg_bids.reports.session_files import number
from mbseg_bids.wording import readable


@dataclass(frozen=True)
class Step:
    """One step of a session."""

    name: str
    time: str
    memory: str
    """Largest memory of its process; empty where it was not recorded."""
    share: float
    """Of the longest step's time, 0 to 1."""


def steps_taken(summary: Mapping[str, Any]) -> list[Step]:
    """Return every step whose time was recorded, with its memory where that was recorded."""
    parts = {"": mapping(summary.get("durations"))}
    memory: dict[str, Any] = {}
    for part in ("anatomy", "detection"):
        found = mapping(summary.get(part))
        times = next((found[key] for key in ("seconds", "durations", "duration_s", "times") if key in found), None)
        if part not in parts[""] and times is not None:
            parts[f"{part}."] = times if isinstance(times, Mapping) else {"all": times}
        memory |= {f"{part}.{name}": value for name, value in _leaves(mapping(found.get("memory_gb")))}
    times = [(name, value) for start, table in parts.items() for name, value in _leaves(table, start)]
    longest = max((number(value) or 0.0 for _, value in times), default=0.0) or 1.0
    return [
        Step(readable(name), _seconds(value), _gigabytes(memory.get(name)), max(0.0, number(value) or 0.0) / longest)
        for name, value in times
    ]


def flat(table: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a nested mapping as (name in words, value) texts."""
    return [(readable(name), _value(v)) for name, v in _leaves(table)]


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_value(v) for v in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else short_path(value)


def _leaves(table: Mapping[str, Any], start: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{start}{key}.")
        else:
            yield f"{start}{key}", value


def _seconds(value: Any) -> str:
    seconds = number(value)
    if seconds is None:
        return str(value)
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _gigabytes(value: Any) -> str:
    size = number(value)
    return "" if size is None else f"{size:.1f} GB"
