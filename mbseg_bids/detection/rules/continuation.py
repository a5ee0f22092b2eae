"""Whether a dark structure goes on beyond a candidate on two opposite sides, as a vessel does.

A microbleed is round or oval, not linear (Greenberg et al. 2009); a vein cut by the slice is a dot whose line shows
when it is followed, in plane or from slice to slice (MARS, Gregoire et al. 2009). A line is darker than what is beside
it: along a straight way from the candidate's edge, T2* is compared with T2* at both sides of the way. So the cortex
between fluid and white matter, or the edge of a dark nucleus, is no line. It must go on at two opposite sides without
a gap: a microbleed beside a vein, or two close to each other, is none.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.detection.rules.lesion_view import View

FIRST_MM, LAST_MM, STEP_MM = 1.0, 5.0, 1.0
"""Where along a way T2* is looked at, counted from the candidate's edge."""
BESIDE_MM = 3.0
"""How far beside the way its surroundings are: a cortical or medullary vein with its blooming is narrower."""
SWAY_MM = 1.0
"""How far the line may be off a straight way."""
OPPOSITE = -math.cos(math.radians(40))
"""Two directions are opposite that are at most 40 degrees off a straight line."""
THIN_SLICE_MM = 2.5
"""Thicker slices cannot tell a vessel through them from a microbleed in two of them."""
N_AROUND = 32
"""Directions in plane."""
ELEVATIONS = (30.0, 60.0)
"""Degrees out of plane of the oblique directions; straight through the slices is one more."""


def _directions_in_plane() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return directions in the slice, shape (N, 3), and one at right angles to each, shape (N, 1, 3)."""
    angles = 2 * math.pi * np.arange(N_AROUND) / N_AROUND
    flat, across = np.zeros(N_AROUND), np.stack([-np.sin(angles), np.cos(angles)], axis=1)
    return np.stack([np.cos(angles), np.sin(angles), flat], axis=1), np.pad(across, [(0, 0), (0, 1)])[:, None]


def _oblique_directions() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return directions out of the slice, up and down, shape (N, 3), and two at right angles to each, (N, 2, 3)."""
    along, beside = [], []
    turns = 2 * math.pi * np.arange(N_AROUND // 2) / (N_AROUND // 2)
    for side in (1, -1):
        for elevation in (*ELEVATIONS, 90.0):
            up = math.radians(elevation)
            for turn in turns if elevation < 90 else turns[:1]:
                flat, out = np.array([math.cos(turn), math.sin(turn), 0]), np.array([0, 0, side])
                along.append(math.cos(up) * flat + math.sin(up) * out)
                beside.append([np.cross(out, flat), math.sin(up) * flat - math.cos(up) * out])
    return np.array(along), np.array(beside)


IN_PLANE, OBLIQUE = _directions_in_plane(), _oblique_directions()


def line_in_plane(view: View, smooth: npt.NDArray[np.floating]) -> float:
    """Return how dark a line through the candidate is in its middle slice, as a log quotient.

    ``smooth`` is of :func:`smooth_signal`.

    It is the natural logarithm of T2* beside the line / T2* on it, where the line is faintest, 1 to 5 mm from the
    candidate's edge, on the fainter of two opposite sides; of the best pair of sides. 0 or less: no line.
    """
    middle = _middle_slice(view)
    voxels = np.argwhere(view.own)
    return _through(smooth, voxels[voxels[:, 2] == middle], view.spacing, *IN_PLANE)


def line_across_slices(view: View, smooth: npt.NDArray[np.floating]) -> float:
    """Return the same of a line that leaves the slice, by 30 degrees at least; NaN where slices are too thick."""
    if view.spacing[2] > THIN_SLICE_MM:
        return math.nan
    return _through(smooth, np.argwhere(view.own), view.spacing, *OBLIQUE)


def smooth_signal(view: View) -> npt.NDArray[np.floating]:
    """Return the logarithm of T2* in a candidate's window, a little smoothed; outside the brain, of its median.

    What is dark outside the brain is no vessel of it. Zeros everywhere if there is no signal.
    """
    t2star, inside = view.stack[0], view.brain | view.own
    level = float(np.median(t2star[inside]))
    if not level > 0:
        return np.zeros(t2star.shape)
    signal = np.log(np.maximum(np.where(inside, t2star, level), 0.02 * level))
    return ndimage.gaussian_filter(signal, [min(0.5 / s, 0.5) for s in view.spacing], mode="nearest", truncate=3)


def _through(
    smooth: npt.NDArray[np.floating],
    voxels: npt.NDArray[np.integer],
    spacing: tuple[float, float, float],
    along: npt.NDArray[np.float64],
    beside: npt.NDArray[np.float64],
) -> float:
    """Return the darkness of the best line through some voxels, shape (N, 3).

    ``along``: directions, shape (D, 3); ``beside``: directions at right angles to each, shape (D, M, 3).
    """
    centre = voxels.mean(axis=0)
    edge = ((voxels - centre) * spacing @ along.T).max(axis=0) + np.abs(along) @ spacing / 2
    steps = edge[:, None] + np.arange(FIRST_MM, LAST_MM + 0.01, STEP_MM)
    sideways = np.concatenate([beside, -beside], axis=1)
    sways = np.concatenate([np.zeros((len(along), 1, 3)), SWAY_MM * sideways], axis=1)
    # Axes: direction, step, sway, mm.
    places = along[:, None, None] * steps[:, :, None, None] + sways[:, None]
    on = _sample(smooth, places, centre, spacing)
    off = _sample(smooth, places[:, :, :, None] + BESIDE_MM * sideways[:, None, None], centre, spacing).min(axis=-1)
    faintest = (off - on).max(axis=2).min(axis=1)
    opposite = along @ along.T <= OPPOSITE
    return float(np.where(opposite, np.minimum(faintest[:, None], faintest), -np.inf).max())


def _middle_slice(view: View) -> int:
    """Return the slice in which the candidate is largest; of several, where it is darkest."""
    size = view.own.sum(axis=(0, 1))
    signal = np.where(view.own, view.stack[0], 0).sum(axis=(0, 1))
    return int(np.lexsort((signal, -size))[0])


def _sample(
    image: npt.NDArray[np.floating],
    places: npt.NDArray[np.float64],
    centre: npt.NDArray[np.float64],
    spacing: tuple[float, float, float],
) -> npt.NDArray[np.float64]:
    """Return the image at places given in mm from a centre, shape (..., 3); beyond its edge, that of the edge."""
    where = (places / spacing + centre).reshape(-1, 3).T
    return ndimage.map_coordinates(image, where, order=1, mode="nearest").reshape(places.shape[:-1])
