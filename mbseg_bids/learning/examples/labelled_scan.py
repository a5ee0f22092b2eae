"""Whole labelled scans on disk, for what learns from images rather than from patches."""

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mbseg_bids.errors import CannotWriteError, UnreadableDataError, UsageError
from mbseg_bids.imaging.labels import CSF
from mbseg_bids.learning.examples.patch_set import write_arrays
from mbseg_bids.simulation.case import Case

_LEVELS = 255
_IMAGES = ("lesions", "mimics", "tissue", "regions", "brain")
_REMEDY = "make scans with mbseg baseline sample"


@dataclass(frozen=True, eq=False)
class LabelledScan:
    """A scan on the detection grid (axes 0 and 1 in plane, 1 mm; axis 2 across slices) with its truth.

    Attributes
    ----------
    name
        Stem of its file.
    levels
        Shape (3, I, J, K), uint8: T2*, T2w, T1w, standardised 0-100 in 255 steps.
    lesions
        Shape (I, J, K): one integer a microbleed.
    mimics
        Shape (I, J, K): kinds of mimic, 0 elsewhere.
    tissue, regions
        Shape (I, J, K): labels of :mod:`mbseg_bids.imaging.labels`.
    brain
        Shape (I, J, K), bool.
    spacing
        mm along the three axes.
    affine
        Voxel indices to scanner RAS+ mm.
    """

    name: str
    levels: npt.NDArray[np.uint8]
    lesions: npt.NDArray[np.integer]
    mimics: npt.NDArray[np.integer]
    tissue: npt.NDArray[np.uint8]
    regions: npt.NDArray[np.uint8]
    brain: npt.NDArray[np.bool_]
    spacing: tuple[float, float, float]
    affine: npt.NDArray[np.float64]

    @property
    def stack(self) -> npt.NDArray[np.float32]:
        """Shape (3, I, J, K), 0-100."""
        return self.levels.astype(np.float32) * np.float32(100 / _LEVELS)

    def target(self, task: str) -> npt.NDArray[np.bool_]:
        """Return the voxels of the brain that are to be found: ``csf`` or ``microbleed``."""
        if task not in ("csf", "microbleed"):
            raise ValueError(f"tasks are csf and microbleed, not {task}")
        return self.brain & ((self.tissue == CSF) if task == "csf" else (self.lesions > 0))

    def slices(self, chosen: slice) -> "LabelledScan":
        """Return some of the slices as a scan of their own."""
        start, stop, step = chosen.indices(self.brain.shape[2])
        if len(range(start, stop, step)) == 0:
            raise UsageError(f"{self.name} has slices 0 to {self.brain.shape[2] - 1}", "give others to --slices")
        affine = self.affine.copy()
        affine[:3, 3] += start * affine[:3, 2]
        affine[:3, 2] *= step
        images = {name: image[:, :, chosen] for name, image in self.truth().items()}
        spacing = (*self.spacing[:2], self.spacing[2] * step)
        return replace(self, levels=self.levels[..., chosen], affine=affine, spacing=spacing, **images)

    def as_case(self) -> Case:
        """Return what the functions for simulated cases take; without lesion table and protocol, which a file lacks."""
        about: dict[str, Any] = {"spacing": self.spacing, "affine": self.affine, "protocol": None}
        return Case(self.stack, lesion_table=pd.DataFrame(), **about, **self.truth())

    def truth(self) -> dict[str, Any]:
        """Return the images of the truth, by name."""
        return {name: getattr(self, name) for name in _IMAGES}


def from_case(case: Case, name: str) -> LabelledScan:
    """Return a simulated case as a scan to store."""
    levels = np.clip(np.rint(case.stack * (_LEVELS / 100)), 0, _LEVELS).astype(np.uint8)
    images = {key: getattr(case, key) for key in _IMAGES}
    return LabelledScan(name, levels, spacing=case.spacing, affine=case.affine, **images)


def save_scan(folder: Path, scan: LabelledScan) -> Path:
    """Write ``<name>.npz``: plain arrays, no pickle."""
    path = Path(folder) / f"{scan.name}.npz"
    arrays = {"stack": scan.levels, "spacing": np.array(scan.spacing), "affine": scan.affine, **scan.truth()}
    try:
        write_arrays(path, arrays, compressed=True)
    except OSError as error:
        raise CannotWriteError(f"cannot write {path}: {error}", "give another folder to --out") from error
    return path


def load_scan(path: Path) -> LabelledScan:
    """Read a file of :func:`save_scan`.

    Raises
    ------
    UnreadableDataError
        If it is missing, truncated, holds something else, or arrays of different grids.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            images = {name: file[name] for name in _IMAGES}
            levels, spacing, affine = file["stack"], file["spacing"], file["affine"]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UnreadableDataError(f"cannot read scan {path}: {error}", _REMEDY) from error
    shapes = {levels.shape[1:], *(image.shape for image in images.values())}
    if len(shapes) != 1 or levels.ndim != 4 or len(levels) != 3 or levels.dtype != np.uint8:
        raise UnreadableDataError(f"the arrays of {path} are of different grids: {sorted(shapes)}", _REMEDY)
    images["brain"] = images["brain"].astype(bool)
    return LabelledScan(Path(path).stem, levels, spacing=tuple(spacing.tolist()), affine=affine, **images)


def scan_files(paths: Iterable[Path]) -> list[Path]:
    """Return the files, and the ``.npz`` files of the folders, in order.

    Raises
    ------
    UsageError
        If there is none.
    """
    paths = list(paths)
    files = [file for path in paths for file in (sorted(path.glob("*.npz")) if path.is_dir() else [path])]
    if not files:
        raise UsageError(f"no .npz scans in {', '.join(map(str, paths)) or 'nothing'}", _REMEDY)
    return files
