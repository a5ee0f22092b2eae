"""What became of the candidates in real scans without known microbleeds, one row a session.

    python scripts/real_scans.py OUTPUT_DIR --markdown WORK/real.md

OUTPUT_DIR is of ``mbseg-bids`` on such scans.
"""

import argparse
from pathlib import Path

import pandas as pd

from mbseg_bids.data.columns import describe_columns

CANDIDATES = "_space-T2starw_seg-CMBcandidates_dseg.tsv"


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output_dir", type=Path)
    parser.add_argument("--markdown", type=Path, required=True)
    args = parser.parse_args()
    rows = [session(path) for path in sorted(args.output_dir.glob(f"sub-*/**/*{CANDIDATES}"))]
    reasons = [r for r in describe_columns("candidates")["reason"]["Levels"] if any(row.get(r) for row in rows)]
    heads = ["session", "candidates", "reported", *reasons, "highest probability of a rejected one"]
    lines = ["| " + " | ".join(head.replace("_", " ") for head in heads) + " |", "|---" * len(heads) + "|"]
    lines += ["| " + " | ".join(str(row.get(head, 0)) for head in heads) + " |" for row in rows]
    args.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


def session(path: Path) -> dict[str, object]:
    """Return the row of a session: candidates, reported, rejected by each reason."""
    table = pd.read_csv(path, sep="\t", keep_default_na=False, na_values=["n/a"])
    rejected = table[table["status"] == "rejected"]
    highest = rejected["lesion_probability"].max()
    return {
        "session": path.name.removesuffix(CANDIDATES),
        "candidates": len(table),
        "reported": len(table) - len(rejected),
        **rejected["reason"].value_counts().to_dict(),
        "highest probability of a rejected one": "n/a" if pd.isna(highest) else f"{highest:.2f}",
    }


if __name__ == "__main__":
    main()
