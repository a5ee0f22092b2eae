"""The map of all lesions: three projections of a brain, one ring a lesion."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape
from scipy import ndimage

from mbseg_bids.imaging.volume import Volume
from mbseg_bids.reports.figures import (
    PLANE_NAMES,
    Layer,
    encode_image,
    outline_path,
    picture,
    pixel_size,
    plane_marks,
    plane_position,
    to_grey,
    to_plane,
)
from mbseg_bids.reports.gallery import Card
from mbseg_bids.reports.images import SessionImages
from mbseg_bids.reports.session_files import SessionFiles
from mbseg_bids.wording import counted

PLANES = (0, 1, 2)


@dataclass(frozen=True)
class LesionMap:
    """Projections with rings, and what they are drawn on."""

    pictures: list[Markup]
    caption: str
    glass: bool
    """Whether the pictures are light: a glass brain of the template."""


@dataclass(frozen=True)
class Projection:
    """One plane of a brain seen through: grey pixels and the outline of the silhouette."""

    grey: str
    outline: str
    shape: tuple[int, int]
    pixel: tuple[float, float]
    corner: tuple[int, int]
    """Row and column of the full plane at the upper left of the picture."""


def lesion_map(cards: Sequence[Card], files: SessionFiles, images: SessionImages | None) -> LesionMap | None:
    """Return the map on the template, else on the scan itself, else nothing."""
    return _on_template(cards, files) or (_on_scan(cards, images) if images is not None else None)


def _on_template(cards: Sequence[Card], files: SessionFiles) -> LesionMap | None:
    from mbseg_bids.imaging.template import TEMPLATES

    for name in TEMPLATES:
        path = files.exact(f"space-{name}_seg-CMB_dseg.nii.gz")
        if path is None:
            continue
        labels = files.read_volume(path, "lesions on the template", labels=True)
        brain = template_brain(name)
        if labels is None or brain is None or labels.shape != brain.shape:
            continue
        voxels = centroids(labels.data)
        missing = [card.name for card in cards if card.label not in voxels]
        said = f" Not on it: {', '.join(missing)}." if missing else ""
        return LesionMap(
            [_draw(cards, voxels, glass_planes(name)[axis], brain.shape, axis, "the template") for axis in PLANES],
            f"Seen through the template {name}: one ring a lesion with its number, as large as it or 2.5 mm in "
            f"radius at least, dashed where the candidate classifier calls it possible only; each leads to its "
            f"card.{said}",
            glass=True,
        )
    return None


def _on_scan(cards: Sequence[Card], images: SessionImages) -> LesionMap:
    voxels = {card.label: card.voxel for card in cards if card.voxel is not None}
    t2star, extent = images.contrasts["T2starw"], images.extent
    return LesionMap(
        [
            _draw(cards, voxels, _mean_plane(t2star, extent, images.spacing, axis), images.canonical.shape, axis, "T2*")
            for axis in PLANES
        ],
        "Mean of T2* through the brain in three directions, as there are no lesions on the template; one ring a "
        "lesion with its number, linked to its card.",
        glass=False,
    )


def centroids(labels: npt.NDArray) -> dict[int, npt.NDArray[np.float64]]:
    """Return the centroid of each label, in voxels."""
    boxes = ndimage.find_objects(labels)
    found = {}
    for label, box in enumerate(boxes, start=1):
        if box is not None:
            found[label] = np.argwhere(labels[box] == label).mean(axis=0) + [axis.start for axis in box]
    return found


@cache
def template_brain(name: str) -> Volume | None:
    """Return the template brain, or nothing where this machine does not have it."""
    from mbseg_bids.errors import MbsegError
    from mbseg_bids.imaging.template import load_template

    try:
        return load_template(name).brain
    except (MbsegError, OSError):
        return None


@cache
def glass_planes(name: str) -> tuple[Projection, ...]:
    """Return the three projections of the template as glass: its surfaces dark on white where they are seen edge-on."""
    brain = template_brain(name)
    if brain is None:
        return ()
    smooth = ndimage.gaussian_filter(brain.data, 1.5)
    slope = ndimage.gaussian_gradient_magnitude(smooth, 1.0)
    return tuple(_glass_plane(slope, brain.data > 0, brain.spacing, axis) for axis in PLANES)


def _glass_plane(slope: npt.NDArray, inside: npt.NDArray, spacing: Sequence[float], axis: int) -> Projection:
    depth = np.maximum(inside.sum(axis=axis), 12)
    seen = to_plane((slope * inside).sum(axis=axis) / depth)
    silhouette = to_plane(np.any(inside, axis=axis))
    low, high = np.percentile(seen[silhouette], (5, 99.5))
    shade = np.clip((seen - low) / (high - low), 0, 1) ** 1.2
    grey = np.where(silhouette, 250 - 175 * shade, 255).astype(np.uint8)
    return _cut(grey, silhouette, pixel_size(spacing, axis))


def _mean_plane(volume: npt.NDArray, extent: npt.NDArray, spacing: Sequence[float], axis: int) -> Projection:
    depth = np.maximum(extent.sum(axis=axis), 1)
    mean = to_plane(np.where(extent, volume, 0).sum(axis=axis) / depth)
    grey = to_grey(mean, (0.0, float(mean.max()) * 1.25))
    return _cut(grey, to_plane(np.any(extent, axis=axis)), pixel_size(spacing, axis))


def _cut(grey: npt.NDArray[np.uint8], silhouette: npt.NDArray[np.bool_], pixel: tuple[float, float]) -> Projection:
    rows, columns = (_span(np.any(silhouette, axis=1 - a), 6 / pixel[a]) for a in (0, 1))
    part = grey[rows, columns]
    outline = outline_path(silhouette[rows, columns])
    return Projection(encode_image(part), outline, part.shape, pixel, (rows.start, columns.start))


def _draw(
    cards: Iterable[Card],
    voxels: Mapping[int, npt.NDArray],
    plane: Projection,
    shape: Sequence[int],
    axis: int,
    on: str,
) -> Markup:
    layers = [Layer("smooth", image=plane.grey), Layer("brain", path=plane.outline)]
    rings = []
    for card in cards:
        if card.label not in voxels:
            continue
        row, column = plane_position(voxels[card.label], shape, axis)
        x, y = (column - plane.corner[1] + 0.5) * plane.pixel[1], (row - plane.corner[0] + 0.5) * plane.pixel[0]
        css = "ring possible" if card.certainty == "possible" else "ring"
        rings.append(
            f'<a href="#{escape(card.anchor)}"><circle class="{css}" cx="{x:.4g}" cy="{y:.4g}" r="{card.radius:.3g}">'
            f"<title>{escape(card.name)}, {escape(card.region)}</title></circle>"
            f'<text class="ring-number" x="{x + card.radius * 0.8 + 0.8:.4g}" y="{y - card.radius * 0.8:.4g}">'
            f"{card.label}</text></a>"
        )
    alt = f"{PLANE_NAMES[axis]} projection of {on} with {counted(len(rings), 'lesion')}"
    return picture(layers, plane.shape, plane.pixel, alt, plane_marks(axis), "".join(rings))


def _span(inside: npt.NDArray[np.bool_], margin: float) -> slice:
    where = np.flatnonzero(inside)
    if not where.size:
        return slice(0, inside.size)
    return slice(max(0, int(where[0] - margin)), min(inside.size, int(where[-1] + margin) + 1))
