"""What a candidate looks like in three dimensions: the measures that the candidate classifier decides by.

The network sees one slice. Whether a dark dot is a microbleed or a vein cut across shows in the slices beside it, in
its shape, and on the other contrasts (Greenberg et al. 2009: round or oval, not linear, at least half surrounded by
brain). All measures are taken on the detection grid: axes 0 and 1 in plane, axis 2 across slices.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.detection.candidates.neighbourhoods import slices_apart
from mbseg_bids.detection.geometry.components import TOUCHING, middle_voxels
from mbseg_bids.detection.geometry.distances import distance_to_edge
from mbseg_bids.detection.network.patches import STANDARD_MAXIMUM
from mbseg_bids.detection.rules.lesion_view import REACH_MM, Scan, View
from mbseg_bids.imaging.labels import UNASSIGNED

CONNECTED_RATIO = 1.15
"""What is this much darker than the ring and touches the candidate belongs to the same dark structure."""
BEYOND_MM = 2.5
"""Distance from the candidate's edge at which its continuation is looked for: farther than it blooms."""
NEAR_MM = 3.0
"""Distance from the candidate within which the share of CSF is taken."""
CLIP_LOG = 3.0
"""Logarithms of quotients are cut off here: twenty times as dark is as good as infinitely dark."""

FAR_FROM_EDGE_MM = 15.0
"""What is deeper in the brain is no deeper."""

USUAL_LEVEL = 75.0
"""Median of T2* in the brain, 0-100, as the network of neighbourhoods is used to. Standardised images have the
brightest voxels in common, mostly CSF; how dark tissue is beside it depends on the sequence, and a dark spot must not
look fainter for that."""

CLIP_LOG_ODDS = 8.0
"""The network of neighbourhoods is not believed beyond this."""

STRUCTURE_MM = 5.0
"""How far beyond the candidate its dark structure is measured."""
CONTINUATION = (
    *("dark_extent", "across_slices", "across_slices_weaker", "in_plane", "blobness"),
    *("line_through", "line_from", "line_to_dot", "structure_elongation", "structure_volume"),
)


def _directions() -> npt.NDArray[np.float64]:
    """Return 98 directions, shape (98, 3), half of them followed by their opposites.

    All whole-numbered vectors of up to two steps along each axis: however the array is turned, they are the same.
    """
    vectors = [v for v in np.ndindex(5, 5, 5) if math.gcd(*(abs(x - 2) for x in v)) == 1]
    half = np.array([v for v in vectors if v > (2, 2, 2)], dtype=float) - 2
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    return np.concatenate([half, -half])


DIRECTIONS = _directions()

Features = dict[str, float]
AskNetwork = Callable[[npt.NDArray[np.floating], Sequence[npt.NDArray[np.integer]], float], npt.NDArray[np.floating]]


def lesion_features(
    scan: Scan,
    labels: npt.NDArray[np.integer],
    candidate_volumes: dict[int, float],
    regions: dict[int, str],
    ask: AskNetwork | None = None,
) -> dict[int, Features]:
    """Measure every label.

    Parameters
    ----------
    scan
        Images.
    labels
        Shape (I, J, K): what the intensity ratio rule left, 1..n.
    candidate_volumes
        By label: mm3 of the candidate before that rule.
    regions
        By label: name of its region.
    ask
        From stack, voxels (N, 3) and slice distance (mm) to the log odds (N,) of the network that sees neighbourhoods.
        It is shown T2* with the brain's median at :data:`USUAL_LEVEL`.

    Returns
    -------
    By label, the features by the names of :data:`FEATURES`; NaN where one cannot be measured (a contrast that is
    missing, no ring, no network asked). ``region`` is the position of its name in :data:`REGION_ORDER`.
    """
    levels = [_brain_level(channel, scan.brain) for channel in scan.stack]
    to_edge = distance_to_edge(scan.brain, labels, scan.spacing)
    middles = middle_voxels(labels)
    asked = {}
    if ask is not None:
        stack = _at_usual_level(scan.stack, levels[0])
        asked = dict(zip(middles, ask(stack, [*middles.values()], slices_apart(scan.spacing)), strict=True))
    measured = {}
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        view = View.of(scan, labels, label, box)
        own_volume = view.own.sum() * math.prod(scan.spacing)
        features = {
            **_shape(view.own, scan.spacing),
            **_contrast(view, levels),
            **_continuation(view),
            **_surroundings(view),
            "log_volume": math.log(own_volume),
            "slice_thickness": scan.spacing[2],
            "kept_share": own_volume / candidate_volumes[label],
            "probability_mean": _log_odds(float(view.probability[view.own].mean())),
            "probability_max": _log_odds(float(view.probability[view.own].max())),
            "edge_distance": min(float(to_edge[box][labels[box] == label].max()), FAR_FROM_EDGE_MM),
            "region": float(REGION_ORDER.index(regions[label])),
            "neighbourhood": float(np.clip(asked.get(label, math.nan), -CLIP_LOG_ODDS, CLIP_LOG_ODDS)),
        }
        measured[label] = {name: float(features[name]) for name in FEATURES}
    return measured


