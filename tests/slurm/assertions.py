"""What must hold of the derivatives after the runs of check.sh: ``assertions.py FUNCTION ARGUMENT...``."""

import csv
import hashlib
import sys
from pathlib import Path


def rows(derivatives: Path) -> list[dict[str, str]]:
    """Return the rows of the group table."""
    with (derivatives / "phenotype" / "microbleeds.tsv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def marks(derivatives: Path) -> set[str]:
    """Return the sessions that are marked as done."""
    return {path.name.removesuffix("_done.json") for path in (derivatives / "logs").glob("sub-*_done.json")}


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each image and table of a participant."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def after_cancel(derivatives: Path, cancelled: str) -> None:
    """Check that one participant is missing, and that nobody is silently left out."""
    found = {row["participant_id"]: row["status"] for row in rows(derivatives)}
    print(found)
    assert len(found) == len(rows(derivatives)) == 3
    assert marks(derivatives) == set(found) - {cancelled}
    assert [name for name, status in found.items() if status != "complete"] == [cancelled]


def after_resubmission(derivatives: Path, cancelled: str, before: Path) -> None:
    """Check that all are done, each once, and that those of the first array were not touched."""
    found = [(row["participant_id"], row["status"]) for row in rows(derivatives)]
    print(found)
    assert found == [(f"sub-0{n}", "complete") for n in (1, 2, 3)]
    assert marks(derivatives) == {name for name, _ in found}
    for name in {name for name, _ in found} - {cancelled}:
        assert digests(derivatives / name) == digests(before / name) != {}, name
    tables = [derivatives / name / "anat" / f"{name}_space-T2starw_seg-CMB_dseg.tsv" for name, _ in found]
    lesions = [len(table.read_text(encoding="utf-8").splitlines()) - 1 for table in tables]
    counted = [int(row["n_total"]) for row in rows(derivatives)]
    print("microbleeds", counted)
    assert counted == lesions
    assert sum(counted) > 0


if __name__ == "__main__":
    check, *folders = sys.argv[1:]
    {"after_cancel": after_cancel, "after_resubmission": after_resubmission}[check](
        *(argument if argument.startswith("sub-") else Path(argument) for argument in folders)
    )
