"""Commands that open a session at one of its lesions in a viewer; paths are relative to the output folder."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mbseg_bids.reports.session_files import SessionFiles, number


@dataclass(frozen=True)
class Images:
    """Paths within the output folder: T2*, labels over it, and the start of the names of the label files."""

    t2star: str
    labels: str
    stem: str


def images_of(files: SessionFiles, seg: str) -> Images | None:
    """Return what a viewer is given, with the labels of ``CMB`` or ``CMBcandidates``; None where something is missing.

    Label files are those beside the table: a run of an earlier version has none.
    """
    t2star = files.find("space-T2starw_desc-preproc_T2starw.nii.gz")
    labels, colours = (files.find(f"space-T2starw_seg-{seg}_dseg.{ending}") for ending in ("nii.gz", "lut"))
    if t2star is None or labels is None or colours is None:
        return None
    root = files.output_dir
    return Images(*(_within(path, root) for path in (t2star, labels, colours.with_suffix(""))))


def _within(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def viewer_commands(row: Mapping[str, str], images: Images) -> tuple[tuple[str, str], ...]:
    """Return (viewer, command) at the place of a row of the table; nothing where the row gives none.

    ITK-SNAP has no option for the place: its command opens the images only.
    """
    voxel = [number(row.get(axis)) for axis in "ijk"]
    place = [number(row.get(f"{axis}_mm")) for axis in "xyz"]
    if None in voxel or None in place:
        return ()
    t2star, labels = shlex.quote(images.t2star), shlex.quote(images.labels)
    lut, ctbl, label = (shlex.quote(images.stem + ending) for ending in (".lut", ".ctbl", ".label"))
    i, j, k = (f"{value:.0f}" for value in voxel)
    x, y, z = (f"{value:g}" for value in place)
    return (
        ("FSLeyes", f"fsleyes --voxelLoc {i} {j} {k} {t2star} {labels} --overlayType label --lut {lut}"),
        ("freeview", f"freeview -v {t2star} {labels}:colormap=lut:lut={ctbl} -ras {x} {y} {z}"),
        ("ITK-SNAP", f"itksnap -g {t2star} -s {labels} -l {label}"),
        ("3D Slicer", f"Slicer --python-code {shlex.quote(_slicer(images, (x, y, z)))}"),
    )


def _slicer(images: Images, place: tuple[str, str, str]) -> str:
    """Return Python for 3D Slicer that loads the images and goes to a place, RAS+ mm."""
    return (
        f"slicer.util.loadVolume({images.t2star!r}); c = slicer.util.loadColorTable({images.stem + '.ctbl'!r}); "
        f"slicer.util.loadVolume({images.labels!r}, {{'labelmap': True, 'colorNodeID': c.GetID()}}); "
        f"slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, {', '.join(place)}, "
        "slicer.vtkMRMLSliceNode.CenteredJumpSlice)"
    )
