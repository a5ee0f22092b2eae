"""Sessions of an output folder of mbseg-bids, as scans without labels."""

from pathlib import Path

from mbseg_bids.learning.examples.derivatives import ScanFiles


def scans(output_dir: Path) -> list[ScanFiles]:
    """Return every session of an output folder, as a scan without labels."""
    found = []
    for t2star in sorted(output_dir.glob("sub-*/**/*_space-T2starw_desc-preproc_T2starw.nii.gz")):
        stem = t2star.name.removesuffix("_space-T2starw_desc-preproc_T2starw.nii.gz")
        entities = dict(part.split("-", 1) for part in stem.split("_") if "-" in part)

        def beside(ending: str, folder: Path = t2star.parent, stem: str = stem) -> Path | None:
            path = folder / f"{stem}_space-T2starw_{ending}.nii.gz"
            return path if path.is_file() else None

        found.append(
            ScanFiles(
                entities["sub"],
                entities.get("ses", ""),
                t2star,
                beside("desc-brain_mask"),
                beside("seg-regions_dseg"),
                beside("desc-preproc_T2w"),
                beside("desc-preproc_T1w"),
                None,
            )
        )
    return found
