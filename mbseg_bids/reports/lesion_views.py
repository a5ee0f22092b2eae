"""Pictures of what is about a lesion: a piece of a plane with outlines, of any contrast, and of the phase."""

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from mbseg_bids.reports.figures import (
    PLANE_NAMES,
    Layer,
    crop,
    encode_image,
    outline_path,
    picture,
    pixel_size,
    plane_image,
    plane_marks,
    plane_position,
    to_grey,
)
from mbseg_bids.reports.images import SessionImages

FIELD_MM = 30.0
"""Side of a lesion's picture."""
BAR_MM = 5.0
"""Length of the scale bar of a lesion's picture."""
PHASE_WINDOW = (-0.6, 0.6)
"""Radians from black to white: the same on every card, so that a grey means the same."""


def view_about(
    images: SessionImages,
    plane: npt.NDArray,
    window: tuple[float, float],
    labels: npt.NDArray,
    label: int,
    voxel: npt.NDArray,
    axis: int,
    caption: str,
    alt: str,
) -> tuple[str, Markup]:
    """Return (caption, picture) of the part of a plane about a voxel, with outlines."""
    pixel = pixel_size(images.spacing, axis)
    centre = plane_position(voxel, images.canonical.shape, axis)
    half = (math.ceil(FIELD_MM / 2 / pixel[0]), math.ceil(FIELD_MM / 2 / pixel[1]))
    grey = to_grey(crop(plane, centre, half), window)
    around = crop(plane_image(labels, axis, voxel[axis]), centre, half)
    layers = [
        Layer("pixels", image=encode_image(grey)),
        Layer("contour other", path=outline_path(np.where(around == label, 0, around))),
        Layer("contour", path=outline_path(around == label)),
    ]
    return caption, picture(
        layers, grey.shape, pixel, f"{alt}: {caption}", plane_marks(axis), field=FIELD_MM, bar=BAR_MM
    )


def phase_pictures(
    images: SessionImages, labels: npt.NDArray, label: int, voxel: npt.NDArray, alt: str
) -> Iterable[tuple[str, Markup]]:
    """Yield (caption, picture) of the local phase in three planes; none where no phase was used."""
    if images.phase is None:
        return
    for axis in (images.axis, *(a for a in (2, 1, 0) if a != images.axis)):
        plane = plane_image(images.phase, axis, voxel[axis])
        yield view_about(images, plane, PHASE_WINDOW, labels, label, voxel, axis, f"Phase, {PLANE_NAMES[axis]}", alt)
