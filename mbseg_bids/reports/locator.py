"""The whole slice that a lesion lies in, with a ring where it is."""

import base64

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from mbseg_bids.reports.figures import (
    Layer,
    encode_image,
    picture,
    pixel_size,
    plane_image,
    plane_marks,
    plane_position,
    to_grey,
    to_plane,
)
from mbseg_bids.reports.images import SessionImages
from mbseg_bids.reports.views import canonical_voxel

BAR_MM = 50.0
MARGIN_MM = 6.0
THUMBNAIL_MM = 1.5
"""Side of a pixel of a thumbnail."""


def slice_of(images: SessionImages, voxel: npt.NDArray) -> tuple[int, int]:
    """Return (index from 0, number of slices) of a canonical voxel, as the T2* file numbers its slices."""
    native = np.rint(canonical_voxel(voxel, images.canonical, images.native)).astype(int)
    across = np.argmax(np.abs((np.linalg.inv(images.native.affine) @ images.canonical.affine)[:3, images.axis]))
    return int(native[across]), int(images.native.shape[across])


def locator(images: SessionImages, voxel: npt.NDArray, radius: float, alt: str) -> tuple[str, Markup]:
    """Return (caption, picture) of the whole T2* slice through a canonical voxel, a ring of this radius (mm) around it.

    The slice is drawn at pixels of about 1 mm.
    """
    axis = images.axis
    pixel = pixel_size(images.spacing, axis)
    rows, columns = _frame(to_plane(np.any(images.head, axis=axis)), pixel)
    step = tuple(max(1, round(1 / mm)) for mm in pixel)
    plane = plane_image(images.contrasts["T2starw"], axis, voxel[axis])[rows, columns]
    grey = _shrink(to_grey(plane, images.windows["T2starw"]), step)
    shown = (pixel[0] * step[0], pixel[1] * step[1])
    row, column = plane_position(voxel, images.canonical.shape, axis)
    x, y = (column - columns.start + 0.5) * pixel[1], (row - rows.start + 0.5) * pixel[0]
    ring = f'<circle class="here" cx="{x:.4g}" cy="{y:.4g}" r="{radius + 4:.3g}"/>'
    index, count = slice_of(images, voxel)
    caption = f"T2*, slice {index + 1} of {count} (index {index})"
    layers = [Layer("smooth", image=encode_image(grey, "JPEG"))]
    return caption, picture(layers, grey.shape, shown, f"{alt}: {caption}", plane_marks(axis), ring, bar=BAR_MM)


def _frame(inside: npt.NDArray[np.bool_], pixel: tuple[float, float]) -> tuple[slice, slice]:
    """Return the rows and columns that hold the head, with a margin."""
    found = []
    for axis, mm in enumerate(pixel):
        where = np.flatnonzero(inside.any(axis=1 - axis))
        margin, size = round(MARGIN_MM / mm), inside.shape[axis]
        found.append(
            slice(max(0, where[0] - margin), min(size, where[-1] + margin + 1)) if where.size else slice(0, size)
        )
    return found[0], found[1]


def _shrink(pixels: npt.NDArray[np.uint8], step: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Average blocks of pixels; what does not fill a block at the end is left out."""
    rows, columns = (size // s for size, s in zip(pixels.shape, step, strict=True))
    part = pixels[: rows * step[0], : columns * step[1]].reshape(rows, step[0], columns, step[1])
    return np.rint(part.mean(axis=(1, 3))).astype(np.uint8)


def thumbnail(images: SessionImages) -> bytes:
    """Return a small JPEG of the T2* slice with most lesion voxels, of the middle one without any."""
    axis = images.axis
    pixel = pixel_size(images.spacing, axis)
    others = tuple(a for a in range(3) if a != axis)
    weight = np.count_nonzero(images.lesions, axis=others) if images.lesions is not None else np.zeros(1)
    index = int(weight.argmax()) if weight.any() else int(np.median(np.flatnonzero(images.extent.any(axis=others))))
    rows, columns = _frame(to_plane(np.any(images.extent, axis=axis)), pixel)
    plane = plane_image(images.contrasts["T2starw"], axis, index)[rows, columns]
    # The file has no pixel size: pixels must be square.
    take = [np.arange(0, n - 0.5, THUMBNAIL_MM / mm).astype(int) for n, mm in zip(plane.shape, pixel, strict=True)]
    grey = to_grey(plane[np.ix_(*take)], images.windows["T2starw"])
    return base64.b64decode(encode_image(grey, "JPEG").partition(",")[2])
