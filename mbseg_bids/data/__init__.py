"""Files shipped with the package: weights, templates, atlas, specifications."""

from pathlib import Path

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
"""Folder of the weights that come with the package."""
WEIGHTS_MANIFEST = WEIGHTS_FOLDER / "manifest.json"
"""Names and hashes of the weights."""
SECOND_LOOK = Path(__file__).parent / "second_look" / "second-look.json"
"""The model of the second look, with the hash of its networks."""
REFERENCES_BIB = Path(__file__).parent / "references.bib"
"""The references of the methods text as BibTeX."""
QUALITY_RANGES = Path(__file__).parent / "quality_ranges.json"
"""What the quality of a scan is compared with, measured on training scans."""
