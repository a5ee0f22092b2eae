"""The page of one participant's visits: what changed between them, each lesion side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from mbseg_bids import __version__
from mbseg_bids.imaging.grids import Grid
from mbseg_bids.imaging.transforms import resample
from mbseg_bids.imaging.volume import Volume
from mbseg_bids.reports.figures import CONVENTION, Layer, encode_image, outline_path, picture, plane_marks, to_grey
from mbseg_bids.reports.figures import to_plane as plane_of
from mbseg_bids.reports.individual import DISCLAIMER, environment

CROP_MM, PIXEL_MM, BAR_MM = 30.0, 0.5, 5.0


@dataclass(frozen=True)
class ChangeCard:
    """One microbleed over two visits, as the page shows it."""

    title: str
    status: str
    facts: tuple[tuple[str, str], ...]
    pictures: tuple[tuple[str, Markup], ...]


@dataclass(frozen=True)
class PairSection:
    """Two visits compared; without counts where their registration failed."""

    anchor: str
    before: str
    after: str
    counts: Mapping[str, int] | None
    aria: str
    """Class of new microhaemorrhages; empty for people who are not under anti-amyloid therapy."""
    warnings: tuple[str, ...]
    cards: tuple[ChangeCard, ...]


def render_visits(participant: str, sections: Sequence[PairSection], problems: Sequence[str]) -> str:
    """Return the page; everything is inside it, and it runs no script."""
    template = environment().get_template("visits.html.j2")
    facts: dict[str, Any] = {"version": __version__, "disclaimer": DISCLAIMER, "convention": CONVENTION}
    return template.render(participant=participant, sections=sections, problems=problems, **facts)


def crop_at(
    t2star: Volume,
    lesions: Volume,
    to_midpoint: npt.NDArray[np.float64],
    centre: npt.NDArray[np.floating],
    window: tuple[float, float],
    alt: str,
) -> Markup:
    """Draw the axial plane of the midpoint through a lesion, as one visit shows it.

    Both visits are drawn on the same plane by one interpolation each, so that neither is the smoother for it.

    Parameters
    ----------
    t2star, lesions
        Image and labels of the visit.
    to_midpoint
        Takes its points to the midpoint, RAS+ mm.
    centre
        Shape (3,): middle of the picture, point of the midpoint.
    window
        Display range.
    alt
        For a reader who cannot see it.
    """
    side = int(CROP_MM / PIXEL_MM) + 1
    affine = np.diag([PIXEL_MM, PIXEL_MM, PIXEL_MM, 1.0])
    affine[:3, 3] = np.asarray(centre) - [(side - 1) / 2 * PIXEL_MM, (side - 1) / 2 * PIXEL_MM, 0.0]
    grid, way = Grid((side, side, 1), affine), [np.linalg.inv(to_midpoint)]
    grey = to_grey(plane_of(resample(t2star, grid, way).data[:, :, 0]), window)
    labels = plane_of(resample(lesions, grid, way, order=0).data[:, :, 0])
    layers = [Layer("pixels", image=encode_image(grey)), Layer("contour", path=outline_path(labels))]
    return picture(layers, grey.shape, (PIXEL_MM, PIXEL_MM), alt, plane_marks(2), bar=BAR_MM)
