"""Write docs/results.md from measurements: ``mbseg evaluate`` on the trees of finish_weights.py, patches, ablation.

    python scripts/results.py WORK [--out docs/results.md]

No figure on that page is typed in: what is missing in WORK is left out of the page with a line that says so.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd

from mbseg_bids.evaluation.tables import cells

HEAD = """# Results

Written by `scripts/results.py`. **Every figure but the paper's is from simulated scans. Simulated and clinical data
are not comparable**: the paper's figures are from people, read by an expert; these are from a simulator whose truth is
known and whose world is smaller. They show that the code does what it should and what its parts are worth, not how it
will do on your scanner.

Scans: {n_test} with microbleeds and {n_free} without, made from label maps 12 to 14, which no training, no fit and no
choice of a threshold has seen. Each scan has a deformation, contrast, noise, vessels and microbleeds of its own, but
they come from three people's anatomy and one simulator: intervals (95 %, bootstrap over scans; Wilson or Poisson where
that has no width) say what another such simulated scan may give, and no more. Detection as in the BIDS App, with its
default settings, on the true brain mask and regions. True microbleeds below 2 mm equal-sphere diameter count neither
way.
"""

PAPER = {
    "cortical_gm": (0.891, 0.201, 0.28),
    "deep_gm": (1.0, 1.0, 1.0),
    "cerebral_wm": (0.911, 0.443, 0.58),
}
"""Sensitivity, precision, Dice of counts in Dadar et al. 2022 (abstract; the last is for all white matter)."""

VARIANTS = {
    "second_look": "everything",
    "paper": "without the second look (the paper's method)",
    "network": "without second look and ratio rule",
}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "results.md")
    args = parser.parse_args()
    scores = {name: evaluate(args.work, name) for name in VARIANTS}
    full = scores["second_look"]
    pooled = full[(full["size"] == "counted") & (full["spacing"] == "all")]
    kinds = pooled[pooled["region"] == "all"].set_index("scans")["n_scans"]
    parts = [HEAD.format(n_test=kinds["with_lesions"], n_free=kinds["lesion_free"])]
    parts += ["## By region, beside the paper\n", by_region(pooled)]
    parts += ["## By voxel size, size of lesion and kind of scan\n", *breakdowns(full)]
    parts += ["## What the parts are worth\n", rules(scores), ablation(args.work)]
    parts += ["## Single patches\n", patches(args.work)]
    for name, title in (("real", "Real scans without known microbleeds"), ("bars", "What was aimed at")):
        path = args.work / f"{name}.md"
        parts += [f"## {title}\n", path.read_text(encoding="utf-8") if path.is_file() else "Not measured.\n"]
    args.out.write_text("\n".join(parts), encoding="utf-8")


def evaluate(work: Path, name: str) -> pd.DataFrame:
    """Run ``mbseg evaluate`` on a tree; return its pooled scores."""
    out = work / "evaluation" / name
    command = [sys.executable, "-m", "mbseg_bids.cli.workbench", "evaluate", "trees", work / "trees" / "truth"]
    command += [work / "trees" / name, "--match", "overlap", "--out", out]
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    return pd.read_csv(out / "scores.tsv", sep="\t", keep_default_na=False, na_values=["n/a"])


def markdown(rows: pd.DataFrame, columns: dict[str, str], extra: dict[str, list[str]] | None = None) -> str:
    """Return rows as a Markdown table, scores with their intervals; ``extra`` columns come last."""
    shown = cells(rows, columns)
    for heading, values in (extra or {}).items():
        shown[heading] = values
    lines = ["| " + " | ".join(shown.columns) + " |", "|---" * len(shown.columns) + "|"]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in shown.to_numpy()]
    return "\n".join(lines) + "\n"


COUNTS = {"n_truth": "true", "n_detected": "found", "n_false": "false"}
RATES = {"sensitivity": "sensitivity", "precision": "precision", "dice": "Dice of counts"}


def by_region(pooled: pd.DataFrame) -> str:
    """Return the table by region, with the paper's sensitivity and precision."""
    rows = pooled[pooled["scans"] == "all"]
    paper = [PAPER.get(region) for region in rows["region"]]
    beside = ["-" if p is None else f"{p[0]:.3f}, {p[1]:.3f}" for p in paper]
    return markdown(rows, {"region": "region"} | COUNTS | RATES, {"paper, people: sensitivity, precision": beside})


def breakdowns(full: pd.DataFrame) -> list[str]:
    """Return the tables of all regions by voxel size, size class and kind of scan."""
    everything = {"region": "all", "scans": "all", "spacing": "all", "size": "counted"}
    rate = {"false_per_scan": "false a scan"}

    def rows(**where: str) -> pd.DataFrame:
        found = full
        for column, value in (everything | where).items():
            if value != "any":
                found = found[found[column] == value]
        return found

    spacing = rows(spacing="any")
    spacing = spacing[spacing["spacing"] != "all"]
    return [
        markdown(spacing, {"spacing": "voxel of the detection grid, mm", "n_scans": "scans"} | COUNTS | RATES | rate),
        markdown(rows(size="any"), {"size": "lesions"} | COUNTS | {"sensitivity": "sensitivity"}),
        markdown(rows(scans="any"), {"scans": "scans", "n_scans": "n"} | COUNTS | RATES | rate),
    ]


def rules(scores: dict[str, pd.DataFrame]) -> str:
    """Return one row for each variant of the post-processing."""
    rows = []
    for name, title in VARIANTS.items():
        table = scores[name]
        table = table[(table["region"] == "all") & (table["spacing"] == "all") & (table["size"] == "counted")]
        free = table[table["scans"] == "lesion_free"]
        rows.append(
            table[table["scans"] == "all"].assign(variant=title, free=cells(free, {"false_per_scan": "f"})["f"].item())
        )
    columns = {"variant": "post-processing"} | COUNTS | RATES
    return markdown(pd.concat(rows), columns, {"false a lesion-free scan": [row["free"].item() for row in rows]})


def ablation(work: Path) -> str:
    """Return the table of the training's parts."""
    files = sorted((work / "ablation").glob("*/test.json"))
    if not files:
        return "What stage 1 and rotations are worth was not measured.\n"
    table = pd.DataFrame([json.loads(path.read_text(encoding="utf-8")) for path in files])
    steps, n = int(table["steps"].iloc[0]), int(table["repetition"].nunique())
    measures = {
        "accuracy": "accuracy",
        "sensitivity": "sensitivity",
        "specificity": "specificity",
        "auc": "area under ROC",
    }
    lines = [
        f"Training at a reduced scale: {steps} mini-batches of stage 2, {n} repetitions (mean, range), patches of the"
        " test anatomies, mimics among them.\n",
        "| training | " + " | ".join(measures.values()) + " |",
        "|---" * (len(measures) + 1) + "|",
    ]
    for variant, rows in table.groupby("variant", sort=False):
        values = [f"{rows[m].mean():.3f} ({rows[m].min():.3f}-{rows[m].max():.3f})" for m in measures]
        lines.append(f"| {variant} | " + " | ".join(values) + " |")
    return "\n".join(lines) + "\n"


def patches(work: Path) -> str:
    """Return what ``mbseg evaluate patches`` wrote."""
    path = work / "evaluation" / "patches.md"
    return path.read_text(encoding="utf-8") if path.is_file() else "Not measured.\n"


if __name__ == "__main__":
    main()
