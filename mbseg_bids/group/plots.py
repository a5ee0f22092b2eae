"""Counts against age and by scanner, as SVG. Pure: rows in, pictures out."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from mbseg_bids.reports.session_files import number
from mbseg_bids.wording import counted

AGE_COLUMNS = ("age", "age_years", "age_at_scan")
SCANNER_COLUMNS = ("participants_scanner", "sessions_scanner", "scanner")
"""What the input's tables say goes before what sidecars say."""
WIDTH, HEIGHT = 420.0, 230.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 34.0, 10.0, 10.0, 40.0
_TICKS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Plot:
    """A picture with its title and what is to be said of it."""

    title: str
    svg: Markup
    caption: str


def plots(rows: Sequence[Row], columns: Collection[str]) -> list[Plot]:
    """Return counts by age and by scanner, of those that the columns allow; rows are sessions that can be counted."""
    found = []
    age = next((name for name in columns if name.lower() in AGE_COLUMNS), None)
    points = [(years, row["n_total"]) for row in rows if age and (years := number(row.get(age))) is not None]
    if points:
        left_out = len(rows) - len(points)
        said = f" {left_out} without an age {'is' if left_out == 1 else 'are'} left out." if left_out else ""
        found.append(Plot("Microbleeds by age", by_age(points), f"One dot a session; column {age}.{said}"))
    scanner = next((n for n in SCANNER_COLUMNS if any(_text(row.get(n)) for row in rows)), None)
    groups: dict[str, list[int]] = {}
    for row in rows:
        if scanner and (name := _text(row.get(scanner))):
            groups.setdefault(name, []).append(row["n_total"])
    if 1 < len(groups) <= 12:
        found.append(Plot("Microbleeds by scanner", by_group(groups), f"One dot a session; column {scanner}."))
    return found


def by_age(points: Sequence[tuple[float, int]]) -> Markup:
    """Return counts over age; ``points`` are (years, count)."""
    low, high = (f(years for years, _ in points) for f in (min, max))
    low, high = 10 * math.floor(low / 10), 10 * math.ceil((high + 0.1) / 10)
    most = max(count for _, count in points)

    def x(years: float) -> float:
        return _LEFT + (years - low) / (high - low) * (WIDTH - _LEFT - _RIGHT)

    marks = [_label(x(years), HEIGHT - _BOTTOM + 14, f"{years:.0f}") for years in range(int(low), int(high) + 1, 10)]
    marks.append(_label((WIDTH + _LEFT) / 2, HEIGHT - 8, "age, years"))
    dots = [_dot(x(years), _y(count, most), f"{years:g} years, {count}") for years, count in points]
    return _frame([*marks, *dots], most, f"Number of microbleeds of {counted(len(points), 'session')} over age")


def by_group(groups: Mapping[str, Sequence[int]]) -> Markup:
    """Return counts in one strip a group, in the order of the names."""
    most = max(max(counts) for counts in groups.values())
    step = (WIDTH - _LEFT - _RIGHT) / len(groups)
    parts = []
    for n, (name, counts) in enumerate(sorted(groups.items())):
        middle = _LEFT + (n + 0.5) * step
        short = name if len(name) <= step / 5.5 else name[: max(3, int(step / 5.5) - 1)] + "…"
        parts.append(_label(middle, HEIGHT - _BOTTOM + 14, short))
        parts.append(_label(middle, HEIGHT - _BOTTOM + 28, f"n = {len(counts)}"))
        for k, count in enumerate(counts):  # spread evenly, and the same each time
            parts.append(_dot(middle + ((k * 0.618) % 1 - 0.5) * 0.5 * step, _y(count, most), f"{name}: {count}"))
    return _frame(parts, most, f"Number of microbleeds by scanner, {len(groups)} scanners")


def _y(count: int, most: int) -> float:
    """Return the height of a count: by ln(count + 1), so that none and one are told apart beside a hundred."""
    return HEIGHT - _BOTTOM - math.log1p(count) / math.log1p(max(most, 2)) * (HEIGHT - _TOP - _BOTTOM)


def _frame(parts: Sequence[str], most: int, alt: str) -> Markup:
    lines = []
    for tick in (t for t in _TICKS if t <= max(most, 2)):
        y = _y(tick, most)
        lines.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.4g}" y2="{y:.4g}"/>')
        lines.append(f'<text class="axis" text-anchor="end" x="{_LEFT - 5}" y="{y + 4:.4g}">{tick}</text>')
    head = f'<svg class="plot" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{escape(alt)}">'
    return Markup("".join([head, *lines, *parts, "</svg>"]))


def _label(x: float, y: float, text: str) -> str:
    return f'<text class="axis" text-anchor="middle" x="{x:.5g}" y="{y:.5g}">{escape(text)}</text>'


def _dot(x: float, y: float, title: str) -> str:
    return f'<circle class="dot" cx="{x:.5g}" cy="{y:.5g}" r="3.5"><title>{escape(title)}</title></circle>'


def _text(value: Any) -> str:
    text = " ".join(str(value or "").split())
    return "" if text == "n/a" else text
