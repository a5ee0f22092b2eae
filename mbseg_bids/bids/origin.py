"""How outputs name an input file, and how far up its sidecars count: within a BIDS dataset, and outside any.

Everywhere, ``bids_dir`` is the root of the input dataset; None: plain files, which lie anywhere.
"""

from pathlib import Path

RAW = "raw"
"""Name of the input dataset in BIDS URIs, resolved by ``DatasetLinks``."""


def input_name(path: Path, bids_dir: Path | None) -> str:
    """Return the name of an input file for people: its path within the dataset; of a plain file its name alone."""
    return path.name if bids_dir is None else path.relative_to(bids_dir).as_posix()


def bids_uri(path: Path, bids_dir: Path | None) -> str:
    """Return the BIDS URI of a file of the input dataset; of a plain file, which no URI can tell, its name."""
    return path.name if bids_dir is None else f"bids:{RAW}:{input_name(path, bids_dir)}"


def sidecar_root(path: Path, bids_dir: Path | None) -> Path:
    """Return the topmost folder whose sidecars count for an image: the dataset's; of a plain file, its own."""
    return path.parent if bids_dir is None else bids_dir
