"""Small susceptibility sources and the magnetic field about them: microbleeds, veins, calcifications.

A source disturbs the main field; spins inside a voxel then precess at different rates and their sum
shrinks, see `rendering`. All positions are scanner RAS+ millimetres; the main field B0 points along scanner z.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

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

    Outside (dChi B0 / 2) (a / rho)^2 sin^2(theta) cos(2 phi), inside (dChi B0 / 6) (3 cos^2(theta) - 1); theta is the
    angle between the axis and B0, phi that about the axis, measured from the plane of axis and B0. Haacke et al.
    (1999), ch. 25.

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
        # The field falls with dChi a^3 / r^3. At this distance its pole is 0.04 ppm: spins turn by 0.8 rad at 3 T and
        # 25 ms, nearly alike across a voxel.
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
