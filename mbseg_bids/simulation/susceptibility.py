"""Small susceptibility sources and the magnetic field about them: microbleeds, veins, calcifications.

A source disturbs the main field; spins inside a voxel then precess at different rates and their sum
shrinks, see `rendering`. All positions are scanner RAS+ millimetres; the main field B0 points along scanner z.
Fields are computed by torch, where the points are: on the CPU or on a GPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def dot(one: Tensor, other: Tensor) -> Tensor:
    """Scalar product along the last axis, of three components. Written out: each component may be contiguous."""
    return one[..., 0] * other[..., 0] + one[..., 1] * other[..., 1] + one[..., 2] * other[..., 2]


def sphere_field(offsets: Tensor, radius: float, dchi: float, field_strength: float) -> Tensor:
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
    inverse = radius**2 / dot(offsets, offsets).clamp_min(radius**2)
    field = inverse * inverse.sqrt() * (3 / radius**2 * inverse * offsets[..., 2] ** 2 - 1)
    return torch.where(inverse < 1, dchi * 1e-6 * field_strength / 3 * field, 0.0)


def cylinder_field(offsets: Tensor, axis: Tensor, radius: float, dchi: float, field_strength: float) -> Tensor:
    """Change of the main field about an infinitely long cylinder (a vein).

    Outside (dChi B0 / 2) (a / rho)^2 sin^2(theta) cos(2 phi), inside (dChi B0 / 6) (3 cos^2(theta) - 1); theta is the
    angle between the axis and B0, phi that about the axis, measured from the plane of axis and B0. Haacke et al.
    (1999), ch. 25.

    Parameters
    ----------
    offsets
        Shape (..., 3): positions relative to any point of the axis, mm.
    axis
        Shape (3,) or (..., 3): direction of the cylinder, of length 1.
    radius, dchi, field_strength
        mm, ppm (SI), tesla.

    Returns
    -------
    Shape (...): tesla.
    """
    along = dot(offsets, axis)
    cosine = axis[..., 2]
    squared = dot(offsets, offsets) - along**2
    inverse = radius**2 / squared.clamp_min(radius**2)
    # The part of B0 across the axis has length sin(theta): (across . B0)^2 = rho^2 sin^2(theta) cos^2(phi).
    across = offsets[..., 2] - along * cosine
    field = inverse * (2 / radius**2 * inverse * across**2 - (1 - cosine**2))
    scale = dchi * 1e-6 * field_strength
    return torch.where(inverse < 1, scale / 2 * field, scale / 6 * (3 * cosine**2 - 1))


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
    def reach(self) -> float:
        """Distance (mm) from the centre beyond which the field can be neglected."""
        # The field falls with dChi a^3 / r^3. At this distance its pole is 0.04 ppm: spins turn by 0.8 rad at 3 T and
        # 25 ms, nearly alike across a voxel.
        return self.radius * float(np.clip((abs(self.dchi) / 0.06) ** (1 / 3), 1.2, 6.0)) + 0.5

    @property
    def bounds(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Opposite corners (mm) of the box outside of which the field can be neglected."""
        centre = np.asarray(self.centre)
        return centre - self.reach, centre + self.reach

    def squared_distance(self, points: Tensor) -> Tensor:
        """Of points (..., 3) from the centre, mm^2."""
        offsets = points - _like(self.centre, points)
        return dot(offsets, offsets)

    def effect(self, points: Tensor, field_strength: float) -> tuple[Tensor, Tensor]:
        """Whether points of shape (..., 3) lie in the source, and the field change (T) there."""
        offsets = points - _like(self.centre, points)
        field = sphere_field(offsets, self.radius, self.dchi, field_strength)
        return dot(offsets, offsets) <= self.radius**2, field


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
    def reach(self) -> float:
        """Distance (mm) from the centre line beyond which the field can be neglected."""
        return 2.5 * self.radius + 0.6

    @property
    def bounds(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Opposite corners (mm) of the box outside of which the field can be neglected."""
        corners = np.asarray(self.points)
        return corners.min(axis=0) - self.reach, corners.max(axis=0) + self.reach

    def squared_distance(self, points: Tensor) -> Tensor:
        """Of points (..., 3) from the centre line, mm^2."""
        return self._nearest_segment(points)[0]

    def _nearest_segment(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Squared distance to the centre line, and which segment is nearest."""
        corners = _like(self.points, points)
        best = torch.full(points.shape[:-1], torch.inf, dtype=points.dtype, device=points.device)
        which = torch.zeros(points.shape[:-1], dtype=torch.long, device=points.device)
        for number in range(len(corners) - 1):
            along = corners[number + 1] - corners[number]
            offsets = points - corners[number]
            offsets = offsets - (dot(offsets, along) / dot(along, along)).clamp(0, 1)[..., None] * along
            squared = dot(offsets, offsets)
            which.masked_fill_(squared < best, number)
            best = torch.minimum(best, squared)
        return best, which

    def effect(self, points: Tensor, field_strength: float) -> tuple[Tensor, Tensor]:
        """Whether points of shape (..., 3) lie in the vessel, and the field change (T) there.

        The field is that of the nearest segment; it fades beyond the vessel's ends.
        """
        squared, which = self._nearest_segment(points)
        corners = _like(self.points, points)
        axes = corners[1:] - corners[:-1]
        axes = axes / axes.norm(dim=1, keepdim=True)
        offsets, axis = points - _gather(corners, which), _gather(axes, which)
        across = dot(offsets, offsets) - dot(offsets, axis) ** 2
        # Beyond an end the line is nearer than the vessel.
        fade = (across / squared.clamp_min(1e-9)).clamp(0, 1)
        field = cylinder_field(offsets, axis, self.radius, self.dchi, field_strength) * fade
        # Beyond eight radii the field is below 1 / 64 of that at the wall.
        return squared <= self.radius**2, torch.where(squared < (8 * self.radius) ** 2, field, 0.0)


def _like(values: Sequence, points: Tensor) -> Tensor:
    return torch.tensor(values, dtype=points.dtype, device=points.device)


def _gather(rows: Tensor, which: Tensor) -> Tensor:
    """Rows (n, 3) by index (...): shape (..., 3), each component contiguous."""
    return torch.stack([column[which] for column in rows.T]).movedim(0, -1)


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
    tissue_t2star
        T2* (ms) of the tissue that it replaces.
    """

    kind: str
    sources: tuple[Source, ...]
    t2w: float = 1.0
    t1w: float = 1.0
    tissue_t2star: float = 50.0

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
