"""Scans that people have labelled, brought to the detection grid from the BIDS App's own output."""

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.filebasedimages import ImageFileError

from mbseg_bids.detection.geometry.components import find_components
from mbseg_bids.errors import UnreadableDataError
from mbseg_bids.imaging.grids import Grid, detection_grid, restore_labels, to_detection_grid
from mbseg_bids.imaging.intensity import standardise
from mbseg_bids.imaging.labels import CSF
from mbseg_bids.imaging.regions import tissue_of_regions
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.learning.examples.derivatives import ScanFiles

SAME_AFFINE = 1e-3
"""Largest difference of two affines that are meant to be the same, mm."""


@dataclass(frozen=True, eq=False)
class LabelledCase:
    """A labelled scan on its detection grid.

    Attributes
    ----------
    stack
        Shape (3, I, J, K): T2*, T2w, T1w, 0-100; a contrast that is missing is zero.
    lesions
        Shape (I, J, K) int32: 0, or the number of the lesion.
    volumes
        mm3 of each lesion by number, on the native grid on which it was outlined.
    brain, tissue
        Shape (I, J, K): mask; 1 CSF, 2 GM, 3 WM inside the brain.
    spacing
        mm.
    warnings
        What a person should look at.
    """

    stack: npt.NDArray[np.float32]
    lesions: npt.NDArray[np.int32]
    volumes: dict[int, float]
    brain: npt.NDArray[np.bool_]
    tissue: npt.NDArray[np.uint8]
    spacing: tuple[float, float, float]
    warnings: tuple[str, ...] = ()


def read_case(scan: ScanFiles) -> LabelledCase:
    """Bring a labelled scan to its detection grid, as the BIDS App does.

    Raises
    ------
    UnreadableDataError
        If an image cannot be read, the label is on another grid than the T2*-weighted image, or is no mask.
    """
    t2star = _read(scan.t2star)
    grid = detection_grid(t2star.shape, t2star.affine)
    brain_native = _read(scan.brain)
    _check_grid(scan.brain, brain_native, scan.t2star, t2star)
    regions_native = _read(scan.regions)
    _check_grid(scan.regions, regions_native, scan.t2star, t2star)
    brain = to_detection_grid(brain_native, grid, order=0).data > 0
    regions = to_detection_grid(regions_native, grid, order=0).data
    contrasts = [standardise(to_detection_grid(t2star, grid).data, brain)]
    contrasts += [_on_grid(path, grid, t2star) for path in (scan.t2w, scan.t1w)]
    lesions, volumes = _lesions(scan, t2star, grid)
    warnings = [f"no {name}" for name, path in (("T2w", scan.t2w), ("T1w", scan.t1w)) if path is None]
    outside = sorted(set(np.unique(lesions).tolist()) - {0} - set(np.unique(lesions[brain]).tolist()))
    if outside:
        warnings.append(f"{len(outside)} of {len(volumes)} labelled lesions lie outside the brain mask")
    return LabelledCase(
        np.stack(contrasts), lesions, volumes, brain, tissue_of(regions, brain), grid.spacing, tuple(warnings)
    )


def tissue_of(regions: npt.NDArray[np.integer], brain: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Return the tissue that the regions imply: the BIDS App gives every voxel of GM or WM a region, and CSF none.

    Deep GM counts as GM, the brainstem as WM; neither matters where CSF is told from tissue.
    """
    tissue = tissue_of_regions(regions)
    tissue[tissue == 0] = CSF
    return tissue * brain


def check_label(scan: ScanFiles) -> int:
    """Return the number of lesions of a scan's label, read and checked but not resampled."""
    if scan.label is None:
        return 0
    numbered = _numbered(scan, scan.label, _read(scan.t2star))
    return len(np.unique(numbered[numbered > 0]))


def _lesions(scan: ScanFiles, t2star: Volume, grid: Grid) -> tuple[npt.NDArray[np.int32], dict[int, float]]:
    """Return the lesions on the detection grid, none lost, and their volumes on the native one."""
    if scan.label is None:
        return np.zeros(grid.shape, np.int32), {}
    numbered = _numbered(scan, scan.label, t2star)
    native = Volume(numbered, t2star.affine)
    moved = to_detection_grid(native, grid, order=0).data.astype(np.int32)
    lesions = restore_labels(moved, grid.affine, native)
    sizes = np.bincount(numbered.ravel())
    return lesions, {n: float(sizes[n] * t2star.voxel_volume) for n in np.flatnonzero(sizes).tolist() if n > 0}


def _numbered(scan: ScanFiles, path: Path, t2star: Volume) -> npt.NDArray[np.int32]:
    """Return the lesions of the label, numbered from 1, on the native grid."""
    label = _read(path)
    _check_grid(path, label, scan.t2star, t2star)
    values = label.data
    if not np.isfinite(values).all() or np.abs(values - np.rint(values)).max(initial=0) > 1e-3 or values.min() < 0:
        raise UnreadableDataError(f"{path} is no mask: its values are not whole numbers", "give a mask or labels")
    whole = np.rint(values).astype(np.int32)
    if path.name.split(".")[0].endswith("_dseg"):  # one number for each lesion
        return np.unique(whole, return_inverse=True)[1].reshape(whole.shape).astype(np.int32) if whole.any() else whole
    return find_components(whole > 0, t2star.affine)


def _on_grid(path: Path | None, grid: Grid, t2star: Volume) -> npt.NDArray[np.float32]:
    if path is None:
        return np.zeros(grid.shape, np.float32)
    volume = _read(path)
    if volume.shape != tuple(grid.shape) or not np.allclose(volume.affine, grid.affine, atol=SAME_AFFINE):
        # Earlier versions wrote these contrasts on the detection grid.
        _check_grid(path, volume, path.with_name("its T2*-weighted image"), t2star)
        volume = to_detection_grid(volume, grid)
    return np.clip(np.nan_to_num(volume.data), 0, 100).astype(np.float32)


def _check_grid(path: Path, volume: Volume, reference_path: Path, reference: Volume) -> None:
    if volume.shape == reference.shape and np.allclose(volume.affine, reference.affine, atol=SAME_AFFINE):
        return
    raise UnreadableDataError(
        f"{path} is on another grid than {reference_path.name}: shape {volume.shape} and affine "
        f"{_plain(volume.affine)}, but {reference.shape} and {_plain(reference.affine)}",
        "bring the labels to the grid of the T2*-weighted image, with nearest-neighbour interpolation",
    )


def _plain(affine: npt.NDArray) -> str:
    return str(np.round(affine[:3], 3).tolist())


def _read(path: Path) -> Volume:
    try:
        image = nib.load(path)
        data = np.asanyarray(image.dataobj)
        volume = Volume(data[..., 0] if data.ndim == 4 and data.shape[3] == 1 else data, image.affine)
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise UnreadableDataError(f"cannot read {path}: {error}", "write it again") from error
    return volume
