"""The figure: part of the planted microbleeds that is found, against their observed diameter."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mbseg_bids.evaluation.figures import COLOURS
from mbseg_bids.planting.tables import ALL

NOTE = "Half real: the background is your scanner's, the microbleeds are simulated."


def curve_figure(curve: pd.DataFrame, note: str = NOTE) -> Figure:
    """Draw sensitivity against diameter: of all with its interval, and of each region.

    Parameters
    ----------
    curve
        Of :func:`mbseg_bids.planting.tables.curve_table`.
    note
        Line under the figure: what the data are.
    """
    figure = Figure(figsize=(9.6, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    everything, regions = figure.subplots(1, 2, sharey=True)
    rows = curve[curve["region"] == ALL]
    x, y = rows["diameter_mean"].astype(float), rows["sensitivity"].astype(float)
    low, high = rows["sensitivity_low"].astype(float), rows["sensitivity_high"].astype(float)
    everything.fill_between(x, low, high, color=COLOURS[ALL], alpha=0.12, linewidth=0)
    everything.errorbar(
        x, y, yerr=[(y - low).clip(lower=0), (high - y).clip(lower=0)], color=COLOURS[ALL], marker="o", markersize=4,
        capsize=2, linewidth=1.5,
    )  # fmt: skip
    for place, top, n in zip(x, high, rows["n_planted"], strict=True):
        everything.annotate(f"{n:.0f}", (place, min(top, 1.0)), (0, 3), textcoords="offset points", ha="center", size=7)
    for region in (name for name in COLOURS if name != ALL):
        own = curve[curve["region"] == region]
        if own.empty:
            continue
        label = f"{region.replace('_gm', ' GM').replace('_wm', ' WM').replace('_', ' ')} ({own['n_planted'].sum():.0f})"
        regions.plot(
            own["diameter_mean"], own["sensitivity"], color=COLOURS[region], marker="o", markersize=3, linewidth=1.2,
            label=label,
        )  # fmt: skip
    _frame(everything, "All regions, with 95 % interval; above it how many were planted")
    _frame(regions, "By region (how many were planted)")
    everything.set_ylabel("Part that is found", fontsize=8)
    if regions.get_legend_handles_labels()[0]:
        regions.legend(fontsize=7, frameon=False, loc="lower right")
    figure.supxlabel(note, fontsize=7, color="#555555")
    return figure


def _frame(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=8, loc="left")
    axes.set_xlim(left=0)
    axes.set_ylim(-0.02, 1.08)
    axes.set_xlabel("Observed diameter, mm", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.5)