FEATURES: dict[str, str] = {
    "log_volume": "unusual_size",
    "elongation": "vessel_like",
    "height_to_width": "vessel_like",
    "blobness": "vessel_like",
    "dark_extent": "vessel_like",
    "across_slices": "vessel_like",
    "across_slices_weaker": "vessel_like",
    "in_plane": "vessel_like",
    "line_through": "vessel_like",
    "line_from": "vessel_like",
    "line_to_dot": "vessel_like",
    "structure_elongation": "vessel_like",
    "structure_volume": "vessel_like",
    "slice_thickness": "unusual_size",
    "contrast": "faint",
    "darkest": "faint",
    "depth": "faint",
    "kept_share": "faint",
    "ring_spread": "uneven_surroundings",
    "t2w_ratio": "unlike_on_t2w_t1w",
    "t1w_ratio": "unlike_on_t2w_t1w",
    "ring_t2w": "in_csf",
    "ring_t1w": "in_csf",
    "csf_share": "in_csf",
    "edge_distance": "in_csf",
    "probability_mean": "network_in_doubt",
    "probability_max": "network_in_doubt",
    "region": "unusual_place",
    "neighbourhood": "unlike_in_3d",
}
"""Every feature, and the name of the reason that it gives where it speaks against a microbleed."""

REGION_ORDER = (
    *("cortical_gm", "deep_gm", "cerebral_wm", "cerebellar_gm", "cerebellar_wm", "brainstem"),
    UNASSIGNED,
)


def _shape(own: npt.NDArray[np.bool_], spacing: tuple[float, float, float]) -> Features:
    """Elongation in plane (long / short axis of the ellipse of the same moments), height across slices / width."""
    offsets = np.argwhere(own) * np.asarray(spacing)
    # A voxel is no point: 1/12 of its squared side is its own variance.
    covariance = np.cov(offsets[:, :2].T, bias=True).reshape(2, 2) if len(offsets) > 1 else np.zeros((2, 2))
    covariance = covariance + np.diag(np.square(spacing[:2])) / 12
    short, long = np.sqrt(np.linalg.eigvalsh(covariance))
    n_slices = np.count_nonzero(own.any(axis=(0, 1)))
    return {"elongation": long / short, "height_to_width": n_slices * spacing[2] / (math.sqrt(12 * short * long))}


def _contrast(view: View, levels: list[float]) -> Features:
    t2star, level = view.stack[0], view.ring_level
    features = {
        "contrast": _log_quotient(level, t2star[view.own].mean()),
        "darkest": _log_quotient(level, t2star[view.own].min()),
        "depth": _log_quotient(levels[0], t2star[view.own].min()),
        "ring_spread": float(t2star[view.ring].std() / level) if level > 0 else math.nan,
    }
    for name, channel, usual in zip(("t2w", "t1w"), view.stack[1:], levels[1:], strict=True):
        present = usual > 0 and view.ring.any()
        around = float(channel[view.ring].mean()) if present else math.nan
        features[f"{name}_ratio"] = _log_quotient(float(channel[view.own].mean()), around) if present else math.nan
        features[f"ring_{name}"] = _log_quotient(around, usual) if present else math.nan
    return features


