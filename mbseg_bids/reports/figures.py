"""Pictures of arrays: 8-bit images and outlines, put together as SVG. No files, no world coordinates.

Every picture is made of planes of a volume whose axes run Right, Anterior, Superior (a canonical volume). Planes are
drawn in radiological convention: the patient's right is on the picture's left, anterior and superior are up; sagittal
planes have anterior on the left.
"""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape
from PIL import Image

CONVENTION = "Radiological convention: the patient's right (R) is on the left of the picture."
PLANE_NAMES = ("sagittal", "coronal", "axial")
_MARKS = (("A", "P"), ("R", "L"), ("R", "L"))


def plane_image(volume: npt.NDArray, axis: int, index: int) -> npt.NDArray:
    """Return one plane of a canonical volume as (rows, columns), row 0 at the top.

    Parameters
    ----------
    volume
        Shape (i, j, k), axes to Right, Anterior, Superior.
    axis
        Axis the plane is perpendicular to: 0 sagittal, 1 coronal, 2 axial.
    index
        Index along that axis.
    """
    return to_plane(volume[tuple(index if a == axis else slice(None) for a in range(3))])


def to_plane(section: npt.NDArray) -> npt.NDArray:
    """Turn an array over two remaining canonical axes (in ascending order) into (rows, columns)."""
    return section[::-1, ::-1].T


def plane_position(voxel: Sequence[float] | npt.NDArray, shape: Sequence[int], axis: int) -> tuple[float, float]:
    """Return the (row, column) of a canonical voxel in its plane perpendicular to ``axis``."""
    columns, rows = (a for a in range(3) if a != axis)
    return shape[rows] - 1 - voxel[rows], shape[columns] - 1 - voxel[columns]


def pixel_size(spacing: Sequence[float], axis: int) -> tuple[float, float]:
    """Return the (height, width) in mm of a pixel of the plane perpendicular to ``axis``."""
    columns, rows = (a for a in range(3) if a != axis)
    return spacing[rows], spacing[columns]


def crop(plane: npt.NDArray, centre: tuple[float, float], half: tuple[int, int]) -> npt.NDArray:
    """Return (2 * half + 1) pixels around the centre; zero where the plane ends."""
    out = np.zeros([2 * h + 1 for h in half], dtype=plane.dtype)
    start = [round(c) - h for c, h in zip(centre, half, strict=True)]
    inside = [slice(max(0, s), max(0, min(n, s + 2 * h + 1))) for s, h, n in zip(start, half, plane.shape, strict=True)]
    target = tuple(slice(i.start - s, i.stop - s) for i, s in zip(inside, start, strict=True))
    if all(i.stop > i.start for i in inside):
        out[target] = plane[tuple(inside)]
    return out


def to_grey(image: npt.NDArray, window: tuple[float, float]) -> npt.NDArray[np.uint8]:
    """Map intensities linearly from the window to 0-255; not-a-number becomes black."""
    low, high = window
    scaled = (np.nan_to_num(image.astype(np.float32)) - low) * (255.0 / max(high - low, 1e-6))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def encode_image(pixels: npt.NDArray[np.uint8], kind: str = "PNG") -> str:
    """Return a data URI of grey (rows, columns) or RGBA (rows, columns, 4) pixels: ``PNG`` or (grey only) ``JPEG``."""
    buffer = io.BytesIO()
    options = {"optimize": True} if kind == "PNG" else {"quality": 85}
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def outline_path(labels: npt.NDArray, keep: npt.NDArray[np.bool_] | None = None) -> str:
    """Return SVG path data, in pixels, along every pixel edge where neighbouring labels differ.

    Parameters
    ----------
    labels
        (rows, columns), of any type that compares; outside counts as zero.
    keep
        (rows, columns): an edge is drawn only where one of its two pixels is true here. All, if not given.
    """
    if not labels.any():
        return ""
    padded = np.pad(labels, 1)
    kept = np.ones(padded.shape, bool) if keep is None else np.pad(keep, 1)
    horizontal = (padded[1:] != padded[:-1]) & (kept[1:] | kept[:-1])
    vertical = (padded[:, 1:] != padded[:, :-1]) & (kept[:, 1:] | kept[:, :-1])
    parts = [f"M{a - 1} {y}H{b - 1}" for y, a, b in _runs(horizontal)]
    parts += [f"M{x} {a - 1}V{b - 1}" for x, a, b in _runs(vertical.T)]
    return "".join(parts)


