"""Write docs/results.md from measurements: ``mbseg evaluate`` on the trees of finish_weights.py, patches, ablation.

    python scripts/results.py WORK [--out docs/results.md]

No figure on that page is typed in: what is missing in WORK is left out of the page with a line that says so.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import pandas as pd
from ablation import ablation_table
from finish_weights import FALSE_LESIONS, LENIENT
from missing_contrasts import CHANNELS, MADE_WITH
from train_weights import TEST, patch_files

from mbseg_bids.detection.second_look import MODEL_FILE
from mbseg_bids.evaluation.tables import cells

HEAD = """# Results

Written by `scripts/results.py`. **Every figure but the paper's is from simulated scans. Simulated and clinical data
are not comparable**: the paper's figures are from people, read by an expert; these are from a simulator whose truth is
known and whose world is smaller. They show that the code does what it should and what its parts are worth, not how it
will do on your scanner.

Scans: {n_test} with microbleeds and {n_free} without, made from label maps 12, 13 and 14, which no training, no fit and
no choice of a threshold has seen. Each scan has a deformation, contrast, noise, vessels and microbleeds of its own, but
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
    "lenient": f"everything, with `--second-look-threshold {LENIENT}`",
    "curves": "second look without its networks",
    "paper": "without the second look (the paper's method)",
    "network": "without second look and ratio rule",
}


PLANTED = """\
`python scripts/planted.py OUT --repetitions 10 --lesions 20 --markdown WORK/planted.md`: simulated signal loss (25 ms,
3 T) put into the real scan of the next section, T2w missing; counted without a smallest size, and the second look not
told where the pallidum is. Half real: the background is a scanner's, the microbleeds are not.
"""
PLANTED_T2W = """\
The same with `--repetitions 3` in five T2w scans of four people that were given to the App as T2\\* (and as T2w, beside
their T1w): 1 x 1 x 1 mm after a stroke, 0.5-0.6 mm in plane and 3-4 mm slices with multiple sclerosis. No T2\\* looks
like that, with tissue about half as bright beside CSF as in the training scans: it shows how far from those the
networks hold. How T2\\* is brought to one level for the second look was chosen with these scans in view, so they are
not unseen.
"""
REAL = """\
One usable session: a healthy adult, T2\\* (EPI, 2.3 x 2.3 x 2.5 mm) and T1w, no T2w. `mbseg-bids DATASET OUT
participant --registration coarse`, then `python scripts/real_scans.py OUT --markdown WORK/real.md`. Looked at, one by
one, none of the candidates looks like a microbleed: the edge of the brain beside bone (002, 004, 008, 013, 016, 020,
023), sinus, tentorium and falx (001, 005, 006, 007, 010, 014, 015, 021), between the ventricles (017), the wall of a
ventricle (018), cortex of ordinary brightness (003, 009, 022).
"""
FROM_REAL_SCANS = {
    "planted": ("Microbleeds planted in real scans", PLANTED),
    "planted-t2w": ("Microbleeds planted in scans that are no T2\\*", PLANTED_T2W),
    "real": ("Real scans without known microbleeds", REAL),
}
"""Sections made by other scripts, with what is said before them."""


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
    parts += ["## The false ones, one by one\n", false_ones(args.work)]
    parts += ["## What the parts are worth\n", rules(scores), ablation_table(args.work)]
    single = patches(args.work)
    parts += ["## Missing contrasts\n", missing(args.work)]
    parts += ["## Single patches\n", patch_rows(single)]
    parts += ["## Calibration of the second look\n", calibration(args.work)]
    parts += ["## What was aimed at, and what was reached\n", aims(full, single)]
    for name, (title, about) in FROM_REAL_SCANS.items():
        path = args.work / f"{name}.md"
        parts += [f"## {title}\n", about, path.read_text(encoding="utf-8") if path.is_file() else "Not measured.\n"]
    args.out.write_text("\n".join(parts), encoding="utf-8")


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
        intro += "**Measured with an earlier second look, and not repeated with the shipped one.**\n\n"
    columns = {"contrasts": "contrasts", "n_scans": "scans"} | COUNTS | RATES
    return intro + markdown(pd.concat(rows), columns, {"false a lesion-free scan": free})


