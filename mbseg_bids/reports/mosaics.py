"""Sheets of planes over the whole head: alignment of the contrasts, brain mask, regions."""

import re
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from mbseg_bids.bids.colours import REGION_COLOURS
from mbseg_bids.imaging.labels import REGIONS
from mbseg_bids.reports.figures import (
    Layer,
    Mosaic,
    encode_image,
    mosaic_marks,
    outline_path,
    picture,
    plan_mosaic,
    to_grey,
)
from mbseg_bids.reports.images import SessionImages
from mbseg_bids.reports.views import strong_edges

N_PLANES = 12
"""Planes of a full sheet."""


@dataclass(frozen=True)
class Sheet:
    """A mosaic with its caption; ``other`` names the image that a switch shows instead."""

    title: str
    caption: str
    svg: Markup
    other: str = ""
    before: bool = False
    """Whether it also holds the image as its header alone would place it."""


def alignment_sheets(images: SessionImages) -> tuple[list[Sheet], list[Sheet]]:
    """Return, for each of T1w and T2w, a sheet of its edges over T2*; and the same of one middle plane alone.

    The image itself lies beneath the same edges, for a switch to show.
    """
    plans = [
        plan_mosaic(images.extent, images.spacing, images.axis, frame=images.head, n_planes=n) for n in (N_PLANES, 1)
    ]
    sheets: tuple[list[Sheet], list[Sheet]] = ([], [])
    for name in ("T1w", "T2w"):
        if name in images.contrasts:
            for found, plan in zip(sheets, plans, strict=True):
                found.append(_alignment(images, name, plan))
    return sheets


def _alignment(images: SessionImages, name: str, plan: Mosaic) -> Sheet:
    # Edges are found plane by plane, so only the planes shown are looked at.
    shown = replace(plan, indices=tuple(range(len(plan.indices))))
    volume, brain = (np.take(array, plan.indices, plan.axis) for array in (images.contrasts[name], images.extent))
    sign, strong = strong_edges(volume, images.spacing, plan.axis, brain)
    keep = shown.sheet(strong, average=False) & plan.inner()
    layers = [
        _grey(images, "T2starw", plan, "smooth"),
        _grey(images, name, plan, "smooth instead"),
        Layer("edge", path=outline_path(shown.sheet(sign, average=False), keep)),
    ]
    return Sheet(
        f"{name} on T2*",
        f"Edges of the registered {name} image over T2*. They should follow the ventricles, the cortex and the skull.",
        _draw(layers, plan, f"Edges of the registered {name} image over {len(plan.indices)} planes of T2*"),
        other=name,
    )


def flicker_sheets(images: SessionImages) -> list[Sheet]:
    """Return, for each of T1w and T2w, planes of T2* above the same planes of the contrast before and after.

    The edges drawn are those of T2* in both rows: where they run beside the anatomy, the two are not aligned.
    """
    plan = plan_mosaic(images.extent, images.spacing, images.axis, frame=images.head, n_planes=6)
    t2star, brain = (np.take(a, plan.indices, plan.axis) for a in (images.contrasts["T2starw"], images.extent))
    sign, strong = strong_edges(t2star, images.spacing, plan.axis, brain)
    shown = replace(plan, indices=tuple(range(len(plan.indices))))
    edges = outline_path(shown.sheet(sign, average=False), shown.sheet(strong, average=False) & plan.inner())
    return [_flicker(images, name, plan, edges) for name in ("T1w", "T2w") if name in images.before]


def _flicker(images: SessionImages, name: str, plan: Mosaic, edges: str) -> Sheet:
    rows = plan.tile_shape()[0]

    def both(volume: npt.NDArray) -> str:
        above = to_grey(plan.sheet(images.contrasts["T2starw"]), images.windows["T2starw"])
        below = to_grey(plan.sheet(volume), images.windows[name])
        return encode_image(np.concatenate([above, below]), "JPEG")

    height = rows * plan.pixel[0]
    layers = [
        Layer("smooth", image=both(images.contrasts[name])),
        Layer("smooth before", image=both(images.before[name])),
        Layer("edge", path=edges),
        Layer("edge", path=_moved_down(edges, rows)),
    ]
    shape = (2 * rows, plan.tile_shape()[1] * len(plan.indices))
    title = '<text class="mark" font-size="9" x="3" y="{:.4g}">{}</text>'
    extra = mosaic_marks(plan) + title.format(10, "T2*") + title.format(height + 10, name)
    alt = f"{len(plan.indices)} planes of T2* above the same planes of {name}, with the edges of T2* over both"
    return Sheet(
        f"{name} before and after",
        f"Above T2*, below {name}; the edges of T2* are drawn over both.",
        picture(layers, shape, plan.pixel, alt, extra=extra),
        other=name,
        before=True,
    )


def _moved_down(path: str, rows: int) -> str:
    """Return path data of absolute M, H and V commands, moved down by so many pixels."""
    moved = re.sub(r"M(\d+) (\d+)", lambda m: f"M{m[1]} {int(m[2]) + rows}", path)
    return re.sub(r"V(\d+)", lambda m: f"V{int(m[1]) + rows}", moved)


def brain_sheet(images: SessionImages) -> Sheet | None:
    """Return the outline of the brain mask over T2*, or nothing without a mask."""
    if images.brain is None:
        return None
    plan = plan_mosaic(images.extent, images.spacing, images.axis, frame=images.head)
    layers = [
        _grey(images, "T2starw", plan, "smooth"),
        Layer("brain", path=outline_path(plan.sheet(images.brain, average=False))),
    ]
    alt = f"Outline of the brain mask over {len(plan.indices)} planes of T2*"
    return Sheet("Brain mask", "Lesions are searched inside the outline only.", _draw(layers, plan, alt))


def region_sheet(images: SessionImages) -> Sheet | None:
    """Return the regions in colour over T2*, or nothing without regions."""
    if images.regions is None:
        return None
    plan = plan_mosaic(images.extent, images.spacing, images.axis)
    layers = [
        _grey(images, "T2starw", plan, "smooth"),
        Layer("pixels tint", image=encode_image(_tint(plan.sheet(images.regions, average=False)))),
    ]
    alt = f"Regions in colour over {len(plan.indices)} planes of T2*"
    return Sheet(
        "Regions",
        "Each lesion is counted in the region that holds most of its voxels. The switch hides the colours.",
        _draw(layers, plan, alt),
    )


def region_legend() -> list[tuple[str, str]]:
    """Return (colour, name) of every region."""
    return [(REGION_COLOURS[label], name) for label, name in REGIONS.items()]


def _tint(labels: npt.NDArray) -> npt.NDArray[np.uint8]:
    table = np.zeros((max(REGION_COLOURS) + 1, 4), np.uint8)
    for label, colour in REGION_COLOURS.items():
        table[label] = [int(colour[i : i + 2], 16) for i in (1, 3, 5)] + [120]
    return table[np.where((labels > 0) & (labels < len(table)), labels, 0)]


def _grey(images: SessionImages, name: str, plan: Mosaic, css: str) -> Layer:
    sheet = plan.sheet(images.contrasts[name])
    return Layer(css, image=encode_image(to_grey(sheet, images.windows[name]), "JPEG"))


def _draw(layers: list[Layer], plan: Mosaic, alt: str) -> Markup:
    rows, columns = plan.tile_shape()
    n_rows = -(-len(plan.indices) // plan.columns)
    return picture(layers, (rows * n_rows, columns * plan.columns), plan.pixel, alt, extra=mosaic_marks(plan))