def _continuation(view: View) -> Features:
    """Whether the dark structure goes on beyond the candidate: as a vessel does, in plane or from slice to slice."""
    level = view.ring_level
    if not level > 0:
        return dict.fromkeys(CONTINUATION, math.nan)
    centre = np.argwhere(view.own).mean(axis=0)
    offsets = (np.indices(view.own.shape).T - centre).T * np.reshape(view.spacing, (3, 1, 1, 1))
    darkness = np.log(level / np.maximum(view.stack[0], 0.02 * level))
    darkness[~view.brain] = 0  # what is dark outside the brain is no vessel of it
    above, below = (_beyond_slices(view, darkness, offsets, side) for side in (1, -1))
    return {
        **_dark_structure(view, darkness, offsets),
        **_lines(view, darkness, centre),
        "across_slices": max(above, below),
        "across_slices_weaker": min(above, below),
        "in_plane": _opposite_darkness(view, darkness, offsets),
        "blobness": _blobness(view, darkness),
    }


def _dark_structure(view: View, darkness: npt.NDArray, offsets: npt.NDArray) -> Features:
    """Reach (mm) of the connected dark structure beyond the candidate; its elongation; its volume / the candidate's."""
    dark = (darkness >= math.log(CONNECTED_RATIO)) & ~view.others | view.own
    structure, _ = ndimage.label(dark, structure=TOUCHING)
    connected = np.isin(structure, np.unique(structure[view.own]))
    distance = np.sqrt((offsets**2).sum(axis=0))
    near = connected & (distance <= distance[view.own].max() + STRUCTURE_MM)
    covariance = np.cov(offsets[:, near], bias=True) if near.sum() > 1 else np.zeros((3, 3))
    _, middle, long = np.sqrt(np.linalg.eigvalsh(covariance + np.diag(np.square(view.spacing)) / 12))
    return {
        "dark_extent": min(float(distance[connected].max() - distance[view.own].max()), REACH_MM),
        "structure_elongation": float(long / middle),
        "structure_volume": math.log(near.sum() / view.own.sum()),
    }


def _lines(view: View, darkness: npt.NDArray, centre: npt.NDArray) -> Features:
    """Mean darkness along straight lines from the candidate's edge outwards, up to 5 mm: of the darkest direction.

    ``line_through``: of the lesser of two opposite sides; ``line_from``: of one side; ``line_to_dot``: the former as a
    share of the darkness of the candidate itself.
    """
    smooth = ndimage.gaussian_filter(darkness, [min(0.6 / s, 0.6) for s in view.spacing], mode="nearest")
    radius = (3 * view.own.sum() * math.prod(view.spacing) / (4 * math.pi)) ** (1 / 3)
    steps = radius + np.arange(1.5, 5.1, 0.5)
    places = DIRECTIONS[:, None] * steps[:, None] / np.asarray(view.spacing) + centre
    along = ndimage.map_coordinates(smooth, places.reshape(-1, 3).T, order=1, mode="nearest")
    mean = along.reshape(len(DIRECTIONS), -1).mean(axis=1)
    half = len(DIRECTIONS) // 2  # the second half is the first, turned round
    through = float(np.minimum(mean[:half], mean[half:]).max())
    return {
        "line_through": through,
        "line_from": float(mean.max()),
        "line_to_dot": through / max(float(smooth[view.own].max()), 0.05),
    }


def _beyond_slices(view: View, darkness: npt.NDArray, offsets: npt.NDArray, side: int) -> float:
    """Darkest small disc within 2.5 mm of the candidate's axis, in the first slice that lies beyond its blooming."""
    slices = np.flatnonzero(view.own.any(axis=(0, 1)))
    step = max(1, math.ceil(BEYOND_MM / view.spacing[2] - 1e-3))
    k = slices[-1] + step if side > 0 else slices[0] - step
    if not 0 <= k < darkness.shape[2]:
        return 0.0
    near = np.hypot(offsets[0, :, :, k], offsets[1, :, :, k]) <= 2.5
    return float(darkness[:, :, k][near].max(initial=0.0))


