"""Where on the template the microbleeds of a cohort lie: a map of the part of participants, and its picture."""

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from mbseg_bids.bids.files import write_bytes, write_text
from mbseg_bids.imaging.template import TEMPLATES
from mbseg_bids.reports.figures import PLANE_NAMES, Layer, encode_image, picture, plane_marks, to_plane
from mbseg_bids.reports.glass import PLANES, centroids, glass_planes, template_brain
from mbseg_bids.reports.session_files import SessionFiles, SessionKey
from mbseg_bids.wording import counted

REACH_MM = 5.0
"""How near to the line of sight a microbleed must lie to be seen there in the picture; the map itself is by voxel."""


@dataclass
class Prevalence:
    """Masks of a cohort, added up on one template.

    Attributes
    ----------
    template
        BIDS name of the space.
    affine
        Of the grid, or nothing where no session was added.
    voxels
        By participant: flat indices of voxels inside a microbleed in any session.
    n_sessions
        Sessions that went in.
    places
        (participant_id, session_id, lesion) to centroid, RAS+ mm on the template.
    """

    template: str = ""
    affine: npt.NDArray | None = None
    shape: tuple[int, ...] = ()
    voxels: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    n_sessions: int = 0
    places: dict[tuple[str, str | None, int], list[float]] = field(default_factory=dict)

    @property
    def values(self) -> npt.NDArray[np.float32]:
        """Part of the participants with a microbleed at each voxel, 0 to 1."""
        counts = np.zeros(int(np.prod(self.shape)), np.float32)
        for voxels in self.voxels.values():
            counts[voxels] += 1
        return (counts / np.float32(max(1, len(self.voxels)))).reshape(self.shape)


def gather(output_dir: Path, sessions: Iterable[tuple[SessionKey, Mapping]], *, reviewed: bool = False) -> Prevalence:
    """Add up the lesions on the template of sessions, given with the first cells of their rows.

    A session without such an image, or with one on another grid than the first, is passed over.
    """
    found = Prevalence()
    for key, row in sessions:
        files = SessionFiles(output_dir, key, reviewed=reviewed)
        names = (found.template,) if found.template else TEMPLATES
        path, name = next(((p, n) for n in names if (p := files.exact(f"space-{n}_seg-CMB_dseg.nii.gz"))), (None, ""))
        volume = files.read_volume(path, "lesions on the template", labels=True) if path else None
        if volume is None or (found.shape and volume.shape != found.shape):
            continue
        found.template, found.shape, found.affine = name, volume.shape, volume.affine
        inside = np.flatnonzero(volume.data)
        earlier = found.voxels.get(row["participant_id"], np.empty(0, np.int64))
        found.voxels[row["participant_id"]] = np.union1d(earlier, inside)
        found.n_sessions += 1
        for label, voxel in centroids(volume.data).items():
            mm = (volume.affine @ [*voxel, 1.0])[:3].tolist()
            found.places[row["participant_id"], row["session_id"], label] = mm
    return found


def write_map(output_dir: Path, found: Prevalence) -> Path | None:
    """Write ``figures/group_space-<template>_label-CMB_prevalence.{nii.gz,json}``; nothing without a session."""
    stem = output_dir / "figures" / f"group_space-{found.template}_label-CMB_prevalence"
    if found.affine is None:
        for old in (output_dir / "figures").glob("group_space-*_label-CMB_prevalence.*"):
            old.unlink()
        return None
    image = nib.Nifti1Image(found.values, found.affine)
    image.header.set_xyzt_units("mm")
    path = write_bytes(stem.with_name(f"{stem.name}.nii.gz"), gzip.compress(image.to_bytes(), 6, mtime=0))
    facts = {
        "Description": "Part of the participants with a microbleed at the voxel in any session; not smoothed. Complete "
        "sessions without a failed registration check that have lesions in this space.",
        "Space": found.template,
        "NumberOfParticipants": len(found.voxels),
        "NumberOfSessions": found.n_sessions,
    }
    write_text(stem.with_name(f"{stem.name}.json"), json.dumps(facts, indent=2) + "\n")
    return path


def prevalence_pictures(found: Prevalence) -> tuple[list[Markup], float]:
    """Return sagittal, coronal and axial views through the template, and the part that the darkest colour stands for.

    The colour is the part of the participants with a microbleed within :data:`REACH_MM` of the line of sight; it means
    the same in all three views.
    """
    brain = template_brain(found.template) if found.voxels else None
    if brain is None or brain.shape != found.shape:
        return [], 0.0
    views = [_seen_along(found, brain.spacing, axis) for axis in PLANES]
    largest = max(float(view.max()) for view in views)
    return [_view(found, view, axis, largest) for axis, view in zip(PLANES, views, strict=True)], largest


def _seen_along(found: Prevalence, spacing: Sequence[float], axis: int) -> npt.NDArray[np.float32]:
    """Return the part of participants, shape of the two axes left, with a microbleed near the line along ``axis``."""
    left = [a for a in range(3) if a != axis]
    shape = [found.shape[a] for a in left]
    reach = [int(REACH_MM / spacing[a]) for a in left]
    disc = np.indices([2 * r + 1 for r in reach]).reshape(2, -1).T - reach
    disc = disc[np.linalg.norm(disc * [spacing[a] for a in left], axis=1) <= REACH_MM]
    total = np.zeros(shape, np.float32)
    for voxels in found.voxels.values():
        index = np.stack(np.unravel_index(voxels, found.shape))[left].T
        if not len(index):
            continue
        near = (np.unique(index, axis=0)[:, None] + disc).reshape(-1, 2)
        near = np.unique(near[((near >= 0) & (near < shape)).all(axis=1)], axis=0)
        total[near[:, 0], near[:, 1]] += 1
    return total / np.float32(max(1, len(found.voxels)))


def _view(found: Prevalence, seen: npt.NDArray, axis: int, largest: float) -> Markup:
    plane = glass_planes(found.template)[axis]
    top, left = plane.corner
    part = to_plane(seen)[top : top + plane.shape[0], left : left + plane.shape[1]] / (largest or 1.0)
    layers = [
        Layer("smooth", image=plane.grey),
        Layer("smooth", image=encode_image(_heat(part))),
        Layer("brain", path=plane.outline),
    ]
    alt = f"{PLANE_NAMES[axis]} view of where microbleeds lie, {counted(len(found.voxels), 'participant')}"
    return picture(layers, plane.shape, plane.pixel, alt, plane_marks(axis))


_STOPS = (0, 0.25, 0.6, 1)
_COLOURS = ((255, 224, 130), (255, 170, 60), (226, 60, 40), (120, 0, 38))


def colour_bar() -> str:
    """Return the colours of the map as a CSS gradient from none to the largest part."""
    stops = [f"rgb{colour} {100 * stop:.0f}%" for stop, colour in zip(_STOPS, _COLOURS, strict=True)]
    return f"linear-gradient(to right, {', '.join(stops)})"


def _heat(part: npt.NDArray) -> npt.NDArray[np.uint8]:
    """Return RGBA from clear through yellow to dark red, by the part of the largest value, 0 to 1."""
    channels = [np.interp(part, _STOPS, [colour[n] for colour in _COLOURS]) for n in range(3)]
    opacity = np.where(part > 0, 0.85, 0) * 255
    return np.stack([*channels, opacity], axis=-1).astype(np.uint8)
