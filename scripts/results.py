"""Write docs/results.md from measurements: ``mbseg evaluate`` on trees of several worlds, ``mbseg plant``, patches.

    python scripts/results.py WORK [--out docs/results.md]

WORK is the folder of ``scripts/make_weights.py`` after its step ``test``. Of other worlds it holds
``worlds/NAME/{truth,result,before}``, derivative trees (``before``: of the weights before these; may be missing), and
``worlds/NAME/about.md``, a sentence. No figure on that page is typed in: what is missing in WORK is left out of the
page with a line that says so.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import pandas as pd
from missing_contrasts import CHANNELS, MADE_WITH
from recipe.figures import FALSE_LESIONS, LENIENT
from recipe.network import patch_file
from recipe.plans import SCALES, plans

from mbseg_bids.detection.candidates.classifier import MODEL_FILE
from mbseg_bids.evaluation.tables import cells

HEAD = """# Results

Written by `scripts/results.py`. **Every figure but the paper's is from simulated scans, or from microbleeds planted in
real ones. Neither is comparable with clinical data**: the paper's figures are from people, read by an expert. What can
be said without labelled scans of people is how far the figures hold in worlds that nothing here was made for. So the
worst world comes first.

Intervals (95 %): bootstrap over scans; Wilson or Poisson where that has no width. True microbleeds below 2 mm
equal-sphere diameter count neither way.