def patches(work: Path) -> pd.DataFrame:
    """Run ``mbseg evaluate patches`` on the patches of the test anatomies; return its table."""
    out = work / "evaluation" / "patches"
    if not (out / "patches.tsv").is_file():
        mbseg("evaluate", "patches", *patch_files(work, "microbleed", TEST), "--out", out)
    return table(out / "patches.tsv")


def patch_rows(rows: pd.DataFrame) -> str:
    """Return the scores of single patches."""
    shown = rows.assign(n=[f"{n:,.0f}" for n in rows["n_patches"]])
    intro = (
        "Shipped network, upright patches of the test anatomies. Not the paper's mixture of any voxels of the brain:"
        " most negatives here are dark voxels, vessels and other mimics, and what lies beside a microbleed.\n\n"
    )
    return intro + markdown(shown, {"measure": "measure", "patches": "patches", "n": "n", "value": "value"})


def calibration(work: Path) -> str:
    """Run ``mbseg evaluate calibration`` on the test scans; return its figures."""
    out = work / "evaluation" / "calibration"
    mbseg("evaluate", "calibration", work / "trees" / "truth", work / "trees" / "second_look", "--out", out)
    bins = table(out / "calibration_bins.tsv")
    return (
        "Half of these scans hold about ten times as many microbleeds as a cohort, for which the probability is made:"
        " it is to be expected that more candidates are microbleeds than it says.\n\n"
        + markdown(bins, {name: name.replace("_", " ") for name in bins})
    )


def aims(full: pd.DataFrame, single: pd.DataFrame) -> str:
    """Return what was aimed at beside what was reached, both as numbers."""
    counted = full[full["size"] == "counted"]
    regions = counted[(counted["scans"] == "all") & (counted["spacing"] == "all")].set_index("region")
    named = regions.drop(index=["all"])
    spacing = counted[(counted["scans"] == "all") & (counted["region"] == "all") & (counted["spacing"] != "all")]
    free = counted[(counted["scans"] == "lesion_free") & (counted["region"] == "all") & (counted["spacing"] == "all")]
    patch = single[single["patches"] == "all"].set_index("measure")["value"]
    worst = named["sensitivity"].idxmin()
    rows = [
        ("patch accuracy", ">= 0.996", patch["accuracy"], patch["accuracy"] >= 0.996),
        ("patch sensitivity", ">= 0.992", patch["sensitivity"], patch["sensitivity"] >= 0.992),
        ("patch specificity", ">= 0.999", patch["specificity"], patch["specificity"] >= 0.999),
        (
            f"lowest sensitivity of a region ({worst})",
            ">= 0.90",
            named["sensitivity"].min(),
            named["sensitivity"].min() >= 0.9,
        ),
        ("precision, pooled", ">= 0.85", regions.loc["all", "precision"], regions.loc["all", "precision"] >= 0.85),
        ("false a lesion-free scan", "<= 0.3", free["false_per_scan"].item(), free["false_per_scan"].item() <= 0.3),
        (
            "sensitivity, best minus worst voxel size",
            "<= 0.10",
            spacing["sensitivity"].max() - spacing["sensitivity"].min(),
            spacing["sensitivity"].max() - spacing["sensitivity"].min() <= 0.1,
        ),
    ]
    lines = ["| measure | aim | reached | |", "|---|---|---|---|"]
    return (
        "\n".join([*lines, *(f"| {m} | {aim} | {value:.3f} | {'yes' if ok else 'no'} |" for m, aim, value, ok in rows)])
        + "\n"
    )


if __name__ == "__main__":
    main()
