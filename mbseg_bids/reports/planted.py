"""The way from a participant's report to the page of planted microbleeds (``mbseg plant``), where there is one."""

from pathlib import Path

from mbseg_bids.reports.session_files import read_tsv

FOLDER, PAGE, TABLE = "planted", "planted.html", "planted.tsv"
"""In the output folder; the last two in the first."""


def planted_page(output_dir: Path, participant: str) -> str:
    """Return the address of the page from the report of a participant (label without prefix), empty without one."""
    folder = output_dir / FOLDER
    try:
        rows = read_tsv(folder / TABLE, ("participant_id",))
    except (OSError, ValueError):
        return ""
    known = any(row["participant_id"] == f"sub-{participant}" for row in rows)
    return f"{FOLDER}/{PAGE}" if known and (folder / PAGE).is_file() else ""
