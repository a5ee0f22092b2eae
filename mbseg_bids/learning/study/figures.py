"""Figures of the study of hyper-parameters, like Figures 8 and 9 of Dadar et al. 2022."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

TITLES = {
    "patch": "Patch size (mm)",
    "freeze": "Frozen layers",
    "batch": "Mini-batch size",
    "rate": "Learning rate",
    "rotations": "Random rotations",
}
SETS = ("validation", "test")
MEASURES = ("accuracy", "sensitivity", "specificity")


def accuracy_figure(table: pd.DataFrame) -> Figure:
    """Draw accuracy by value, mean of the repetitions, as colour and number: one panel a factor, one row a set.

    Parameters
    ----------
    table
        Of :func:`mbseg_bids.learning.study.runs.collect`.
    """
    factors = [f for f in TITLES if f != "rotations" and (table["factor"] == f).any()]
    means = table.groupby(["factor", "set", "value"])["accuracy"].mean()
    shown = means[means.index.get_level_values("factor").isin(factors)]
    low, high = float(shown.min()), float(shown.max())
    figure = _figure(table, 1.7 + 1.25 * len(factors))
    axes = figure.subplots(max(1, len(factors)), 1, squeeze=False)[:, 0]
    for axis, factor in zip(axes, factors, strict=False):
        grid = means[factor].unstack("value").reindex(SETS)
        axis.imshow(grid, cmap="YlOrRd", vmin=low, vmax=max(high, low + 1e-6), aspect="auto")
        for (row, column), value in np.ndenumerate(grid.to_numpy()):
            dark = (value - low) > 0.6 * (high - low)
            axis.text(column, row, f"{value:.3f}", ha="center", va="center", color="white" if dark else "black")
        axis.set_xticks(range(grid.shape[1]), [f"{v:g}" for v in grid.columns])
        axis.set_yticks(range(len(SETS)), SETS)
        axis.set_title(TITLES[factor], fontsize=9, loc="left")
    return figure


def rotation_figure(table: pd.DataFrame) -> Figure:
    """Draw accuracy, sensitivity and specificity by number of rotations: mean, and range over the repetitions."""
    rows = table[table["factor"] == "rotations"]
    figure = _figure(table, 3.4)
    axes = figure.subplots(1, len(SETS), sharey=True)
    for axis, name in zip(axes, SETS, strict=True):
        of_set = rows[rows["set"] == name].groupby("value")
        for measure, colour, marker in zip(MEASURES, ("#1b6ca8", "#c0392b", "#4a7c2c"), "os^", strict=True):
            mean, least, most = (of_set[measure].agg(f).astype(float) for f in ("mean", "min", "max"))
            spread = np.stack([mean - least, most - mean])
            axis.errorbar(
                mean.index.to_numpy(float),
                mean.to_numpy(),
                spread,
                marker=marker,
                color=colour,
                capsize=2,
                markersize=4,
                label=measure,
            )
        axis.set_xlabel(TITLES["rotations"])
        axis.set_title(name, fontsize=9)
        axis.set_xticks(sorted(rows["value"].unique()))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("fraction of patches")
    axes[0].legend(fontsize=8)
    return figure


def write_figures(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Write ``study_accuracy.png`` and ``study_rotations.png``, as far as their factors were studied."""
    folder.mkdir(parents=True, exist_ok=True)
    rotations = table["factor"] == "rotations"
    wanted = {"study_accuracy.png": (accuracy_figure, ~rotations), "study_rotations.png": (rotation_figure, rotations)}
    written = []
    for name, (draw, of_figure) in wanted.items():
        if of_figure.any():
            # Neither date nor version in the file: the same table gives the same bytes.
            draw(table).savefig(folder / name, dpi=110, metadata={"Software": None})
            written.append(folder / name)
    return written


def _figure(table: pd.DataFrame, height: float) -> Figure:
    figure = Figure(figsize=(7.2, height), layout="constrained")
    FigureCanvasAgg(figure)
    n = table["repetition"].nunique()
    figure.suptitle(f"Patch-level results, {n} repetition{'s' * (n > 1)}\n{table['scale'].iloc[0]}", fontsize=9)
    return figure
