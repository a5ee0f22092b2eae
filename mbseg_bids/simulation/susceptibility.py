"""The T2*-weighted signal around small susceptibility sources: microbleeds, veins, calcifications.

A source disturbs the main field; spins inside a voxel then precess at different rates and their sum shrinks. Blooming (a lesion
that looks larger than it is, and more so with a longer echo time or a stronger field) follows from this sum.
All positions are scanner RAS+ millimetres; the main field B0 points along scanner z.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mbseg_bids.imaging.volume import Volume

GYROMAGNETIC_RATIO = 2.6752218744e8
"""Of the proton, rad / s / T (CODATA 2018)."""

Points = npt.NDArray[np.floating]


def sphere_field(offsets: Points, radius: float, dchi: float, field_strength: float) -> npt.NDArray[np.float64]:
    """Change of the main field about a sphere: (dChi B0 / 3) (a / r)^3 (3 cos^2 - 1) outside, 0 inside.

    Haacke et al., Magnetic Resonance Imaging (1999), ch. 25. Inside, the Lorentz-corrected field of a sphere is zero.

    Parameters
    ----------
    offsets
        Shape (..., 3): positions relative to the centre, mm.
    radius
        Of the sphere, mm.
    dchi
        Susceptibility minus that of the surrounding tissue, ppm (SI). Positive: paramagnetic (haemosiderin).
    field_strength
        B0 in tesla.

    Returns
    -------
    Shape (...): tesla.
    """
    squared = np.einsum("...i,...i->...", offsets, offsets)
    outside = squared > radius**2
    safe = np.where(outside, squared, 1.0)
    field = (radius**2 / safe) ** 1.5 * (3 * offsets[..., 2] ** 2 / safe - 1)
    return np.where(outside, dchi * 1e-6 * field_strength / 3 * field, 0.0)


def cylinder_field(
    offsets: Points, axis: Sequence[float] | Points, radius: float, dchi: float, field_strength: float
) -> npt.NDArray[np.float64]:
    """Change of the main field about an infinitely long cylinder (a vein).

    Outside (dChi B0 / 2) (a / rho)^2 sin^2(theta) cos(2 phi), inside (dChi B0 / 6) (3 cos^2(theta) - 1); theta is the angle between
    the axis and B0, phi that about the axis, measured from the plane of axis and B0. Haacke et al. (1999), ch. 25.

    Parameters
    ----------
    offsets
        Shape (..., 3): positions relative to any point of the axis, mm.
    axis
        Direction of the cylinder, of length 1.
    radius, dchi, field_strength
        mm, ppm (SI), tesla.

    Returns
    -------
    Shape (...): tesla.
    """
    axis = np.asarray(axis, dtype=np.float64)
    cos_theta = axis[2]
    across = offsets - np.einsum("...i,i->...", offsets, axis)[..., None] * axis
    squared = np.einsum("...i,...i->...", across, across)
    outside = squared > radius**2
    safe = np.where(outside, squared, 1.0)
    # The part of B0 across the axis has length sin(theta): (across . B0)^2 = rho^2 sin^2(theta) cos^2(phi).
    field = radius**2 / safe * (2 * across[..., 2] ** 2 / safe - (1 - cos_theta**2))
    scale = dchi * 1e-6 * field_strength
    return np.where(outside, scale / 2 * field, scale / 6 * (3 * cos_theta**2 - 1))


@dataclass(frozen=True)
class Sphere:
    """A compact source: haemosiderin (paramagnetic) or calcium (diamagnetic).

    Attributes
    ----------
    centre
        Scanner RAS+ mm.
    radius
        mm.
    dchi
        ppm (SI) relative to tissue.
    t2star
        Of the material inside, ms.
    density
        Signal of the material inside, at echo time 0, relative to the tissue it replaces.
    """

    centre: tuple[float, float, float]
    radius: float
    dchi: float
    t2star: float = 4.0
    density: float = 0.6

    @property
    def bounds(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Opposite corners (mm) of the box outside of which the field can be neglected."""
        # Field and reach scale with dChi a^3; 0.05 ppm at the pole turns spins by 1 rad at 3 T and 25 ms, of which nothing
        # is lost within a voxel that far away.
        reach = self.radius * float(np.clip((abs(self.dchi) / 0.06) ** (1 / 3), 1.2, 6.0)) + 0.5
        centre = np.asarray(self.centre)
        return centre - reach, centre + reach

    def inside(self, points: Points) -> npt.NDArray[np.bool_]:
        """Tell for points of shape (..., 3) whether they lie in the source."""
        offsets = points - np.asarray(self.centre, dtype=points.dtype)
        return np.einsum("...i,...i->...", offsets, offsets) <= self.radius**2

    def effect(self, points: Points, field_strength: float) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.floating]]:
        """Whether points of shape (..., 3) lie in the source, and the field change (T) there."""
        offsets = points - np.asarray(self.centre, dtype=points.dtype)
        return self.inside(points), sphere_field(offsets, self.radius, self.dchi, field_strength)


