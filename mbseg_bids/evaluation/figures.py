"""Figures of the evaluation, as bytes of a PNG or SVG file. No window system, no state shared between figures."""

import io

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

COLOURS = {
    "all": "#000000",
    "cortical_gm": "#0072b2",
    "deep_gm": "#d55e00",
    "cerebral_wm": "#009e73",
    "cerebellar_gm": "#cc79a7",
    "cerebellar_wm": "#e69f00",
    "brainstem": "#56b4e9",
}
"""Told apart by people who see no red or no green (Okabe and Ito 2008)."""
PANELS = {"sensitivity": "Sensitivity", "precision": "Precision", "dice": "Similarity index (Dice of counts)"}
AXES = {
    "ratio_threshold": "Threshold of the intensity ratio",
    "probability_threshold": "Threshold of the network's probability",
    "lesion_probability": "Threshold of the probability after the candidate classifier",
}


def sweep_figure(pooled: pd.DataFrame, parameter: str, note: str = "") -> Figure:
    """Draw sensitivity, precision and similarity index by region against a threshold (Dadar et al. 2022, Figure 10).

    Parameters
    ----------
    pooled
        Of :func:`mbseg_bids.evaluation.sweep.pool_sweep`; one match rule.
    parameter
        Which sweep.
    note
        Line under the figure: what the data are.
    """
    figure = _figure(10.5, 3.9)
    rows = pooled[pooled["parameter"] == parameter]
    regions = [r for r in COLOURS if (rows.loc[rows["region"] == r, "n_truth"] > 0).any()]
    for place, (metric, title) in enumerate(PANELS.items(), start=1):
        axes = figure.add_subplot(1, len(PANELS), place)
        for region in regions:
            curve = rows[rows["region"] == region]
            label = f"{region.replace('_gm', ' GM').replace('_wm', ' WM')} ({curve['n_truth'].iloc[0]:.0f})"
            axes.plot(
                curve["threshold"], curve[metric], color=COLOURS[region], label=label, marker="o", markersize=2.5,
                linewidth=2.0 if region == "all" else 1.2,
            )  # fmt: skip
            if region == "all":  # bands of every region would cover each other
                ends = curve[f"{metric}_low"].astype(float), curve[f"{metric}_high"].astype(float)
                axes.fill_between(curve["threshold"], *ends, color=COLOURS[region], alpha=0.12, linewidth=0)
        _frame(axes, AXES[parameter], title)
    figure.axes[0].legend(fontsize=7, frameon=False, title="Region (true lesions)", title_fontsize=7)
    _note(figure, note)
    return figure


def calibration_figure(bins: pd.DataFrame, note: str = "") -> Figure:
    """Draw the share of microbleeds against the probability given, and how many candidates each bin has.

    ``bins`` are those of :class:`mbseg_bids.evaluation.calibration.Calibration`.
    """
    figure = _figure(4.6, 5.4)
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    x, y = bins["probability_mean"].astype(float), bins["observed"].astype(float)
    upper.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--")
    below, above = y - bins["observed_low"].astype(float), bins["observed_high"].astype(float) - y
    # An interval by Wilson need not hold a share of 0 or 1 as its own end to the last digit.
    upper.errorbar(
        x,
        y,
        yerr=[below.clip(lower=0), above.clip(lower=0)],
        color=COLOURS["cortical_gm"],
        marker="o",
        capsize=2,
        markersize=4,
        linewidth=1.2,
    )
    _frame(upper, "", "Share that are microbleeds")
    upper.set_xlim(-0.02, 1.02)
    width = bins["probability_to"] - bins["probability_from"]
    options = {"width": width, "align": "edge", "edgecolor": "white"}
    lower.bar(bins["probability_from"], bins["n_candidates"], color="#bbbbbb", **options)
    lower.bar(bins["probability_from"], bins["n_true"], color=COLOURS["cortical_gm"], **options)
    lower.set_xlabel("Probability of a microbleed", fontsize=8)
    lower.set_ylabel("Candidates", fontsize=8)
    lower.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    lower.tick_params(labelsize=7)
    lower.spines[["top", "right"]].set_visible(False)
    _note(figure, note)
    return figure


def to_bytes(figure: Figure, kind: str = "png") -> bytes:
    """Return a figure as ``png`` or ``svg``, the same bytes for the same content."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with mpl.rc_context({"svg.hashsalt": "mbseg", "svg.fonttype": "none"}):
        figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
    return buffer.getvalue()


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _frame(axes: Axes, x: str, y: str) -> None:
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.5)


def _note(figure: Figure, note: str) -> None:
    if note:
        figure.supxlabel(note, fontsize=7, color="#555555")
