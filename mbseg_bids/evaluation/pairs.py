"""Pairs of lesion segmentations in two derivative trees: found, checked, read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pandas as pd
from nibabel.affines import voxel_sizes
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import SpatialImage

from mbseg_bids.detection.geometry.components import find_components
from mbseg_bids.detection.geometry.location import locate
from mbseg_bids.errors import MissingImageError, NothingSelectedError, UnreadableDataError
from mbseg_bids.imaging.labels import REGIONS
from mbseg_bids.imaging.volume import Volume

SEGMENTATION = "space-T2starw_seg-CMB_dseg.nii.gz"
"""One integer for each lesion, on the native T2* grid."""
MASK = "space-T2starw_label-CMB_mask.nii.gz"
"""0/1, taken where there is no segmentation: its 26-connected components are the lesions."""
REGION_MAP = "space-T2starw_seg-regions_dseg.nii.gz"
CANDIDATES = "space-T2starw_seg-CMBcandidates_dseg.nii.gz"
CANDIDATE_TABLE = "space-T2starw_seg-CMBcandidates_dseg.tsv"
NO_SESSION = "n/a"
_READ_ERRORS = (OSError, EOFError, ValueError, ImageFileError)


@dataclass(frozen=True)
class ScanPair:
    """Two segmentations of one scan. ``participant`` and ``session`` have their prefix (session ``n/a``: none)."""

    participant: str
    session: str
    truth: Path
    result: Path

    @property
    def name(self) -> str:
        """Participant and session as a person reads them."""
        return self.participant if self.session == NO_SESSION else f"{self.participant} {self.session}"


@dataclass(frozen=True, eq=False)
class Lesions:
    """Lesions of one segmentation: label map on the native T2* grid, and the region of each label."""

    labels: Volume
    regions: dict[int, str]


def pair_trees(truth_tree: Path, result_tree: Path) -> tuple[list[ScanPair], list[tuple[str, str]]]:
    """Pair the segmentations of two trees by participant and session, and check every header.

    Returns
    -------
    The pairs by name, and (participant, session) of what the first tree has and the second has not.

    Raises
    ------
    NothingSelectedError
        If a tree has no segmentation, or the two share no scan.
    UnreadableDataError
        If a header cannot be read, a scan has two segmentations, or two of a pair are on different grids.
    """
    truth, results = find_segmentations(truth_tree), find_segmentations(result_tree)
    for found, tree in ((truth, truth_tree), (results, result_tree)):
        if not found:
            raise NothingSelectedError(
                f"no sub-*_{SEGMENTATION} (nor {MASK}) in {tree}", "give two derivative trees, the truth first"
            )
    pairs = [ScanPair(*key, truth[key], results[key]) for key in sorted(truth.keys() & results.keys())]
    if not pairs:
        raise NothingSelectedError(
            f"{truth_tree} and {result_tree} share no scan: {_some(truth)} there, {_some(results)} here",
            "check participant and session labels",
        )
    for pair in pairs:
        check_grids(pair.truth, pair.result)
    return pairs, sorted(truth.keys() - results.keys())


def find_segmentations(tree: Path) -> dict[tuple[str, str], Path]:
    """Return the lesion segmentations on the native T2* grid by (participant, session), with ``sub-`` and ``ses-``."""
    found = _by_scan(tree, SEGMENTATION)
    return _by_scan(tree, MASK) | found


def sibling(segmentation: Path, ending: str) -> Path:
    """Return the path of another file of the scan that a segmentation (or mask) is of."""
    for known in (SEGMENTATION, MASK):
        if segmentation.name.endswith(known):
            return segmentation.with_name(segmentation.name.removesuffix(known) + ending)
    raise ValueError(f"{segmentation.name} is no lesion segmentation")


def required_siblings(pair: ScanPair, endings: Sequence[str]) -> list[Path]:
    """Return other files of the scan that the result must have; images among them lie on the grid of the truth.

    Raises
    ------
    MissingImageError
        If one is missing.
    UnreadableDataError
        If an image cannot be read or lies on another grid.
    """
    paths = [sibling(pair.result, ending) for ending in endings]
    if missing := [path for path in paths if not path.exists()]:
        raise MissingImageError(f"no {missing[0]}", "give the output folder of mbseg-bids as the result")
    check_grids(pair.truth, *(path for path in paths if path.suffix != ".tsv"))
    return paths


def check_grids(*paths: Path) -> None:
    """Compare the headers of images with that of the first: shape, and affine to 0.001 mm."""
    first, *others = [_header(path) for path in paths]
    for (shape, affine), path in zip(others, paths[1:], strict=True):
        if shape != first[0] or not np.allclose(affine, first[1], atol=1e-3):
            raise UnreadableDataError(
                f"{paths[0]} and {path} are on different grids: {_grid(*first)} and {_grid(shape, affine)}",
                "compare on the native T2* grid",
            )


def read_pair(pair: ScanPair) -> tuple[Lesions, Lesions]:
    """Read both segmentations of a scan.

    Regions are those of the table beside an image; where that is missing or has none, those of the region map of the
    same tree, else of the other tree.
    """
    maps = [sibling(path, REGION_MAP) for path in (pair.truth, pair.result)]
    return read_lesions(pair.truth, maps), read_lesions(pair.result, maps[::-1])


def crop_to_lesions(*segmentations: Lesions) -> list[Lesions]:
    """Cut label maps of one grid to the smallest box that holds every lesion of all of them (one voxel if none)."""
    anywhere = np.any([s.labels.data > 0 for s in segmentations], axis=0)
    window = []
    for axis in range(3):
        occupied = np.flatnonzero(anywhere.any(axis=tuple(other for other in range(3) if other != axis)))
        window.append(slice(occupied[0], occupied[-1] + 1) if len(occupied) else slice(0, 1))
    cropped = []
    for s in segmentations:
        affine = s.labels.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ [part.start for part in window]
        cropped.append(Lesions(Volume(s.labels.data[tuple(window)], affine), s.regions))
    return cropped


def read_lesions(path: Path, region_maps: Iterable[Path] = ()) -> Lesions:
    """Read one segmentation; ``region_maps`` are looked at in turn where no table gives the regions."""
    labels = read_labels(path)
    if path.name.endswith(MASK):
        labels = labels.with_data(find_components(labels.data > 0, labels.affine))
    table = path.with_name(path.name.removesuffix(".nii.gz") + ".tsv")
    if table.exists():
        regions = _regions_of_table(table)
        if regions is not None:
            return Lesions(labels, regions)
    elif len(present := np.unique(labels.data[labels.data > 0])) == 1:
        n_pieces = find_components(labels.data > 0).max()
        if n_pieces > 1:
            raise UnreadableDataError(
                f"{path} has {n_pieces} separate pieces and only the label {present[0]}",
                f"give every lesion its own integer, or name the file ..._{MASK}",
            )
    for candidate in region_maps:
        if candidate.exists():
            check_grids(path, candidate)
            numbers = read_labels(candidate).data
            if numbers.max(initial=0) > max(REGIONS):
                raise UnreadableDataError(f"{candidate} has label {numbers.max()}", f"labels 1 to {max(REGIONS)}")
            return Lesions(labels, {k: v.region for k, v in locate(labels.data, numbers, labels.spacing).items()})
    return Lesions(labels, {})


def read_labels(path: Path) -> Volume:
    """Read a label map as int32.

    Raises
    ------
    UnreadableDataError
        If it cannot be read, has not three axes, or holds anything but whole numbers from 0 up.
    """
    image, values = read_image(path)
    if not np.issubdtype(values.dtype, np.integer):
        whole = np.rint(values)
        if not np.array_equal(whole, values):
            example = values[whole != values].ravel()[0]
            raise UnreadableDataError(f"{path} is no label map: it holds {example:g}", "give integer labels")
        values = whole
    if values.size and values.min() < 0:
        raise UnreadableDataError(f"{path} is no label map: it holds {values.min():g}", "give labels from 0 up")
    return Volume(np.ascontiguousarray(values, dtype=np.int32), np.asarray(image.affine, np.float64))


def read_image(path: Path) -> tuple[SpatialImage, npt.NDArray]:
    """Read an image of three axes; trailing axes of length one are dropped."""
    try:
        image = nib.load(path)
        values = np.asanyarray(image.dataobj)
    except _READ_ERRORS as error:
        raise UnreadableDataError(f"cannot read {path}: {error}", "write it again") from error
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise UnreadableDataError(f"{path} has {values.ndim} axes", "give a three-dimensional image")
    return image, values


def read_table(path: Path, columns: Iterable[str] = ()) -> pd.DataFrame:
    """Read a BIDS table as text; ``columns`` must be there."""
    try:
        table = pd.read_csv(path, sep="\t", keep_default_na=False, dtype=str)
    except (OSError, ValueError) as error:
        raise UnreadableDataError(f"cannot read the table {path}: {error}", "write it again") from error
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise UnreadableDataError(f"the table {path} has no column {', '.join(missing)}", "make it with this version")
    return table


def _by_scan(tree: Path, ending: str) -> dict[tuple[str, str], Path]:
    found: dict[tuple[str, str], Path] = {}
    for path in sorted(Path(tree).glob(f"sub-*/**/*_{ending}")):
        entities = dict(part.split("-", 1) for part in path.name.split("_") if "-" in part)
        key = (f"sub-{entities.get('sub', '')}", f"ses-{entities['ses']}" if "ses" in entities else NO_SESSION)
        if key in found:
            raise UnreadableDataError(
                f"two segmentations of one scan: {found[key]} and {path}", "leave one in the tree"
            )
        found[key] = path
    return found


def _regions_of_table(path: Path) -> dict[int, str] | None:
    """Return region by label; None if the table does not say."""
    table = read_table(path, ["index"])
    if "region" not in table.columns:
        return None
    try:
        return dict(zip(table["index"].astype(int).tolist(), table["region"].tolist(), strict=True))
    except ValueError as error:
        raise UnreadableDataError(f"cannot read the lesion table {path}: {error}", "write it again") from error


def _header(path: Path) -> tuple[tuple[int, ...], npt.NDArray[np.float64]]:
    try:
        image = nib.load(path)
    except _READ_ERRORS as error:
        raise UnreadableDataError(f"cannot read {path}: {error}", "write it again") from error
    return image.shape[:3], image.affine


def _grid(shape: tuple[int, ...], affine: npt.NDArray) -> str:
    spacing = " x ".join(f"{s:.3g}" for s in voxel_sizes(affine))
    return f"{' x '.join(map(str, shape))} voxels of {spacing} mm at {np.round(affine[:3, 3], 1).tolist()}"


def _some(found: dict[tuple[str, str], Path]) -> str:
    names = [" ".join(part for part in key if part != NO_SESSION) for key in sorted(found)]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