def _runs(lines: npt.NDArray[np.bool_]) -> Iterable[tuple[int, int, int]]:
    """Yield (line, start, stop) of every run of true values."""
    steps = np.diff(np.pad(lines, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, stops = np.argwhere(steps == 1), np.argwhere(steps == -1)
    return zip(starts[:, 0].tolist(), starts[:, 1].tolist(), stops[:, 1].tolist(), strict=True)


@dataclass(frozen=True)
class Layer:
    """One layer of a picture: an image (data URI) or a path (SVG path data in pixels)."""

    css: str
    """Class names, which the style sheet and its switches refer to."""
    image: str = ""
    path: str = ""


def picture(
    layers: Sequence[Layer],
    shape: tuple[int, int],
    pixel: tuple[float, float],
    alt: str,
    marks: tuple[str, str] | None = None,
    extra: str = "",
    field: float | None = None,
    bar: float | None = None,
) -> Markup:
    """Put layers of equal size into one SVG, drawn in millimetres.

    Parameters
    ----------
    layers
        From bottom to top.
    shape, pixel
        Rows and columns of the layers; height and width of a pixel in mm.
    alt
        What a reader who cannot see the picture should know; escaped here.
    marks
        Letters at the left and right edge.
    extra
        More SVG, in mm, put on top.
    field
        Side, in mm, of the square in the middle that is shown; everything, if not given.
    bar
        Length of a scale bar at the lower left, in mm; none, if not given.
    """
    height, width = shape[0] * pixel[0], shape[1] * pixel[1]
    seen = (width, height) if field is None else (field, field)
    left, top = (width - seen[0]) / 2, (height - seen[1]) / 2
    parts = [
        f'<svg class="picture" viewBox="{left:.5g} {top:.5g} {seen[0]:.5g} {seen[1]:.5g}" role="img" '
        f'aria-label="{escape(alt)}">'
    ]
    for layer in layers:
        if layer.image:
            parts.append(
                f'<image class="{layer.css}" width="{width:.5g}" height="{height:.5g}" '
                f'preserveAspectRatio="none" href="{layer.image}"/>'
            )
        if layer.path:
            parts.append(
                f'<path class="{layer.css}" transform="scale({pixel[1]:.6g} {pixel[0]:.6g})" d="{layer.path}"/>'
            )
    if marks:
        size = max(2.4, seen[0] / 16)
        at = f'y="{height / 2:.4g}" font-size="{size:.3g}"'
        parts.append(f'<text class="mark" x="{left + size * 0.3:.4g}" {at}>{escape(marks[0])}</text>')
        right = left + seen[0] - size * 0.3
        parts.append(f'<text class="mark" text-anchor="end" x="{right:.4g}" {at}>{escape(marks[1])}</text>')
    if bar:
        parts.append(_scale_bar(bar, left, top + seen[1], seen[0]))
    return Markup("".join([*parts, extra, "</svg>"]))


def _scale_bar(length: float, left: float, bottom: float, width: float) -> str:
    """Return a bar of so many mm with its length beside it, at the lower left of a picture of this width."""
    edge = width / 20
    y, size = bottom - edge, max(1.7, width / 17)
    ends = f'x1="{left + edge:.4g}" x2="{left + edge + length:.4g}" y1="{y:.4g}" y2="{y:.4g}"'
    at = f'x="{left + edge * 1.5 + length:.4g}" y="{y + size / 3:.4g}" font-size="{size:.3g}"'
    return f'<line class="bar-back" {ends}/><line class="bar" {ends}/><text class="mark" {at}>{length:.3g} mm</text>'


def plane_marks(axis: int) -> tuple[str, str]:
    """Return the letters for the left and right edge of a plane perpendicular to ``axis``."""
    return _MARKS[axis]


@dataclass(frozen=True)
class Mosaic:
    """A sheet of evenly spaced planes: which part of the volume it shows and how the planes are laid out."""

    axis: int
    indices: tuple[int, ...]
    box: tuple[slice, slice]
    step: tuple[int, int]
    columns: int
    pixel: tuple[float, float]

    def sheet(self, volume: npt.NDArray, *, average: bool = True) -> npt.NDArray:
        """Lay out the planes of a canonical volume; ``average`` only for intensities, not for labels."""
        tiles = [self._tile(plane_image(volume, self.axis, index), average) for index in self.indices]
        blank = np.zeros_like(tiles[0])
        tiles += [blank] * (-len(tiles) % self.columns)
        rows = [np.concatenate(tiles[r : r + self.columns], axis=1) for r in range(0, len(tiles), self.columns)]
        return np.concatenate(rows, axis=0)

    def _tile(self, plane: npt.NDArray, average: bool) -> npt.NDArray:
        part = plane[self.box]
        rows, columns = self.step
        part = part[: part.shape[0] // rows * rows, : part.shape[1] // columns * columns]
        if not average:
            return part[rows // 2 :: rows, columns // 2 :: columns]
        blocks = part.reshape(part.shape[0] // rows, rows, part.shape[1] // columns, columns)
        return blocks.astype(np.float32).mean(axis=(1, 3))

    def inner(self) -> npt.NDArray[np.bool_]:
        """Return the pixels of a sheet that do not lie at the border of a tile."""
        tile = np.zeros(self.tile_shape(), bool)
        tile[1:-1, 1:-1] = True
        return np.tile(tile, (-(-len(self.indices) // self.columns), self.columns))

    def tile_shape(self) -> tuple[int, int]:
        """Return the rows and columns of one tile, in sheet pixels."""
        return tuple((b.stop - b.start) // s for b, s in zip(self.box, self.step, strict=True))


def plan_mosaic(
    region: npt.NDArray[np.bool_],
    spacing: Sequence[float],
    axis: int,
    *,
    frame: npt.NDArray[np.bool_] | None = None,
    n_planes: int = 12,
    columns: int = 6,
) -> Mosaic:
    """Choose planes that cover a region (the brain), at pixels of about 1 mm.

    Parameters
    ----------
    region
        Shape (i, j, k): the planes are spread over its extent.
    spacing, axis
        Voxel size in mm; axis perpendicular to the planes.
    frame
        What every tile has to show, with a margin of about 8 mm; the region, if not given.
    """
    pixel = pixel_size(spacing, axis)
    flat = to_plane(np.any(region if frame is None else frame | region, axis=axis))
    along = np.flatnonzero(region.any(axis=tuple(a for a in range(3) if a != axis)))
    if not along.size:
        along = np.arange(region.shape[axis])
    if not flat.any():
        flat = np.ones_like(flat)
    n = min(n_planes, along[-1] - along[0] + 1)
    # centres of n equal parts, so that the outermost planes still show brain; superior first
    fractions = (np.arange(n) + 0.5) / n
    indices = np.unique(np.rint(along[0] + fractions * (along[-1] - along[0])).astype(int))[::-1]
    box, step = [], []
    for edge, mm, size in zip((flat.any(axis=1), flat.any(axis=0)), pixel, flat.shape, strict=True):
        inside, margin = np.flatnonzero(edge), round(8 / mm)
        box.append(slice(max(0, int(inside[0]) - margin), min(size, int(inside[-1]) + margin + 1)))
        step.append(min(max(1, round(1.0 / mm)), box[-1].stop - box[-1].start))
    shown = (pixel[0] * step[0], pixel[1] * step[1])
    return Mosaic(
        axis, tuple(int(i) for i in indices), (box[0], box[1]), (step[0], step[1]), min(columns, len(indices)), shown
    )


def mosaic_marks(mosaic: Mosaic) -> str:
    """Return SVG text, in mm, that marks left and right on every tile of the sheet."""
    rows, columns = mosaic.tile_shape()
    height, width = rows * mosaic.pixel[0], columns * mosaic.pixel[1]
    left, right = plane_marks(mosaic.axis)
    parts = []
    for number in range(len(mosaic.indices)):
        y = (number // mosaic.columns + 0.5) * height
        x = (number % mosaic.columns) * width
        parts.append(f'<text class="mark" font-size="9" x="{x + 2:.4g}" y="{y:.4g}">{left}</text>')
        parts.append(
            f'<text class="mark" font-size="9" text-anchor="end" x="{x + width - 2:.4g}" y="{y:.4g}">{right}</text>'
        )
    return "".join(parts)


def intensity_window(volume: npt.NDArray, region: npt.NDArray[np.bool_] | None) -> tuple[float, float]:
    """Return a display range from zero to a little above the 99th percentile inside the region."""
    inside = volume[region] if region is not None and region.any() else volume[volume > 0]
    inside = inside[np.isfinite(inside)]
    if not inside.size:
        return 0.0, 1.0
    return min(0.0, float(np.percentile(inside, 1))), float(np.percentile(inside, 99)) * 1.1 or 1.0
