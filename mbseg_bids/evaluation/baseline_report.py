"""Table and picture of the U-Net baseline, from what ``mbseg baseline evaluate`` wrote (figure 12 of the paper)."""

from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd

from mbseg_bids.errors import UnreadableDataError

COUNTS = ["n_slices", "n_truth", "n_detected", "n_predicted", "n_correct", "cpu_seconds", "wall_seconds"]
KEYS = ["network", "patch_size", "stride"]


def pool_scans(scans: pd.DataFrame) -> pd.DataFrame:
    """Pool scans: one row for each network, patch size and stride, large ones first.

    Parameters
    ----------
    scans
        Rows of :class:`mbseg_bids.learning.unet.evaluation.ScanRow`.
    """
    groups = scans.groupby(KEYS, as_index=False)
    pooled = groups[COUNTS].sum()
    pooled.insert(len(KEYS), "n_scans", groups["scan"].nunique()["scan"])
    truth, predicted = pooled["n_truth"].replace(0, np.nan), pooled["n_predicted"].replace(0, np.nan)
    pooled["sensitivity"] = pooled["n_detected"] / truth
    pooled["precision"] = pooled["n_correct"] / predicted
    pooled["false_per_scan"] = (pooled["n_predicted"] - pooled["n_correct"]) / pooled["n_scans"]
    pooled["seconds_per_slice"] = pooled["cpu_seconds"] / pooled["n_slices"]
    order = [(row.network, -row.patch_size, -stride_part(row.stride)) for row in pooled.itertuples()]
    return pooled.iloc[sorted(range(len(order)), key=order.__getitem__)].reset_index(drop=True)


def stride_part(stride: str) -> float:
    """Return the number a stride stands for; 0 for a classifier of single voxels (``n/a``)."""
    return 0.0 if stride == "n/a" else float(Fraction(stride))


def read_results(folders: Sequence[Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read ``scans.tsv``, and ``patches.tsv`` where there is one, of each folder.

    Raises
    ------
    UnreadableDataError
        If a folder lacks ``scans.tsv``, or a column is missing.
    """
    scans: list[pd.DataFrame] = []
    patches: list[pd.DataFrame] = []
    for folder in folders:
        for name, rows, columns in (
            ("scans.tsv", scans, {"scan", *KEYS, *COUNTS}),
            ("patches.tsv", patches, {"scan", "patch_size", "n_lesions", "n_found"}),
        ):
            path = Path(folder) / name
            if name == "patches.tsv" and not path.is_file():
                continue
            try:
                table = pd.read_csv(path, sep="\t", dtype={"stride": str, "scan": str}, keep_default_na=False)
            except (OSError, ValueError) as error:
                raise UnreadableDataError(f"cannot read {path}: {error}", "run mbseg baseline evaluate") from error
            if not columns <= set(table):
                lacking = ", ".join(sorted(columns - set(table)))
                raise UnreadableDataError(f"{path} lacks {lacking}", "run mbseg baseline evaluate again")
            rows.append(table)
    empty = pd.DataFrame(columns=["scan", "patch_size", "n_lesions", "n_found"])
    return pd.concat(scans, ignore_index=True), pd.concat(patches, ignore_index=True) if patches else empty


def pool_patches(patches: pd.DataFrame) -> pd.DataFrame:
    """Pool scans: lesions found in a window about each of them, by the side of the window."""
    pooled = patches.drop_duplicates(["scan", "patch_size"]).groupby("patch_size", as_index=False)
    table = pooled[["n_lesions", "n_found"]].sum()
    return table.assign(sensitivity=table["n_found"] / table["n_lesions"].replace(0, np.nan))


def to_markdown(table: pd.DataFrame, by_patch: pd.DataFrame) -> str:
    """Return both tables for a page of text."""
    lines = [
        "| network | window, mm | stride | scans | lesions | found | sensitivity | precision | false/scan "
        "| CPU s/slice |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in table.itertuples():
        lines.append(
            f"| {row.network} | {row.patch_size} | {row.stride} | {row.n_scans} | {row.n_truth} | {row.n_detected} "
            f"| {_number(row.sensitivity, 2)} | {_number(row.precision, 2)} | {_number(row.false_per_scan, 1)} "
            f"| {_number(row.seconds_per_slice, 2)} |"
        )
    if len(by_patch):
        lines += ["", "| window, mm | lesions | found in a window about each | sensitivity |", "|---|---|---|---|"]
        lines += [
            f"| {row.patch_size} | {row.n_lesions} | {row.n_found} | {_number(row.sensitivity, 2)} |"
            for row in by_patch.itertuples()
        ]
    return "\n".join(lines) + "\n"


def draw_figure(table: pd.DataFrame, by_patch: pd.DataFrame) -> bytes:
    """Draw figure 12: (A) sensitivity by window, (B) sensitivity and (C) time by stride, of the smallest window.

    Returns
    -------
    A PNG file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    unet = table[table["network"] == "U-Net"]
    size = unet["patch_size"].min() if len(unet) else 0
    rows = unet[unet["patch_size"] == size]
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    first, second, third = figure.subplots(1, 3)
    first.bar([str(n) for n in by_patch["patch_size"]], by_patch["sensitivity"].astype(float), color="#4477aa")
    first.set(title="A", xlabel="window, mm", ylabel="lesions found, window about each", ylim=(0, 1))
    at = np.arange(len(rows))
    second.plot(at, rows["sensitivity"].astype(float), "o-", color="#4477aa", label="sensitivity")
    second.plot(at, rows["precision"].astype(float), "s--", color="#cc6677", label="precision")
    second.set(title="B", xlabel=f"stride, part of {size} mm", ylim=(0, 1.02))
    third.plot(at, rows["seconds_per_slice"].astype(float), "o-", color="#4477aa")
    third.set(title="C", xlabel=f"stride, part of {size} mm", ylabel="CPU seconds a slice", yscale="log")
    resnet = table[table["network"] == "ResNet-50"]
    if len(resnet):
        second.axhline(
            float(resnet["sensitivity"].iloc[0]), color="black", lw=1, ls=":", label="ResNet-50, sensitivity"
        )
        third.axhline(float(resnet["seconds_per_slice"].iloc[0]), color="black", lw=1, ls=":")
    for axis in (second, third):
        axis.set_xticks(at, list(rows["stride"]))
    second.legend(fontsize=7)
    FigureCanvasAgg(figure)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()


def _number(value: float, digits: int) -> str:
    return "n/a" if pd.isna(value) else f"{value:.{digits}f}"
