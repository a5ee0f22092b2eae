"""Every candidate in real scans without known microbleeds, as a table: what the classifier made of it, and why.

    python scripts/real_scans.py OUTPUT_DIR --markdown WORK/real.md

OUTPUT_DIR is of ``mbseg-bids`` on such scans.
"""

import argparse
from pathlib import Path

import pandas as pd

CANDIDATES = "_space-T2starw_seg-CMBcandidates_dseg.tsv"
COLUMNS = {
    "name": "candidate",
    "region": "region",
    "volume_mm3": "mm3",
    "probability_max": "largest network probability",
    "contrast_ratio": "contrast ratio",
    "lesion_probability": "probability after the candidate classifier",
    "evidence_against": "evidence against",
}
DIGITS = {"volume_mm3": 0, "probability_max": 2, "contrast_ratio": 2, "lesion_probability": 2}


def main() -> None:
    """Write one table for each session."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("--markdown", type=Path, required=True)
    args = parser.parse_args()
    parts = [session(path) for path in sorted(args.output_dir.glob(f"sub-*/**/*{CANDIDATES}"))]
    args.markdown.write_text("\n".join(parts), encoding="utf-8")


def session(path: Path) -> str:
    """Return what became of the candidates of a session that passed the intensity ratio rule."""
    table = pd.read_csv(path, sep="\t", keep_default_na=False)
    passed = table[table["reason"] != "intensity_ratio"]
    kept = int((passed["status"] == "kept").sum())
    lines = [
        f"{path.name.removesuffix(CANDIDATES)}: lesions reported {kept}; candidates that passed the ratio rule and "
        f"were rejected {len(passed) - kept}.\n",
        "| " + " | ".join(COLUMNS.values()) + " |",
        "|" + "---|" * len(COLUMNS),
    ]
    for row in passed.to_dict("records"):
        cells = [f"{float(row[name]):.{DIGITS[name]}f}" if name in DIGITS else row[name] for name in COLUMNS]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
