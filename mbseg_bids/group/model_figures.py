"""Figures of a count model: observed counts as dots, expected counts as curve or mark, with their 95 % intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from mbseg_bids.group.design import Design
from mbseg_bids.group.model_rows import Row, value_text
from mbseg_bids.group.models import QUANTILE, Fit

WIDTH, HEIGHT = 420, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 10, 10, 42
_TICKS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_STEPS = 41
"""Points of a curve."""
_MOST_LEVELS = 12
_GOLDEN = (math.sqrt(5) - 1) / 2  # multiples of it, modulo 1, lie evenly whatever their number


@dataclass(frozen=True)
class Expected:
    """A mean count with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class ModelFigure:
    """A figure of the page."""

    title: str
    svg: Markup
    caption: str


def expected_mean(fit: Fit, matrix: npt.NDArray, offset: npt.NDArray) -> Expected:
    """Return the mean over rows of the expected count.

    The interval is that of the logarithm of the mean, by the delta method: its gradient is the mean of the rows
    weighted by their expected counts; for the logit of a structural zero, minus its probability.

    Parameters
    ----------
    matrix, offset
        (rows, columns) and (rows,), as of a design.
    """
    means = fit.means(matrix, offset)
    total = means.mean()
    gradient = means @ matrix / means.sum()
    if fit.zero is not None:
        gradient = np.append(gradient, -1 / (1 + math.exp(-fit.zero)))
    error = math.sqrt(max(0.0, float(gradient @ fit.covariance @ gradient)))
    reach = math.exp(min(QUANTILE * error, 50.0))
    return Expected(float(total), float(total / reach), float(total * reach))


def model_figures(rows: Sequence[Row], design: Design, fit: Fit, others: Sequence[str]) -> list[ModelFigure]:
    """Return a figure for each covariate, and for each further column by which rows differ.

    Parameters
    ----------
    rows
        That the design was built from.
    others
        Columns outside the model, such as scanner and sequence.
    """
    figures = []
    columns = dict.fromkeys(coding.factor.column for coding in design.codings)
    classes = {coding.factor.column for coding in design.codings if coding.levels}
    for name in columns:
        figures.append(_by_class(design, fit, name) if name in classes else _by_number(design, fit, name))
    for name in others:
        labels = [value_text(row, name) or "not recorded" for row in rows]
        if name not in columns and 1 < len(set(labels)) <= _MOST_LEVELS:
            figures.append(_outside(design, fit, name, labels))
    return figures


def _by_number(design: Design, fit: Fit, name: str) -> ModelFigure:
    x = np.array(design.data[name], dtype=float)
    n = len(x)
    at = np.linspace(x.min(), x.max(), _STEPS)
    curve = [expected_mean(fit, design.rebuilt({name: [value] * n}), design.offset) for value in at]
    axes = _Axes(float(x.min()), float(x.max()), _highest(design, curve))
    band = [*((v, e.high) for v, e in zip(at, curve, strict=True))]
    band += [(v, e.low) for v, e in zip(at[::-1], curve[::-1], strict=True)]
    parts = [
        axes.frame(_number_ticks(float(x.min()), float(x.max())), name),
        f'<path class="band" d="{axes.line(band)}Z"/>',
        axes.dots(list(zip(x, design.counts, strict=True))),
        f'<path class="curve" d="{axes.line([(v, e.mean) for v, e in zip(at, curve, strict=True)])}"/>',
    ]
    caption = "Dots: observed. Line: mean expected count if everybody had this value, with its 95 % interval."
    return ModelFigure(f"By {name}", _svg(parts, f"Microbleeds by {name}, observed and expected"), caption)


def _by_class(design: Design, fit: Fit, name: str) -> ModelFigure:
    labels = [str(value) for value in design.data[name]]
    coding = next(coding for coding in design.codings if coding.factor.column == name and coding.levels)
    expected = [
        expected_mean(fit, design.rebuilt({name: [level] * len(labels)}), design.offset) for level in coding.levels
    ]
    caption = "Dots: observed. Bar: mean expected count if everybody were of this class, with its 95 % interval."
    return _strips(design, name, labels, coding.levels, expected, caption)