## By world, the worst first
"""

OWN = "own simulator"
ABOUT_OWN = """\
scans of the simulator that made the training data, in its narrow breadth, of label maps 12, 13 and 14, which no
training, no fit and no choice has seen; {n_test} with microbleeds and {n_free} without, voxels of {voxels} mm on the
detection grid, on the true brain mask and regions. The whole breadth, whose scans are harder than any scanner's,
stands in the [model card](model_card.md)
"""

PAPER = {
    "cortical_gm": (0.891, 0.201, 0.28),
    "deep_gm": (1.0, 1.0, 1.0),
    "cerebral_wm": (0.911, 0.443, 0.58),
}
"""Sensitivity, precision, Dice of counts in Dadar et al. 2022 (abstract; the last is for all white matter)."""

VARIANTS = {
    "everything": "everything",
    "lenient": f"everything, with `--lesion-threshold {LENIENT}`",
    "curves": "candidate classifier without its networks",
    "no_criteria": "without the reader's criteria",
    "criteria": "without the candidate classifier",
    "paper": "without both (the paper's post-processing)",
    "network": "without the ratio rule too",
}

FROM_REAL_SCANS = {
    "planted": "Microbleeds planted in real scans",
    "real": "Real scans without known microbleeds",
    "prevalence": "False findings a scan, by threshold",
}
"""Sections made by other programs, each a file NAME.md in WORK with what is said before its table."""


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "results.md")
    args = parser.parse_args()
    scores = {name: evaluate(args.work, name) for name in VARIANTS}
    full = scores["everything"]
    pooled = full[(full["size"] == "counted") & (full["spacing"] == "all")]
    kinds = pooled[pooled["region"] == "all"].set_index("scans")["n_scans"]
    voxels = " and ".join(sorted(set(full["spacing"]) - {"all"}))
    own = ABOUT_OWN.format(n_test=kinds["with_lesions"], n_free=kinds["lesion_free"], voxels=voxels)
    parts = [HEAD, worlds(args.work, own)]
    parts += ["## Own simulator, by region, beside the paper\n", by_region(pooled)]
    parts += ["## Own simulator, by voxel size, size of lesion and kind of scan\n", *breakdowns(full)]
    parts += ["## Own simulator, the false ones\n", false_ones(args.work)]
    parts += ["## Own simulator, what the parts are worth\n", rules(scores)]
    parts += ["## Missing contrasts\n", missing(args.work)]
    parts += ["## Single patches\n", patch_rows(patches(args.work))]
    parts += ["## Calibration of the candidate classifier\n", calibration(args.work)]
    for name, title in FROM_REAL_SCANS.items():
        path = args.work / f"{name}.md"
        parts += [f"## {title}\n", path.read_text(encoding="utf-8") if path.is_file() else "Not measured.\n"]
    parts.append("What single parts of the training are worth: [ablation.md](ablation.md).\n")
    args.out.write_text("\n".join(parts), encoding="utf-8")


def worlds(work: Path, own: str) -> str:
    """Return the table of worlds, that of the weights before, and what the worlds are."""
    about = {OWN: own} | {folder.name: (folder / "about.md").read_text("utf-8") for folder in world_folders(work)}
    after = {OWN: (work / "trees" / "truth", work / "trees" / "everything")}
    before = {OWN: (work / "trees" / "truth", work / "trees" / "before")}
    for folder in world_folders(work):
        after[folder.name] = (folder / "truth", folder / "result")
        before[folder.name] = (folder / "truth", folder / "before")
    parts = [world_table(work, "after", after)]
    before = {name: trees for name, trees in before.items() if trees[1].is_dir()}
    if before:
        parts += ["The same scans with the weights before these (`mbseg-simulated-2`):\n"]
        parts.append(world_table(work, "before", before))
    parts += [f"- **{name}**: {' '.join(text.split())}." for name, text in about.items()]
    return "\n".join(parts) + "\n"


def world_folders(work: Path) -> list[Path]:
    """Return the folders of the other worlds."""
    return sorted(path.parent for path in (work / "worlds").glob("*/about.md"))


def world_table(work: Path, name: str, trees: dict[str, tuple[Path, Path]]) -> str:
    """Run ``mbseg evaluate worlds``; return its table."""
    out = work / "evaluation" / f"worlds_{name}"
    named = [f"{world}={truth},{result}" for world, (truth, result) in trees.items()]
    mbseg("evaluate", "worlds", *named, "--match", "overlap", "--out", out, "--markdown", out / "worlds.md")
    return (out / "worlds.md").read_text(encoding="utf-8")


def evaluate(work: Path, name: str) -> pd.DataFrame:
    """Run ``mbseg evaluate`` on a tree; return its pooled scores."""
    out = work / "evaluation" / name
    mbseg("evaluate", "trees", work / "trees" / "truth", work / "trees" / name, "--match", "overlap", "--out", out)
    return table(out / "scores.tsv")


def mbseg(*arguments: object) -> None:
    """Run the workbench."""
    code = "import sys; from mbseg_bids.cli.workbench import main; sys.exit(main())"
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def table(path: Path) -> pd.DataFrame:
    """Read a table of this package."""
    return pd.read_csv(path, sep="\t", keep_default_na=False, na_values=["n/a"])


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


def false_ones(work: Path) -> str:
    """Return what was found on the test scans and is no microbleed, with what it is."""
    rows = table(work / FALSE_LESIONS)
    if rows.empty:
        return "None.\n"
    rows["mimic"] = rows["mimic"].replace("", "none: noise, tissue or artefact")
    columns = {"scan": "scan", "region": "region", "volume_mm3": "mm3", "lesion_probability": "probability"}
    columns |= {"certainty": "called", "mimic": "lies on the simulated"}
    return "Where it is calcification, T2\\* without phase cannot tell the two apart.\n\n" + markdown(rows, columns)


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


def missing(work: Path) -> str:
    """Return one row for each set of contrasts, from the trees of ``scripts/missing_contrasts.py``."""
    names = [name for name in CHANNELS if (work / "missing" / name).is_dir()]
    if not names:
        return "Not measured.\n"
    rows, free = [], []
    for name in names:
        out, trees = work / "evaluation" / f"missing_{name}", work / "missing"
        mbseg("evaluate", "trees", trees / "truth", trees / name, "--match", "overlap", "--out", out)
        scores = table(out / "scores.tsv")
        pooled = scores[(scores["spacing"] == "all") & (scores["size"] == "counted") & (scores["region"] == "all")]
        free.append(cells(pooled[pooled["scans"] == "lesion_free"], {"false_per_scan": "f"})["f"].item())
        contrasts = name.replace("_", ", ").replace("T2starw", "T2*")
        rows.append(pooled[pooled["scans"] == "all"].assign(contrasts=contrasts))
    intro = (
        "`python scripts/missing_contrasts.py WORK`: those of the test scans that have slices of 3 and 4 mm, the"
        " network asked anew without the contrast. Brain, tissue and regions are the true ones: what a missing T1w"
        " costs the anatomy steps is not in these figures.\n\n"
    )
    made_with = work / "missing" / MADE_WITH
    if not made_with.is_file() or made_with.read_bytes() != MODEL_FILE.read_bytes():
        intro += "**Measured with an earlier candidate classifier, and not repeated with the shipped one.**\n\n"
    columns = {"contrasts": "contrasts", "n_scans": "scans"} | COUNTS | RATES
    return intro + markdown(pd.concat(rows), columns, {"false a lesion-free scan": free})


def patches(work: Path) -> pd.DataFrame:
    """Run ``mbseg evaluate patches`` on the patches of the test anatomies; return its table."""
    out = work / "evaluation" / "patches"
    names = [plan.name for plan in plans(SCALES["cpu"], "test")]
    files = [path for name in names if (path := patch_file(work, name, "microbleed")).is_file()]
    if not (out / "patches.tsv").is_file() and files:
        mbseg("evaluate", "patches", *files, "--out", out)
    return table(out / "patches.tsv") if (out / "patches.tsv").is_file() else pd.DataFrame()


def patch_rows(rows: pd.DataFrame) -> str:
    """Return the scores of single patches."""
    if rows.empty:
        return "Not measured.\n"
    shown = rows.assign(n=[f"{n:,.0f}" for n in rows["n_patches"]])
    intro = (
        "Shipped network, upright patches of the test anatomies. Not the paper's mixture of any voxels of the brain:"
        " most negatives here are dark voxels, vessels and other mimics, and what lies beside a microbleed.\n\n"
    )
    return intro + markdown(shown, {"measure": "measure", "patches": "patches", "n": "n", "value": "value"})


def calibration(work: Path) -> str:
    """Run ``mbseg evaluate calibration`` on the test scans; return its figures."""
    out = work / "evaluation" / "calibration"
    mbseg("evaluate", "calibration", work / "trees" / "truth", work / "trees" / "everything", "--out", out)
    bins = table(out / "calibration_bins.tsv")
    return (
        "Half of these scans hold about ten times as many microbleeds as a cohort, for which the probability is made:"
        " it is to be expected that more candidates are microbleeds than it says.\n\n"
        + markdown(bins, {name: name.replace("_", " ") for name in bins})
    )


if __name__ == "__main__":
    main()