@dataclass(frozen=True)
class Vessel:
    """A vein as a polyline of straight cylinder segments.

    Attributes
    ----------
    points
        At least two corners of the centre line, scanner RAS+ mm.
    radius, dchi, t2star, density
        As for `Sphere`; venous blood (Sedlacik 2008): about 0.4 ppm, T2* of 20 ms at 3 T.
    """

    points: tuple[tuple[float, float, float], ...]
    radius: float
    dchi: float = 0.4
    t2star: float = 20.0
    density: float = 1.0

    @property
    def bounds(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Opposite corners (mm) of the box outside of which the field can be neglected."""
        corners = np.asarray(self.points)
        reach = 2.5 * self.radius + 0.6
        return corners.min(axis=0) - reach, corners.max(axis=0) + reach

    def _nearest_segment(self, points: Points) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.int8]]:
        """Squared distance to the centre line, and which segment is nearest."""
        corners = np.asarray(self.points, dtype=points.dtype)
        best = np.full(points.shape[:-1], np.inf, dtype=points.dtype)
        which = np.zeros(points.shape[:-1], dtype=np.int8)
        for number, (start, end) in enumerate(pairwise(corners)):
            along = end - start
            offsets = points - start
            position = np.clip(offsets @ (along / (along @ along)), 0, 1)
            offsets -= position[..., None] * along
            squared = np.einsum("...i,...i->...", offsets, offsets)
            closer = squared < best
            np.copyto(best, squared, where=closer)
            which[closer] = number
        return best, which

    def inside(self, points: Points) -> npt.NDArray[np.bool_]:
        """Tell for points of shape (..., 3) whether they lie in the vessel."""
        return self._nearest_segment(points)[0] <= self.radius**2

    def effect(self, points: Points, field_strength: float) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.floating]]:
        """Whether points of shape (..., 3) lie in the vessel, and the field change (T) there.

        The field is that of the nearest segment; it fades beyond the vessel's ends.
        """
        corners = np.asarray(self.points, dtype=points.dtype)
        squared, which = self._nearest_segment(points)
        field = np.zeros(points.shape[:-1], dtype=points.dtype)
        near = squared < (8 * self.radius) ** 2  # beyond, the field is below 1 / 64 of that at the wall
        for number, (start, end) in enumerate(pairwise(corners)):
            mine = near & (which == number)
            offsets = points[mine] - start
            axis = (end - start) / np.linalg.norm(end - start)
            across = offsets - (offsets @ axis)[:, None] * axis
            # Beyond an end the line is nearer than the vessel.
            fade = np.einsum("...i,...i->...", across, across) / np.maximum(squared[mine], 1e-9)
            field[mine] = cylinder_field(offsets, axis, self.radius, self.dchi, field_strength) * np.minimum(fade, 1)
        return squared <= self.radius**2, field


Source = Sphere | Vessel


@dataclass(frozen=True)
class Feature:
    """Something small in the brain that a reader might see: a microbleed or what mimics one.

    Attributes
    ----------
    kind
        "microbleed", or a key of `mimics.MIMICS`.
    sources
        Whose fields add up. Their order and number are free.
    t2w, t1w
        Signal of the material relative to the tissue it replaces, on the T2-weighted and the T1-weighted scan.
    """

    kind: str
    sources: tuple[Source, ...]
    t2w: float = 1.0
    t1w: float = 1.0

    def moved(self, move: npt.NDArray[np.float64]) -> "Feature":
        """The same feature after a rigid motion (4 x 4)."""

        def place(point: Sequence[float]) -> tuple[float, float, float]:
            return tuple((move[:3, :3] @ np.asarray(point) + move[:3, 3]).tolist())

        sources = tuple(
            replace(source, centre=place(source.centre))
            if isinstance(source, Sphere)
            else replace(source, points=tuple(place(point) for point in source.points))
            for source in self.sources
        )
        return replace(self, sources=sources)

    @property
    def centre(self) -> npt.NDArray[np.float64]:
        """Middle of all sources, scanner RAS+ mm."""
        low = np.min([source.bounds[0] for source in self.sources], axis=0)
        high = np.max([source.bounds[1] for source in self.sources], axis=0)
        return (low + high) / 2


@dataclass(frozen=True, eq=False)
class Patch:
    """What sources do to the voxels of a box of a grid.

    Attributes
    ----------
    box
        Slices into the grid.
    ratio
        Complex signal with the sources / signal without them, on that box.
    occupancy
        Fraction of each voxel that the sources fill, on that box.
    """

    box: tuple[slice, slice, slice]
    ratio: npt.NDArray[np.complex64]
    occupancy: npt.NDArray[np.float32]


def bounding_box(
    sources: Sequence[Source],
    affine: npt.NDArray[np.float64],
    shape: Sequence[int],
    multiple: Sequence[int] = (1, 1, 1),
) -> tuple[slice, slice, slice] | None:
    """Box of voxels that the sources reach, its edges rounded outwards to `multiple`; None if outside the grid."""
    low = np.min([source.bounds[0] for source in sources], axis=0)
    high = np.max([source.bounds[1] for source in sources], axis=0)
    corners = np.array([[(low, high)[c][axis] for axis, c in enumerate(bits)] for bits in np.ndindex(2, 2, 2)])
    inverse = np.linalg.inv(affine)
    voxels = corners @ inverse[:3, :3].T + inverse[:3, 3]
    multiple = np.asarray(multiple)
    start = np.floor((voxels.min(axis=0) + 0.5) / multiple).astype(int) * multiple
    stop = np.ceil((voxels.max(axis=0) + 0.5) / multiple).astype(int) * multiple
    start, stop = np.maximum(start, 0), np.minimum(stop, shape)
    if (start >= stop).any():
        return None
    return tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))


def sub_voxel_points(
    box: tuple[slice, slice, slice], affine: npt.NDArray[np.float64], pitch: float
) -> tuple[npt.NDArray[np.float32], tuple[int, int, int]]:
    """Centres (mm) of the sub-voxels of a box; shape (I, a, J, b, K, c, 3) for a, b, c sub-voxels along each axis of a voxel.

    Returns the points and (a, b, c), chosen so that sub-voxels are at most `pitch` mm long.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    counts = tuple(int(n) for n in np.maximum(1, np.ceil(spacing / pitch - 1e-6)))
    steps = []
    for axis in range(3):
        centres = np.arange(box[axis].start, box[axis].stop, dtype=np.float64)[:, None]
        within = (np.arange(counts[axis]) + 0.5) / counts[axis] - 0.5
        steps.append((centres + within)[..., None] * affine[:3, axis])
    points = (
        steps[0][:, :, None, None, None, None]
        + steps[1][None, None, :, :, None, None]
        + steps[2][None, None, None, None]
        + affine[:3, 3]
    )
    return points.astype(np.float32), counts


def sample(volume: Volume, points: Points) -> npt.NDArray[np.float32]:
    """Values of a volume at points (..., 3) in mm, linear, the edge continued."""
    inverse = np.linalg.inv(volume.affine)
    voxels = points.reshape(-1, 3) @ inverse[:3, :3].T.astype(points.dtype) + inverse[:3, 3].astype(points.dtype)
    values = ndimage.map_coordinates(volume.data, voxels.T, order=1, mode="nearest", output=np.float32)
    return values.reshape(points.shape[:-1])


def occupancy(
    sources: Sequence[Source], affine: npt.NDArray[np.float64], shape: Sequence[int], *, pitch: float = 0.34
) -> tuple[tuple[slice, slice, slice], npt.NDArray[np.float32]] | None:
    """Box of a grid and the fraction of each of its voxels that sources fill; None where they lie outside the grid."""
    box = bounding_box(sources, affine, shape)
    if box is None:
        return None
    points, _ = sub_voxel_points(box, affine, pitch)
    filled = np.zeros(points.shape[:-1], dtype=bool)
    for source in sources:
        filled |= source.inside(points)
    return box, filled.mean(axis=(1, 3, 5), dtype=np.float32)


def render(
    sources: Sequence[Source],
    affine: npt.NDArray[np.float64],
    shape: Sequence[int],
    *,
    background: Volume | None = None,
    echo_time: float,
    field_strength: float,
    tissue_t2star: float = 50.0,
    pitch: float = 0.25,
    multiple: Sequence[int] = (1, 1, 1),
) -> Patch | None:
    """Signal of the voxels around sources: complex mean over sub-voxels of rho exp(-TE / T2*) exp(i gamma dBz TE).

    Parameters
    ----------
    sources
        Their fields add up.
    affine, shape
        Of the acquired grid; voxel indices to scanner RAS+ mm.
    background
        Signal rho exp(-TE / T2*) of the tissue without sources, on any grid; uniform if not given.
    echo_time
        ms.
    field_strength
        T.
    tissue_t2star
        T2* (ms) of the tissue that a source replaces: `background` already contains its decay.
    pitch
        Longest side of a sub-voxel, mm.
    multiple
        Make the box start and stop at multiples of this many voxels, for later averaging of blocks.

    Returns
    -------
    None where the sources lie outside the grid.
    """
    box = bounding_box(sources, affine, shape, multiple)
    if box is None:
        return None
    points, _ = sub_voxel_points(box, affine, pitch)
    rho = np.float32(1) if background is None else np.maximum(sample(background, points), 1e-6)
    field = np.zeros(points.shape[:-1], dtype=np.float32)
    inner = np.ones(points.shape[:-1], dtype=np.float32)
    occupied = np.zeros(points.shape[:-1], dtype=bool)
    for source in sources:
        inside, change = source.effect(points, field_strength)
        field += change
        decay = source.density * np.exp(-echo_time / source.t2star + echo_time / tissue_t2star)
        inner[inside] = np.minimum(inner[inside], decay)
        occupied |= inside
    phase = np.float32(GYROMAGNETIC_RATIO * echo_time * 1e-3) * field
    axes = (1, 3, 5)
    amplitude = rho * inner
    real, imaginary = (amplitude * np.cos(phase)).mean(axis=axes), (amplitude * np.sin(phase)).mean(axis=axes)
    without = np.broadcast_to(rho, phase.shape).mean(axis=axes)
    ratio = ((real + 1j * imaginary) / without).astype(np.complex64)
    return Patch(box, ratio, occupied.mean(axis=axes, dtype=np.float32))