def _outside(design: Design, fit: Fit, name: str, labels: Sequence[str]) -> ModelFigure:
    levels = sorted(set(labels))
    expected = []
    for level in levels:
        inside = np.array([label == level for label in labels])
        expected.append(expected_mean(fit, design.matrix[inside], design.offset[inside]))
    caption = (
        "Not in the model. Dots: observed; diamond: their mean. Bar: mean that the model expects of these rows, with "
        "its 95 % interval. Diamonds far from the bars: the model misses something that goes with it."
    )
    return _strips(design, name, labels, levels, expected, caption, observed_mean=True)


def _strips(
    design: Design,
    name: str,
    labels: Sequence[str],
    levels: Sequence[str],
    expected: Sequence[Expected],
    caption: str,
    observed_mean: bool = False,
) -> ModelFigure:
    axes = _Axes(-0.5, len(levels) - 0.5, _highest(design, expected))
    shown = [(k, _short(level, len(levels))) for k, level in enumerate(levels)]
    parts = [axes.frame(shown, name)]
    for k, (level, mean) in enumerate(zip(levels, expected, strict=True)):
        counts = design.counts[[label == level for label in labels]]
        spread = [k + 0.5 * ((n * _GOLDEN) % 1 - 0.5) for n in range(len(counts))]
        parts.append(axes.dots(list(zip(spread, counts, strict=True))))
        parts.append(f'<path class="interval" d="{axes.line([(k, mean.low), (k, mean.high)])}"/>')
        parts.append(f'<path class="curve" d="{axes.line([(k - 0.2, mean.mean), (k + 0.2, mean.mean)])}"/>')
        if observed_mean:
            x, y = axes.place(k, float(counts.mean()))
            parts.append(f'<path class="diamond" d="M{x:.1f} {y - 5:.1f}l5 5-5 5-5-5z"/>')
    return ModelFigure(f"By {name}", _svg(parts, f"Microbleeds by {name}, observed and expected"), caption)


@dataclass(frozen=True)
class _Axes:
    """From values to pixels; counts are drawn at log(count + 1)."""

    x_low: float
    x_high: float
    y_high: float

    def place(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x_low) / ((self.x_high - self.x_low) or 1.0)
        up = math.log1p(min(y, self.y_high)) / math.log1p(self.y_high)
        return _LEFT + across * (WIDTH - _LEFT - _RIGHT), HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM)

    def line(self, points: Sequence[tuple[float, float]]) -> str:
        return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in (self.place(*point) for point in points))

    def dots(self, points: Sequence[tuple[float, float]]) -> str:
        placed = (self.place(*point) for point in points)
        return '<path class="dots" d="' + "".join(f"M{x:.1f} {y:.1f}h0" for x, y in placed) + '"/>'

    def frame(self, x_ticks: Sequence[tuple[float, str]], title: str) -> str:
        bottom = HEIGHT - _BOTTOM
        parts = []
        for count in _TICKS:
            if count <= self.y_high:
                y = self.place(self.x_low, count)[1]
                parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>')
                parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{count}</text>')
        for value, text in x_ticks:
            x = self.place(value, 0)[0]
            parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{escape(text)}</text>')
        middle = (_LEFT + WIDTH - _RIGHT) / 2
        parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(title)}</text>')
        return "".join(parts)


def _highest(design: Design, expected: Sequence[Expected]) -> float:
    """Return the top of the axis: of counts and means, and of intervals no further than twice that."""
    most = max(float(design.counts.max()), max(e.mean for e in expected), 2.0)
    return 1.05 * min(max(most, max(e.high for e in expected)), 2 * most)


def _number_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Return three to seven round numbers from low to high."""
    rough = (high - low) / 5 or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * k for k in (1, 2, 5, 10) if power * k >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    ticks = [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]
    return [(tick, f"{tick:g}") for tick in ticks]


def _short(text: str, n_levels: int) -> str:
    most = max(4, 48 // n_levels)
    return text if len(text) <= most else text[: most - 1] + "…"


def _svg(parts: Sequence[str], title: str) -> Markup:
    head = f'<svg class="model-plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
    return Markup(head + "".join(parts) + "</svg>")