def _opposite_darkness(view: View, darkness: npt.NDArray, offsets: npt.NDArray) -> float:
    """The lesser darkness of two nearly opposite places around the candidate, in its middle slice: of a line, dark."""
    k = round(float(np.argwhere(view.own)[:, 2].mean()))
    plane, own = darkness[:, :, k], view.own[:, :, k]
    if not own.any():
        return 0.0
    radius = np.hypot(offsets[0, :, :, k], offsets[1, :, :, k])
    angle = np.arctan2(offsets[1, :, :, k], offsets[0, :, :, k])
    edge = math.sqrt(own.sum() * view.spacing[0] * view.spacing[1] / math.pi)
    circle = (np.abs(radius - edge - BEYOND_MM) <= 0.75) & ~own
    sectors = np.floor((angle[circle] + math.pi) / (2 * math.pi) * 12).astype(int) % 12
    darkest = np.zeros(12)
    np.maximum.at(darkest, sectors, plane[circle])
    opposite = np.stack([np.roll(darkest, -shift) for shift in (5, 6, 7)]).max(axis=0)
    return float(np.minimum(darkest, opposite).max())


def _blobness(view: View, darkness: npt.NDArray) -> float:
    """Lesser / greater curvature of the smoothed T2* in plane where it is darkest: 1 for a dot, 0 for a line."""
    smooth = ndimage.gaussian_filter(darkness, (1.2, 1.2, 0), mode="nearest")
    darkest = np.unravel_index(np.where(view.own, smooth, -np.inf).argmax(), darkness.shape)
    plane = darkness[:, :, darkest[2]]
    xx, yy, xy = (
        ndimage.gaussian_filter(plane, 1.2, order=order, mode="nearest")[darkest[:2]]
        for order in ((2, 0), (0, 2), (1, 1))
    )
    lesser, greater = np.sort(-np.linalg.eigvalsh([[xx, xy], [xy, yy]]))
    return float(np.clip(lesser / greater, -1, 1)) if greater > 0 else -1.0


def _surroundings(view: View) -> Features:
    reach = [max(0, int(NEAR_MM / s + 1e-3)) for s in view.spacing]
    offsets = np.indices([2 * r + 1 for r in reach]) - np.reshape(reach, (3, 1, 1, 1))
    ball = ((offsets * np.reshape(view.spacing, (3, 1, 1, 1))) ** 2).sum(axis=0) <= NEAR_MM**2 + 1e-3
    near = ndimage.binary_dilation(view.own, ball) & ~view.own
    # Outside the brain mask there is CSF too, or nothing: both speak for the surface.
    return {"csf_share": float((view.csf | ~view.brain)[near].mean()) if near.any() else math.nan}


def _at_usual_level(stack: npt.NDArray[np.floating], level: float) -> npt.NDArray[np.floating]:
    """Return a stack whose T2*, of this median in the brain, has the usual one; 0 and 100 stay what they are.

    Linear below the median and above it: what is bright keeps its differences, where a factor would cut it off.
    """
    if not 0 < level < STANDARD_MAXIMUM:
        return stack
    t2star = np.interp(stack[0], (0, level, STANDARD_MAXIMUM), (0, USUAL_LEVEL, STANDARD_MAXIMUM))
    return np.concatenate([t2star[None].astype(stack.dtype), stack[1:]])


def _brain_level(channel: npt.NDArray[np.floating], brain: npt.NDArray[np.bool_]) -> float:
    return float(np.median(channel[brain])) if brain.any() else 0.0


def _log_quotient(numerator: float, denominator: float) -> float:
    if not (numerator > 0 or denominator > 0):
        return math.nan
    if not denominator > 0:
        return CLIP_LOG
    return float(np.clip(math.log(max(numerator, 1e-9) / denominator), -CLIP_LOG, CLIP_LOG))


def _log_odds(probability: float) -> float:
    p = min(max(probability, 1e-4), 1 - 1e-4)
    return math.log(p / (1 - p))
